"""P-DARTS: how its dropout fades, what a stage leaves to the next, the limit on identities."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from ml_collections import ConfigDict

from configs import default
from unrealnas_jax import optimizers, stages, watch
from unrealnas_jax.methods import alphas, pdarts
from unrealnas_jax.parallel import AXIS
from unrealnas_jax.spaces import SPACES
from unrealnas_jax.state import SearchState

DARTS = SPACES['darts']
SKIP = DARTS.ops.index('skip_connect')


def test_dropout_falls_while_the_architecture_rests_then_fades_anew():
  """By train_search.py: p (E - e - 1) / E in 10 of E = 25 epochs, then p exp(-0.2 (e - 10))."""
  hp = ConfigDict(dict(warmup_epochs=10, skip_dropout=0.7))
  rates = [float(pdarts.rate(jnp.int32(epoch), 25, hp)) for epoch in range(25)]
  np.testing.assert_allclose(rates[:3] + rates[8:10], [0.672, 0.644, 0.616, 0.448, 0.42], rtol=1e-6)
  np.testing.assert_allclose(rates[10:], 0.7 * np.exp(-0.2 * np.arange(15)), rtol=1e-5)
  hp.warmup_epochs = 0
  np.testing.assert_allclose(pdarts.rate(jnp.int32(0), 25, hp), 0.7, rtol=1e-6)


def test_the_dropout_of_a_step_is_that_of_its_epoch_in_the_whole_stage(monkeypatch):
  """Step 5 of 12, four an epoch: the second of three epochs, in which the architecture rests."""
  hp = ConfigDict(dict(warmup_epochs=2, skip_dropout=0.6))
  tx = optimizers.Optimizers(None, None, epoch_steps=4, steps=12)
  monkeypatch.setattr(pdarts.bilevel, 'alternate', lambda *args, dropout, **kwargs: dropout)
  state = types.SimpleNamespace(step=jnp.int32(5))
  key, rate = pdarts.step('key', state, None, None, net=None, tx=tx, hp=hp)
  assert key == 'key'
  np.testing.assert_allclose(rate, 0.2, rtol=1e-6)
  hp.skip_dropout = 0.0
  assert pdarts.step('key', state, None, None, net=None, tx=tx, hp=hp) is None


def test_an_edge_keeps_its_strongest_operations_and_the_others_are_never_heard_of():
  weights = {'normal': np.array([[0.1, 0.4, 0.3, 0.2], [0.25, 0.25, 0.25, 0.25]])}
  kept = alphas.strongest(weights, 2)
  np.testing.assert_array_equal(kept['normal'], [[0, 1, 1, 0], [1, 1, 0, 0]])
  net = tiny.net()._replace(kept=kept)
  mixed = pdarts.weights({'normal': jnp.zeros((2, 4))}, net=net, hp=None)['normal']
  np.testing.assert_allclose(mixed, [[0, 0.5, 0.5, 0], [0.5, 0.5, 0, 0]])
  gradient = jax.grad(
    lambda a: (
      pdarts.weights({'normal': a}, net=net, hp=None)['normal'] * jnp.arange(4)[None]
    ).sum()
  )(jnp.ones((2, 4)))
  assert np.isfinite(gradient).all()
  assert (gradient[~kept['normal']] == 0).all()
  assert (gradient[kept['normal']] != 0).all()


def skip_weights():
  """Identities are strongest on every edge, weaker from row to row; then convolutions."""
  table = np.full((14, 8), 0.01)
  table[:, SKIP] = np.linspace(0.9, 0.5, 14)
  table[:, DARTS.ops.index('sep_conv_3x3')] = 0.1
  return {'normal': table, 'reduce': table}


def test_identities_are_struck_out_weakest_first():
  """All edges of a node are identities as long as one is stronger than any convolution."""
  ladder = alphas.skip_ladder(DARTS, skip_weights())
  counts = [len(DARTS.skips(genotype)) for genotype in ladder]
  assert counts[0] == 8
  assert counts[-1] == 0
  assert all(before >= after for before, after in zip(counts, counts[1:], strict=False))
  assert all(genotype.reduce == ladder[0].reduce for genotype in ladder)
  # The last node has the weakest identities, rows 9 to 13, of which it keeps the first two.
  first = [row for row in DARTS.skips(ladder[0]) if row not in DARTS.skips(ladder[1])]
  assert first == [10]


@pytest.mark.parametrize('limit', [8, 2, 0])
def test_a_cell_is_decoded_with_at_most_so_many_identities(limit):
  found = alphas.decode(DARTS, skip_weights(), ConfigDict({'max_skips': limit}))
  assert len(DARTS.skips(found)) <= limit
  if limit == 8:
    assert found == DARTS.decode(skip_weights())


def test_the_limit_holds_in_nasbench201_too():
  space = SPACES['nasbench201']
  table = np.full((6, 5), 0.1)
  table[:, 1], table[:, 3] = np.linspace(0.9, 0.5, 6), 0.2
  found = alphas.decode(space, {'normal': table}, ConfigDict({'max_skips': 2}))
  assert found.ops == ('skip_connect',) * 2 + ('nor_conv_3x3',) * 4


def test_decode_ranks_edges_by_the_softmax_of_what_a_stage_has_left():
  """Into node 3: e^2 of e^2 + 4 from 1, e of e + 7 from 2, e^3 of 4 e^3 + 4 from 0.

  The alphas would put the edge from 0 first; what is left out would leave the one from 1 nothing.
  """
  table, kept = np.zeros((14, 8), np.float32), np.ones((14, 8), bool)
  table[2, 4:] = 3
  table[3, 5], table[4, 7] = 2, 1
  table[3, :3], kept[3, :3] = 9, False
  state = SearchState(jnp.int32(0), {}, {}, dict.fromkeys(DARTS.kinds, table), (), ())
  net = tiny.net(space=DARTS)._replace(kept=dict.fromkeys(DARTS.kinds, kept))
  found = pdarts.decode(None, state, net=net, hp=ConfigDict({'max_skips': 8}))
  assert found.normal[2:4] == found.reduce[2:4] == (('sep_conv_5x5', 1), ('dil_conv_5x5', 2))


def test_stages_change_what_they_name_and_nothing_else():
  config = ConfigDict({'a': {'b': 1, 'c': 2}, 'd': 3})
  config.stages = ({'a.b': 5}, {'d': 4, 'a.c': 6})
  first, second = stages.configs(config)
  assert (first.a.b, first.a.c, first.d, first.stages) == (5, 2, 3, ())
  assert (second.a.b, second.a.c, second.d) == (1, 6, 4)
  assert config.a.b == 1
  assert stages.phases(config) == ['search_1', 'search_2']
  config.stages = ()
  assert stages.configs(config) == [config]
  assert stages.phases(config) == ['search']


def test_the_eigenvalue_is_measured_where_identities_can_drop_values():
  """Only traced: to a supernet that is not told a rate its identities are of no use."""
  config = default.get_config('laptop')
  config.method.update(dict(name='pdarts', skip_dropout=0.3))
  space = tiny.TINY._replace(kinds=('normal',), kind_of=lambda cell, cells: 'normal')
  net = tiny.net(space=space, cells=1, skip_dropout=True, axis_name=AXIS)
  params, stats = tiny.variables(net)
  arch = pdarts.init(jax.random.key(0), net=net, hp=config.method)
  state = SearchState(0, params, stats, arch, None, None)
  rates, loss = [], net.loss

  def told(*args, dropout):
    rates.append(dropout[1])
    return loss(*args, dropout=dropout)

  source = types.SimpleNamespace(fn=lambda key, batch: batch, task=None)
  sharpness = watch._make_sharpness(config, source, net._replace(loss=told), pdarts)
  run = jax.vmap(sharpness, axis_name=AXIS, in_axes=(None, None, 0), out_axes=None)
  batch = jnp.zeros((1, 2, 8, 8, 3)), jnp.zeros((1, 2), jnp.int32)
  assert jax.eval_shape(run, jax.random.key(0), state, batch).shape == ()
  assert set(rates) == {0.0}
