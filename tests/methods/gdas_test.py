"""GDAS: what is sampled, where its gradient goes, its temperature, and what rests."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from ml_collections import ConfigDict

from unrealnas_jax import optimizers
from unrealnas_jax.methods import alphas, gdas
from unrealnas_jax.parallel import AXIS
from unrealnas_jax.spaces.darts import SPACE
from unrealnas_jax.state import SearchState

KEY = jax.random.key(0)
STEP_KEY = jax.random.key(4)  # one normal edge samples the convolution, one samples none
# The architecture's rate is so high that an update changes which operation a noise would sample.
TX = optimizers.Optimizers(optax.sgd(0.1), optax.sgd(1e4), 10, 50, unrolled=None)
SETTINGS = {'order': 1, 'warmup_epochs': 0, 'max_skips': 8, 'gdas': {'tau': 10.0, 'tau_end': 0.1}}
HP = ConfigDict(SETTINGS)

EDGES, OPS = len(tiny.TINY.edges), len(tiny.TINY.ops)


def test_samples_are_exactly_one_hot_and_as_likely_as_the_softmax():
  """Whatever the temperature, which only gradients know."""
  table = jnp.log(jnp.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]))
  keys = jax.random.split(KEY, 4000)
  hot, cold = (
    jax.vmap(lambda key, tau=tau: gdas.draw(key, tau, {'normal': table}))(keys)['normal']
    for tau in (10.0, 0.1)
  )
  np.testing.assert_array_equal(hot, cold)
  assert set(np.unique(hot)) == {0, 1}
  np.testing.assert_array_equal(hot.sum(-1), 1)
  np.testing.assert_allclose(hot.mean(0), jnp.exp(table), atol=0.03)


def test_kinds_of_cells_are_sampled_apart():
  table = jnp.zeros((50, 5))
  found = gdas.draw(KEY, 1.0, {'normal': table, 'reduce': table})
  assert np.any(found['normal'] != found['reduce'])


@pytest.mark.parametrize('tau', [0.5, 2.0])
def test_gradient_is_that_of_the_sampled_probability(tau):
  """By hand: v_s p_s (1 for s, 0 else - p_j) / tau, p being softmax((table + noise) / tau).

  Sampled is s; v_s is the gradient of its weight. Gradients of the other weights go nowhere.
  """
  table = jnp.array([[0.3, -0.2, 0.1, 0.0]])
  v = jnp.array([[2.0, -3, 5, 7]])
  noise = jax.random.gumbel(jax.random.fold_in(KEY, 0), table.shape)
  p = np.exp((table + noise) / tau)
  p /= p.sum()
  s = int((table + noise).argmax())
  expected = v[0, s] * p[0, s] * (np.eye(4)[s] - p) / tau

  def loss(table):
    return (v * gdas.draw(KEY, tau, {'normal': table})['normal']).sum()

  found = jax.grad(loss)(table)
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
  assert np.abs(found).min() > 0.01


def test_temperature_falls_from_epoch_to_epoch():
  """10 - 9.9 e / 4 in epochs 0 to 4, as officially: the last one has the lowest."""
  steps = jnp.array([0, 9, 10, 25, 40, 49, 50, 500])  # a selection is tuned after the last
  taus = [float(gdas.temperature(step, tx=TX, hp=HP)) for step in steps]
  np.testing.assert_allclose(taus, [10, 10, 7.525, 5.05, 0.1, 0.1, 0.1, 0.1], rtol=1e-5)
  one_epoch = TX._replace(steps=10)
  assert gdas.temperature(jnp.int32(9), tx=one_epoch, hp=HP) == 10


@pytest.fixture(scope='module')
def one_step():
  """(state before, state after a step, mixing weights of both updates)."""
  net = tiny.net(axis_name=AXIS, sparse=True)
  params, batch_stats = tiny.variables(net)
  arch = gdas.init(jax.random.key(1), net=net, hp=HP)
  states = TX.weights.init(params), TX.arch.init(arch)
  before = SearchState(jnp.int32(0), params, batch_stats, arch, *states)
  seen = []

  def loss(params, stats, weights, *examples, **dropout):
    jax.debug.callback(seen.append, weights)
    return net.loss(params, stats, weights, *examples, **dropout)

  run = functools.partial(gdas.step, STEP_KEY, net=net._replace(loss=loss), tx=TX, hp=HP)
  run = jax.vmap(run, axis_name=AXIS, in_axes=(None, 0, 0), out_axes=(None, None))
  batches = ((tiny.noise(1, 4, 8, 8, 3, seed=seed), jnp.arange(4)[None]) for seed in (1, 2))
  after, _ = jax.jit(run)(before, *batches)
  jax.effects_barrier()
  return before, after, seen


def test_both_updates_of_a_step_have_the_same_sample(one_step):
  """Though by the alphas that the first one leaves, the step's noise would sample others."""
  _, after, seen = one_step
  for_arch, for_params = seen
  jax.tree.map(np.testing.assert_array_equal, for_arch, for_params)
  again = gdas.draw(STEP_KEY, 1.0, alphas.kept_only(after.arch, tiny.net()))
  assert any(np.any(again[kind] != for_arch[kind]) for kind in tiny.TINY.kinds)


def test_what_is_not_sampled_neither_learns_nor_is_computed(one_step):
  """Not computed: its running statistics rest. Without decay only what is computed moves."""
  before, after, seen = one_step
  sampled = seen[0]['normal'][:, tiny.TINY.ops.index('dil_conv_3x3')] == 1
  assert sampled.sum() == 1
  for name in ('params', 'batch_stats'):
    old, new = (getattr(state, name)['cells'][1]['walk'] for state in (before, after))
    old, new = (tree.get('edges', tree)['dil_conv_3x3'] for tree in (old, new))
    for first, last in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True):
      moved = np.any(first != last, axis=tuple(range(1, first.ndim)))
      np.testing.assert_array_equal(moved, sampled)


def test_alphas_of_each_edge_learn_from_its_sampled_operation(one_step):
  """The gradient of a softmax sums to 0; an edge that has sampled none has no gradient at all."""
  before, after, seen = one_step
  for kind in tiny.TINY.kinds:
    change = after.arch[kind] - before.arch[kind]
    np.testing.assert_allclose(change.sum(-1), 0, atol=1e-6 * np.abs(change).max())
    sampled = np.asarray(seen[0][kind].argmax(-1))
    silent = sampled == tiny.TINY.ops.index('none')
    np.testing.assert_array_equal(np.any(change != 0, axis=-1), ~silent)


def test_operations_that_a_stage_has_left_out_are_never_sampled():
  kept = {kind: jnp.tile(jnp.arange(OPS) % 2 == 1, (EDGES, 1)) for kind in tiny.TINY.kinds}
  net = tiny.net()._replace(kept=kept)
  arch = gdas.init(KEY, net=net, hp=HP)
  keys = jax.random.split(KEY, 200)
  found = jax.vmap(lambda key: gdas.draw(key, 1.0, alphas.kept_only(arch, net)))(keys)
  for kind in tiny.TINY.kinds:
    np.testing.assert_array_equal(found[kind].any(0), kept[kind])


def test_decode_ranks_edges_by_probability():
  """The first edge into node 3 has the largest alphas, but four of them, with a quarter each."""
  table = np.zeros((14, 8), np.float32)
  table[2, 4:] = 3  # from 0
  table[3, 5], table[4, 7] = 2, 1  # from 1, with a half, and from 2
  arch = {'normal': table, 'reduce': table}
  state = SearchState(jnp.int32(0), {}, {}, arch, (), ())
  found = gdas.decode(None, state, net=tiny.net(space=SPACE), hp=HP)
  assert found.normal[2:4] == found.reduce[2:4] == (('sep_conv_5x5', 1), ('dil_conv_5x5', 2))
