"""Numbers computed by the official PyTorch codes in float64, against ours in float32.

Checks every npz of --golden-dir (tests/golden unless given) by the kind in its meta; a kind that
nothing here can check fails.
"""

import functools
import json
import operator

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch_names
from ml_collections import ConfigDict

from unrealnas_jax import cost, nasbench201, optimizers, supernet, torch_weights
from unrealnas_jax import genotype as genotypes
from unrealnas_jax.methods import darts, pc_darts, unrolled
from unrealnas_jax.network import Network
from unrealnas_jax.network201 import Network201
from unrealnas_jax.parallel import AXIS
from unrealnas_jax.spaces import SPACES
from unrealnas_jax.state import SearchState

TOLERANCE = 1e-4  # of the largest value of an array
ROUNDING = 1e-6  # of a mean of values around 1 in float32


def test_equals_official(golden_path):
  with np.load(golden_path) as archive:
    golden = dict(archive)
  meta = json.loads(str(golden['meta']))
  assert meta['kind'] in CHECKS, f'{golden_path}: no check for kind {meta["kind"]!r}'
  CHECKS[meta['kind']](golden, meta)


def check_darts_eval(golden, meta):
  """Outputs of the evaluation network in both modes, running statistics after one pass."""
  genotype = genotypes.from_json(str(golden['genotype']))
  network = Network(genotype, meta['C'], meta['layers'], meta['classes'], meta['auxiliary'])
  aux_logits = check_network(golden, network)
  assert_close(aux_logits, golden['aux_logits_train_mode'], 'aux_logits_train_mode')


def check_nasbench201_eval(golden, meta):
  """The same for the evaluation network of a NAS-Bench-201 cell, and its size."""
  architecture = nasbench201.from_text(str(golden['genotype']))
  network = Network201(architecture, meta['C'], meta['N'], meta['classes'])
  variables = torch_weights.variables(group(golden, 'w/'), network)
  assert cost.parameters(variables['params']) == meta['params']
  assert check_network(golden, network) is None


def check_network(golden, network):
  """Logits in both modes, running statistics after one pass; the auxiliary logits of that pass."""
  variables = torch_weights.variables(group(golden, 'w/'), network)
  x = images(golden['x'])

  (logits, aux_logits), updated = network.apply(variables, x, train=True, mutable=['batch_stats'])
  assert_close(logits, golden['logits_train_mode'], 'logits_train_mode')

  after = group(golden, 'w_after/')
  assert len(after) == len(group(golden, 'w/', 'running_mean')) * 2
  for name, value in after.items():
    # The mean of what norms have made has its values cancel: exactly to 0 in float64.
    rounding = ROUNDING if name.endswith('running_mean') else 0
    assert_close(at(updated, torch_weights.path(name, network)), value, name, rounding)

  logits, none = network.apply(variables | updated, x, train=False)
  assert_close(logits, golden['logits_eval_mode'], 'logits_eval_mode')
  assert none is None
  return aux_logits


def check_darts(golden, meta):
  """The DARTS supernet: logits, losses, gradients of weights and alphas, one step, genotype.

  Where maxima of a pool are equal, PyTorch gives the gradient to the first, we to each a part. Here
  18 of the 86,016 windows have such maxima: pixels at which the ReLU before the 1x1 convolution
  that made them let nothing through, so that the gradient ends there, however it was split.
  """
  check_supernet(darts, ('alphas',), golden, meta)


def check_pc_darts(golden, meta):
  """The same of the PC-DARTS supernet, a quarter of its channels mixed."""
  check_supernet(pc_darts, ('alphas', 'betas'), golden, meta, partial=4)


def check_supernet(method, learned, golden, meta, **shape):
  space = SPACES['darts']
  shape = supernet.Shape(space, meta['C'], meta['layers'], meta['classes'], 3, **shape)
  net = supernet.make(shape)
  weights = functools.partial(method.weights, net=net, hp=None)
  like, stats = jax.eval_shape(net.init, jax.random.key(0))
  params = torch_names.supernet_params(group(golden, 'w/'), like, space, meta['layers'])
  stats = jax.tree.map(jnp.zeros_like, stats)
  arch = {name: {kind: golden[f'arch/{name}_{kind}'] for kind in space.kinds} for name in learned}
  unpack = operator.itemgetter('alphas') if learned == ('alphas',) else lambda arch: arch

  @jax.jit
  @functools.partial(jax.value_and_grad, argnums=(0, 1), has_aux=True)
  def loss_and_gradients(params, arch, x, labels):
    loss, (_, logits) = net.loss(params, stats, weights(unpack(arch)), images(x), labels)
    return loss, logits

  batches = [[jnp.asarray(golden[name]) for name in names] for names in (('x', 'y'), ('xv', 'yv'))]
  loss_and_gradients = loss_and_gradients.lower(params, arch, *batches[0]).compile()
  (loss, logits), (gradient, _) = loss_and_gradients(params, arch, *batches[0])
  assert_close(logits, golden['logits_train_mode'], 'logits_train_mode')
  assert_close(loss, golden['loss'], 'loss')
  check_weights(gradient, golden, 'grad_w', meta)

  if 'weight_lr' in golden:
    sgd = functools.partial(optimizers.sgd, step_settings(golden, meta), epoch_steps=1)
    updates, weight_opt = sgd().update(gradient, sgd().init(params), params)
    after = optax.apply_updates(params, updates)
    check_weights(after, golden, 'w_after_step', meta)
    state = SearchState(None, after, stats, arch, weight_opt, arch_opt=None)
    check_second_order(state, batches, golden, sgd(clip=False), loss_and_gradients)

  (loss, _), (_, gradient) = loss_and_gradients(params, arch, *batches[1])
  assert_close(loss, golden['val_loss'], 'val_loss')
  for name, values in gradient.items():
    for kind, value in values.items():
      assert_close(value, golden[f'grad_arch_first_order/{name}_{kind}'], f'{name}_{kind}')

  genotype = space.decode(weights(unpack(arch)))
  assert genotype == genotypes.from_json(str(golden['genotype']))


def check_second_order(state, batches, golden, sgd, loss_and_gradients):
  """The gradient of the alphas through one more step, by differences as the official code has it.

  Not by the exact product: here it is far from that. Differences see ReLUs and maxima switch, which
  with four images come down to chance. All gradients that it is made of are those of one program,
  `loss_and_gradients`; in a program of its own each would be compiled again.
  """
  tx = optimizers.Optimizers(None, None, epoch_steps=1, steps=1, unrolled=sgd)
  settings = {'tx': tx, 'dropout': None, 'hvp': 'finite_difference', 'weights': lambda arch: arch}

  @jax.custom_vjp
  def loss(params, arch, *examples):
    return loss_and_gradients(params, arch, *examples)[0]

  def back(gradients, g):
    return *jax.tree.map(lambda x: g[0] * x, gradients), None, None

  loss.defvjp(loss_and_gradients, back)

  def of_net(params, stats, arch, *examples, dropout):
    value, logits = loss(params, arch, *examples)
    return value, (stats, logits)

  net = supernet.Net(SPACES['darts'], init=None, apply=None, loss=of_net)

  def gradient(state, train, val):
    return unrolled.second_order(state, val, train=train, net=net, **settings)[1]

  one_device = {'axis_name': AXIS, 'axis_size': 1, 'in_axes': None, 'out_axes': None}
  with pytest.MonkeyPatch.context() as patch:  # a compiled program cannot be part of a loop
    stack = functools.partial(jax.tree.map, lambda *leaves: jnp.stack(leaves))
    patch.setattr(jax.lax, 'map', lambda run, xs: stack(*map(run, xs)))
    found = jax.vmap(gradient, **one_device)(state, *batches)
  for kind, value in found['alphas'].items():
    official = golden[f'grad_arch_second_order_after_step/alphas_{kind}']
    assert_close(value, official, f'second order, alphas_{kind}')


def check_weights(tree, golden, name, meta):
  """Values of `tree` against those under `name`: some whole, and the norm of every weight."""
  norms, whole = group(golden, f'{name}_norm/'), group(golden, f'{name}/')
  assert set(whole) < set(norms)
  assert set(norms) == {w for w in group(golden, 'w/') if w.endswith(('.weight', '.bias'))}
  for weight, norm in norms.items():
    path, index = torch_names.supernet_path(weight, SPACES['darts'], meta['layers'])
    value = np.asarray(at(tree, path))[index]
    assert_close(np.linalg.norm(value), norm, f'{name}_norm/{weight}')
    if weight in whole:
      official = torch_names.supernet_array(whole[weight], path)
      assert_close(value, official, f'{name}/{weight}')


def step_settings(golden, meta):
  """The settings of the official weight step, as config.search has them."""
  lr = float(golden['weight_lr'])
  return ConfigDict(
    {
      'lr': lr,
      'lr_end': lr,
      'lr_schedule': 'cosine',
      'lr_warmup': 0,
      'epochs': 1,
      'momentum': meta['momentum'],
      'weight_decay': meta['weight_decay'],
      'clip': meta['grad_clip'],
    }
  )


# kind of a golden file -> check(arrays, meta)
CHECKS = {
  'darts': check_darts,
  'darts_eval': check_darts_eval,
  'pc_darts': check_pc_darts,
  'nasbench201_eval': check_nasbench201_eval,
}


def group(golden, prefix, suffix=''):
  """The arrays whose names start with `prefix`, which is cut off."""
  return {
    name.removeprefix(prefix): value
    for name, value in golden.items()
    if name.startswith(prefix) and name.endswith(suffix)
  }


def images(x):
  """[B, C, H, W] -> [B, H, W, C]"""
  return jnp.transpose(x, (0, 2, 3, 1))


def at(tree, path):
  for part in path:
    tree = tree[part]
  return tree


def assert_close(ours, official, name, rounding=0):
  assert ours.shape == official.shape, name
  error, largest = np.abs(ours - official).max(), np.abs(official).max()
  assert error <= TOLERANCE * largest + rounding, (
    f'{name}: off by {error:.3g}, largest value {largest:.3g}'
  )
