"""Both updates of a step by one program against one update after the other."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax.extend import core

from configs import default
from unrealnas_jax import methods, optimizers, supernet
from unrealnas_jax.methods import one_program
from unrealnas_jax.parallel import AXIS
from unrealnas_jax.spaces import SPACES
from unrealnas_jax.state import SearchState

KEY = jax.random.key(3)
CONFIG = default.get_config('paper')
SGD = optimizers.sgd(CONFIG.search, epoch_steps=4)
TX = optimizers.Optimizers(SGD, optimizers.adam(CONFIG.method), epoch_steps=4, steps=20)
SPACE = tiny.TINY._replace(kinds=('normal',), kind_of=lambda cell, cells: 'normal')
ONE_CELL = {'space': SPACE, 'cells': 1}
# (method, what is changed of the supernet, what of config.method)
CASES = {
  'darts': ('darts', ONE_CELL, {}),
  'of all forms': ('darts', {'affine': True, 'microbatch': 2}, {}),
  'rows of cells in loops': ('darts', {'space': SPACE, 'cells': 4}, {}),
  'nasbench201': ('darts', {'space': SPACES['nasbench201'], 'cells': 1}, {}),
  'drnas': ('drnas', ONE_CELL, {}),
  'gdas': ('gdas', ONE_CELL, {}),
  'pc_darts': ('pc_darts', ONE_CELL | {'channels': 8, 'partial': 2}, {'warmup_epochs': 1}),
  'pdarts': ('pdarts', ONE_CELL | {'skip_dropout': True}, {'skip_dropout': 0.3}),
  'sdarts': ('sdarts', ONE_CELL, {'sdarts': {'perturbation': 'adversarial'}}),
}


@functools.cache
def make(name, as_one):
  """(step of an example state at some step, its arguments but the number)"""
  method, form, keys = CASES[name]
  method, hp = methods.METHODS[method], CONFIG.method.copy_and_resolve_references()
  hp.update(keys)
  net = tiny.net(axis_name=AXIS, sparse=method.SPARSE, **form)
  assert one_program.fits(net, hp)
  net = net._replace(one_program=as_one)
  params, stats = tiny.variables(net)
  arch = method.init(KEY, net=net, hp=hp)
  state = SearchState(None, params, stats, arch, TX.weights.init(params), TX.arch.init(arch))
  labels = jnp.arange(4).reshape(2, 2)  # of two devices with two images each
  train, val = ((tiny.noise(2, 2, 8, 8, 3, seed=seed), labels) for seed in (1, 2))

  def step(number, state, train, val):
    return method.step(KEY, state.replace(step=number), train, val, net=net, tx=TX, hp=hp)

  axes = {'in_axes': (None, None, 0, 0), 'out_axes': (None, None)}
  return jax.jit(jax.vmap(step, axis_name=AXIS, **axes)), (state, train, val)


@pytest.mark.parametrize(('name', 'number'), [*((name, 5) for name in CASES), ('pc_darts', 3)])
def test_one_program_moves_the_state_as_two_do(name, number):
  """Step 3 is the last of PC-DARTS's warm-up, in which the architecture rests."""
  found, expected = (
    step(jnp.int32(number), *arguments)
    for step, arguments in (make(name, as_one) for as_one in (True, False))
  )
  tiny.assert_trees_close(found, expected, 2e-4)


def test_cells_are_compiled_for_one_update_alone():
  """Ways out and back of one cell."""
  counts = []
  for as_one in (True, False):
    step, arguments = make('darts', as_one)
    text = step.lower(jnp.int32(5), *arguments).as_text()
    counts.append(len(re.findall(r'call @_walk\w*\(', text)))
  assert counts == [2, 4]


def test_gradients_of_depthwise_kernels_wait_for_the_params_turn():
  """Else the architecture's turn would compute them and throw them away."""

  def inside(params):
    leaves = jax.tree.leaves(list(params.values()), is_leaf=lambda x: isinstance(x, core.Jaxpr))
    return [x for x in leaves if isinstance(x, core.Jaxpr | core.ClosedJaxpr)]

  def gradients(jaxpr, in_branch=False):
    for equation in jaxpr.eqns:
      if equation.params.get('name') == '_kernel_gradient':
        yield in_branch
      for inner in inside(equation.params):
        inner = getattr(inner, 'jaxpr', inner)
        yield from gradients(inner, in_branch or equation.primitive.name == 'cond')

  step, arguments = make('darts', True)
  assert list(gradients(step.trace(jnp.int32(5), *arguments).jaxpr.jaxpr)) == [True]


@pytest.mark.parametrize('space', ['darts', 'nasbench201'])
def test_no_convolution_is_forgotten(space):
  """Where kernels do not learn, the gradients of the others are what they were."""
  form = {'darts': {}, 'nasbench201': {'space': SPACES['nasbench201'], 'cells': 1}}[space]
  net = tiny.net(affine=True, **form)
  params, stats = tiny.variables(net)
  images, labels, weights = tiny.noise(2, 8, 8, 3), jnp.arange(2), tiny.mixing(net.space)

  @jax.jit
  def gradients(learns):
    def loss(params):
      return net.loss(params, stats, weights, images, labels, learns=learns)[0]

    return jax.grad(loss)(params)

  expected = gradients(True)
  for path, leaf in jax.tree.leaves_with_path(expected):
    assert np.any(leaf != 0), path

  def of_others(path, leaf):
    names = {getattr(key, 'key', None) for key in path}
    return leaf if names & {'scale', 'bias', 'classifier'} else jnp.zeros_like(leaf)

  expected = jax.tree.map_with_path(of_others, expected)
  tiny.assert_trees_close(gradients(False), expected, 1e-4)


def test_where_it_does_not_fit(monkeypatch):
  """Second order, smoothed labels, what XLA is to count, and other platforms."""
  hp = CONFIG.method.copy_and_resolve_references()
  assert one_program.fits(tiny.net(), hp)
  assert not one_program.fits(tiny.net()._replace(smoothing=0.1), hp)
  assert not one_program.fits(tiny.net(plain=True), hp)
  hp.order = 2
  assert not one_program.fits(tiny.net(), hp)
  hp.order = 1
  monkeypatch.setattr(supernet.jax, 'default_backend', lambda: 'tpu')
  assert not one_program.fits(tiny.net(), hp)
