"""Methods while a selection by perturbation decides: what was left out rests, the rest learns."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from configs import default
from unrealnas_jax import methods, optimizers, perturbation
from unrealnas_jax.parallel import AXIS
from unrealnas_jax.skeletons import nasbench201
from unrealnas_jax.spaces import SPACES
from unrealnas_jax.state import SearchState

KEY = jax.random.key(3)
HP = default.get_config('paper').method
# No decay, so that what has no gradient rests.
HP.arch_weight_decay = 0.0
TX = optimizers.Optimizers(optax.sgd(0.1), optimizers.adam(HP), 5, 20, unrolled=optax.sgd(0.1))
# How a method that has alphas is tried, unless on one cell and with the plain supernet.
FORMS = {
  'pc_darts': ('one_cell', {'channels': 4, 'partial': 2}),
  'pdarts': ('one_cell', {'skip_dropout': True}),
  'drnas': ('nasbench201', {}),
}
TRIED = {name: FORMS.get(name, ('one_cell', {})) for name in methods.LEARNED}
NETS = {
  'one_cell': {
    'space': tiny.TINY._replace(kinds=('normal',), kind_of=lambda cell, cells: 'normal'),
    'cells': 1,
  },
  'nasbench201': {'space': SPACES['nasbench201'], 'cells': 1},
}


def of(name):
  """(method, hp)"""
  hp = HP.copy_and_resolve_references()
  hp.skip_dropout = 0.3 if name == 'pdarts' else 0.0
  return methods.METHODS[name], hp


def make_net(name, **changes):
  space, settings = TRIED[name]
  return tiny.net(axis_name=AXIS, **(NETS[space] | settings | changes))


def begin(name):
  """The state before the first decision, after a search of 20 steps."""
  net, (method, hp) = make_net(name), of(name)
  params, stats = tiny.variables(net)
  arch = method.init(KEY, net=net, hp=hp)
  state = SearchState(jnp.int32(20), params, stats, arch, (), TX.arch.init(arch))
  return net, perturbation.begin(state, net.space, TX)


def left_of(space):
  """The first edge has chosen its last operation, the last but one is dropped."""
  left = jnp.ones((len(space.edges), len(space.ops)))
  left = left.at[0].set(jnp.eye(len(space.ops))[-1]).at[-2].set(0)
  return dict.fromkeys(space.kinds, left)


def make_step(method, hp, net):
  """(step of four devices, list of its traces)"""
  traces = []

  def step(*args):
    traces.append(1)
    return method.step(*args, net=net, tx=TX, hp=hp)

  step = jax.vmap(step, axis_name=AXIS, in_axes=(None, None, 0, 0), out_axes=(None, None))
  return jax.jit(step), traces


def batches():
  for seed in (1, 2):
    yield tiny.noise(4, 4, 8, 8, 3, seed=seed), jnp.arange(16).reshape(4, 4) % 4


@pytest.fixture(scope='module', autouse=True)
def _one_stage():
  """NAS-Bench-201 with one of its three stages: methods see no difference, and compilers do."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(nasbench201, 'STAGES', 1)
    yield


@functools.cache
def perturbed_step(name):
  method, hp = of(name)
  return make_step(perturbation.of(method), hp, make_net(name, sparse=True))


@functools.cache
def steps(name):
  """(net, state before, after one step and after two, metrics, traces)"""
  net, before = begin(name)
  before.arch['left'] = left_of(net.space)
  step, traces = perturbed_step(name)
  after, metrics = step(KEY, before, *batches())
  later, _ = step(KEY, after, *batches())
  return net, before, after, later, metrics, traces


@pytest.mark.parametrize('name', TRIED)
def test_the_state_keeps_its_form_and_is_compiled_once(name):
  _, before, after, later, metrics, traces = steps(name)
  describe = functools.partial(jax.tree.map, lambda x: (x.shape, x.dtype, x.weak_type))
  assert describe(before) == describe(after)
  assert len(traces) == 1
  assert [int(state.step) for state in (before, after, later)] == [20, 21, 22]
  for path, leaf in jax.tree.leaves_with_path((later, metrics)):
    assert np.isfinite(leaf).all(), path
  jax.tree.map(np.testing.assert_array_equal, later.arch['left'], before.arch['left'])
  assert later.arch['decided'] == 0


@pytest.mark.parametrize('name', TRIED)
def test_what_was_left_out_rests_and_the_rest_is_trained(name):
  net, before, _, later, _, _ = steps(name)
  space, used, trained = net.space, left_of(net.space), False
  for first, last in zip(
    *(space.skeleton.edges(space, state.params) for state in (before, later)), strict=True
  ):
    kind, rows = first[0], list(first[1])
    for op, layers in first[-1].items():
      for old, new in zip(jax.tree.leaves(layers), jax.tree.leaves(last[-1][op]), strict=True):
        moved = (old != new).reshape(len(rows), -1).any(1)
        expected = np.asarray(used[kind])[rows, space.ops.index(op)] == 1
        assert not (moved & ~expected).any(), f'{kind} {op}'
        # SDARTS leaves out what its perturbation takes to 0, GDAS what it does not sample.
        assert (moved | (name in ('sdarts', 'gdas')))[expected].all(), f'{kind} {op}'
        trained |= moved.any()
  assert trained


@pytest.mark.parametrize('name', TRIED)
def test_the_architecture_of_undecided_edges_learns_on(name):
  net, before, _, later, _, _ = steps(name)
  learned = [state.arch['learned'] for state in (before, later)]
  tables = [x.get('alphas', x) for x in learned]
  # Adam moves what has no gradient by nothing; rounding is no gradient.
  for kind in net.space.kinds:
    moved = np.abs(tables[0][kind] - tables[1][kind]).max(1)
    undecided = np.delete(moved, (0, -2))
    # GDAS learns nothing of an edge of which it samples none.
    assert (undecided.max() if name == 'gdas' else undecided.min()) > 1e-5
  method, hp = of(name)
  weights = perturbation.of(method).weights(later.arch, net=net, hp=hp)
  own = method.weights(learned[1], net=net, hp=hp)
  for kind in net.space.kinds:
    np.testing.assert_array_equal(weights[kind][-2], 0)
    np.testing.assert_allclose(weights[kind][0, -1], own[kind][0].sum(), rtol=1e-6)
    np.testing.assert_array_equal(weights[kind][1:-2], own[kind][1:-2])


def test_before_anything_is_decided_a_step_is_the_methods_own():
  net, before = begin('darts')
  method, hp = of('darts')
  found, metrics = perturbed_step('darts')[0](KEY, before, *batches())
  own, _ = make_step(method, hp, net)
  expected, own_metrics = own(KEY, before.replace(arch=before.arch['learned']), *batches())
  tiny.assert_trees_close(found.params, expected.params, 1e-4)
  tiny.assert_trees_close(found.arch['learned'], expected.arch, 1e-4)
  tiny.assert_trees_close(metrics, own_metrics, 1e-4)
