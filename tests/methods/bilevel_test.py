"""The steps that differentiable methods alternate, by hand on a network of one weight.

The loss is mean(x) * w * m for images x, the params' only weight w and the first mixing weight m.
Running statistics become ten times what they were plus mean(x), so that they tell the order.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from ml_collections import ConfigDict

from unrealnas_jax import optimizers, parallel
from unrealnas_jax.methods import bilevel, darts
from unrealnas_jax.parallel import AXIS
from unrealnas_jax.spaces.darts import SPACE
from unrealnas_jax.state import SearchState
from unrealnas_jax.supernet import Net

# Two devices with two examples each; means 4 and 1. An image is right where it is positive.
VAL = jnp.array([[1.0, 5], [4, 6]]), jnp.zeros((2, 2), jnp.int32)
TRAIN = jnp.array([[-2.0, 2], [1, 3]]), jnp.zeros((2, 2), jnp.int32)
TX = optimizers.Optimizers(weights=optax.sgd(0.1), arch=optax.sgd(0.5), epoch_steps=4, steps=8)
HP = ConfigDict({'warmup_epochs': 0, 'order': 1})


def loss(params, stats, weights, images, labels, dropout=None, learns=None):
  value = images.mean() * params['w'] * weights['normal'][0, 0]
  stats = {'seen': 10 * stats['seen'] + parallel.mean(images.mean())}
  return value, (stats, jnp.stack([images, -images], axis=-1))


NET = Net(tiny.TINY, init=None, apply=None, loss=loss)
in_either_form = pytest.mark.parametrize('net', [NET, NET._replace(one_program=True)])


def state(alphas=(0.0, 0.0), tx=TX):
  params, arch = {'w': jnp.float32(2)}, {'normal': jnp.float32([alphas])}
  return SearchState(
    step=jnp.int32(7),
    params=params,
    batch_stats={'seen': jnp.float32(1)},
    arch=arch,
    weight_opt=tx.weights and tx.weights.init(params),
    arch_opt=tx.arch and tx.arch.init(arch),
  )


def on_devices(step, state, *batches):
  """step(state, *batches) on two devices, raising where they do not agree."""
  in_axes = (None, *(0 for _ in batches))
  return jax.vmap(step, axis_name=AXIS, in_axes=in_axes, out_axes=(None, None))(state, *batches)


def identity(arch):
  return arch


def test_arch_step():
  """m = 3, so that its gradient is 4 * 2 = 8, and 3 - 0.5 * 8 = -1."""
  before = state((3, 9), tx := TX._replace(weights=None))
  step = functools.partial(bilevel.arch_step, net=NET, tx=tx, weights=identity)
  after, metrics = on_devices(step, before, VAL)
  np.testing.assert_allclose(after.arch['normal'], [[-1, 9]])
  assert after.params['w'] == 2
  assert after.step == 7
  assert after.batch_stats['seen'] == 10 + 4
  assert metrics == {'val_loss': 4 * 2 * 3, 'val_accuracy': 1}


def test_weight_step():
  """The gradient of w is 1 * 3, and 2 - 0.1 * 3 = 1.7; one of four images is negative."""
  before = state(tx=(tx := TX._replace(arch=None)))
  weights = {'normal': jnp.array([[3.0, 9]])}
  step = functools.partial(bilevel.weight_step, net=NET, tx=tx, weights=weights)
  after, metrics = on_devices(step, before, TRAIN)
  np.testing.assert_allclose(after.params['w'], 1.7)
  np.testing.assert_array_equal(after.arch['normal'], [[0, 0]])
  assert after.step == 7
  assert after.batch_stats['seen'] == 10 + 1
  assert metrics == {'train_loss': 1 * 2 * 3, 'train_accuracy': 0.75}


def test_labels_are_smoothed_where_params_are_trained_alone():
  """Smoothing is here a factor of the loss, 1 + 0.5, and with it of the gradient of w."""

  def smoothed(*arguments, smoothing=0.0, **dropout):
    value, seen = loss(*arguments, **dropout)
    return value * (1 + smoothing), seen

  (plain, smooth), metrics = zip(
    *(
      on_devices(functools.partial(darts.step, None, net=net, tx=TX, hp=HP), state(), TRAIN, VAL)
      for net in (NET, NET._replace(loss=smoothed, smoothing=0.5))
    ),
    strict=True,
  )
  np.testing.assert_array_equal(plain.arch['normal'], smooth.arch['normal'])
  assert metrics[0]['val_loss'] == metrics[1]['val_loss']
  np.testing.assert_allclose(metrics[1]['train_loss'], 1.5 * metrics[0]['train_loss'], rtol=1e-6)
  np.testing.assert_allclose(smooth.params['w'] - 2, 1.5 * (plain.params['w'] - 2), rtol=1e-5)
  assert NET.train_loss is NET.loss


def test_arch_step_asks_for_no_gradient_of_the_params():
  @jax.custom_vjp
  def untouched(w):
    return w

  def backward(_, gradient):
    raise AssertionError('the gradient of the params is computed')

  untouched.defvjp(lambda w: (w, None), backward)

  def guarded(params, *rest, **dropout):
    return loss({'w': untouched(params['w'])}, *rest, **dropout)

  net = NET._replace(loss=guarded)
  step = functools.partial(bilevel.arch_step, net=net, tx=TX, weights=identity)
  on_devices(step, state((3, 9)), VAL)
  step = functools.partial(bilevel.weight_step, net=net, tx=TX, weights=state().arch)
  with pytest.raises(AssertionError, match='gradient of the params'):
    on_devices(step, state(), TRAIN)


@in_either_form
def test_darts_steps_the_architecture_first_and_the_weights_under_the_new_one(net):
  """Alphas 0 make m = 1/2, whose gradients are +-1/4: 4 * 2 / 4 = 2, and alphas -1 and 1.

  Then m = 1 / (1 + e^2), and the gradient of w is 1 * m. Both halves pass the running statistics,
  the architecture's first: 10 * (10 * 1 + 4) + 1.
  """
  step = functools.partial(darts.step, None, net=net, tx=TX, hp=HP)
  after, metrics = on_devices(step, state(), TRAIN, VAL)
  np.testing.assert_allclose(after.arch['normal'], [[-1, 1]], rtol=1e-6)
  mixed = 1 / (1 + np.exp(2))
  np.testing.assert_allclose(after.params['w'], 2 - 0.1 * mixed, rtol=1e-6)
  assert after.batch_stats['seen'] == 141
  assert after.step == 8
  np.testing.assert_allclose(metrics['val_loss'], 4 * 2 / 2)
  np.testing.assert_allclose(metrics['train_loss'], 1 * 2 * mixed, rtol=1e-6)


@in_either_form
def test_the_architecture_rests_while_it_warms_up(net):
  """Step 7 is in the second epoch of 4 steps, step 8 in the third."""
  for warmup, moves in ((1, True), (2, False)):
    hp = ConfigDict({'warmup_epochs': warmup, 'order': 1})
    step = functools.partial(darts.step, None, net=net, tx=TX, hp=hp)
    after, metrics = on_devices(step, state(), TRAIN, VAL)
    assert np.any(after.arch['normal'] != 0) == moves
    assert (after.batch_stats['seen'] == 141) == moves
    assert after.params['w'] != 2
    np.testing.assert_allclose(metrics['val_loss'], 4 * 2 / 2)


def test_darts_starts_near_equal_weights():
  arch = darts.init(jax.random.key(0), net=tiny.net(), hp=None)
  for kind, weights in darts.weights(arch, net=tiny.net(), hp=None).items():
    assert 0.7e-3 < arch[kind].std() < 1.4e-3
    np.testing.assert_allclose(weights.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(weights, 1 / 4, atol=2e-3)
  assert np.any(arch['normal'] != arch['reduce'])


def test_darts_decodes_what_it_mixes():
  """The softmax, not the alphas: none has most of the first edge into node 3."""
  alphas = np.zeros((14, 8), np.float32)
  alphas[2, [0, 4]] = 5, 3  # from 0: none, sep_conv_3x3
  alphas[3, 5], alphas[4, 7] = 2, 1  # from 1: sep_conv_5x5; from 2: dil_conv_5x5
  found = darts.decode(
    None,
    state().replace(arch={'normal': alphas, 'reduce': alphas}),
    net=tiny.net(space=SPACE),
    hp=ConfigDict({'max_skips': 8}),
  )
  assert found.normal[2:4] == found.reduce[2:4] == (('sep_conv_5x5', 1), ('dil_conv_5x5', 2))
