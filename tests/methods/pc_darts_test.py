"""PC-DARTS: its weights are those of DARTS shared out among a node's edges."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tiny
from ml_collections import ConfigDict

from unrealnas_jax import optimizers
from unrealnas_jax.methods import darts, pc_darts
from unrealnas_jax.parallel import AXIS
from unrealnas_jax.spaces import SPACES
from unrealnas_jax.state import SearchState
from unrealnas_jax.supernet import Net

DARTS = SPACES['darts']
SIBLINGS = np.array(DARTS.edges)[:, 1]  # edges of an edge's node: as many as the node's number
HP = ConfigDict({'order': 1, 'warmup_epochs': 0, 'max_skips': 8})


def test_with_equal_betas_it_is_darts_divided_by_the_number_of_edges():
  """In a supernet of whole channels that is all there is of it: their golden files do the rest."""
  net = tiny.net(space=SPACES['darts'])
  arch = pc_darts.init(jax.random.key(0), net=net, hp=None)
  equal = jax.tree.map(jnp.ones_like, arch['betas'])
  found = pc_darts.weights({**arch, 'betas': equal}, net=net, hp=None)
  expected = darts.weights(arch['alphas'], net=net, hp=None)
  _, destinations = np.array(net.space.edges).T
  for kind in net.space.kinds:
    np.testing.assert_allclose(found[kind] * destinations[:, None], expected[kind], rtol=1e-6)


def test_a_nodes_edges_share_one():
  """Betas 0 and log 3 into the first node: a quarter and three quarters."""
  net = tiny.net(space=SPACES['darts'])
  arch = pc_darts.init(jax.random.key(0), net=net, hp=None)
  betas = {kind: jnp.zeros(14).at[1].set(jnp.log(3)) for kind in net.space.kinds}
  found = pc_darts.weights({**arch, 'betas': betas}, net=net, hp=None)['reduce'].sum(1)
  expected = [1 / 4, 3 / 4] + [1 / 3] * 3 + [1 / 4] * 4 + [1 / 5] * 5
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_betas_choose_the_edges_of_a_cell():
  """Of the last node alphas are strongest on its first two edges, betas on its last two."""
  net, key = tiny.net(space=DARTS), jax.random.key(0)
  arch = pc_darts.init(key, net=net, hp=None)
  sep = DARTS.ops.index('sep_conv_3x3')
  alphas = jnp.zeros((14, 8)).at[:, sep].set(2).at[9:11, sep].set(3)
  betas = jnp.zeros(14).at[12:].set(2)
  arch = {'alphas': {**arch['alphas'], 'normal': alphas}, 'betas': {'normal': betas}}
  arch['betas']['reduce'] = jnp.zeros(14)
  state = SearchState(jnp.int32(0), {}, {}, arch, (), ())
  found = pc_darts.decode(key, state, net=net, hp=HP)
  assert found.normal[6:] == (('sep_conv_3x3', 3), ('sep_conv_3x3', 4))
  by_alphas = DARTS.decode(darts.weights(arch['alphas'], net=net, hp=None))
  assert by_alphas.normal[6:] == (('sep_conv_3x3', 0), ('sep_conv_3x3', 1))
  assert found.normal[:6] == by_alphas.normal[:6]
  assert found.reduce == by_alphas.reduce


def test_without_weights_of_edges_and_on_all_channels_it_is_darts():
  """One step; a loss that multiplies with a node's number of edges takes equal betas back."""

  def loss(params, stats, weights, images, labels, dropout=None, times=1):
    tables = [weights[kind] * times for kind in DARTS.kinds]
    total = sum((jnp.sin(params['w'] * table).sum(1) ** 2).sum() for table in tables)
    return images.mean() * total, (stats, jnp.stack([images, -images], axis=-1))

  sgd = optax.sgd(0.1)
  rest = optax.multi_transform({'a': sgd, 'b': optax.set_to_zero()}, {'alphas': 'a', 'betas': 'b'})
  half = jnp.float32([[1.0, 2.0]]), jnp.zeros((1, 2), jnp.int32)
  alphas = {kind: tiny.noise(14, 8, seed=n) for n, kind in enumerate(DARTS.kinds)}
  betas = dict.fromkeys(DARTS.kinds, jnp.ones(14))
  params, after = {'w': jnp.arange(8.0)[None]}, {}
  for method, arch, arch_tx, times in (
    (darts, alphas, sgd, 1),
    (pc_darts, {'alphas': alphas, 'betas': betas}, rest, SIBLINGS[:, None]),
  ):
    net = Net(DARTS, init=None, apply=None, loss=functools.partial(loss, times=times))
    state = SearchState(jnp.int32(0), params, {}, arch, sgd.init(params), arch_tx.init(arch))
    tx = optimizers.Optimizers(sgd, arch_tx, 5, 20)
    step = functools.partial(method.step, None, net=net, tx=tx, hp=HP)
    step = jax.vmap(step, axis_name=AXIS, in_axes=(None, 0, 0), out_axes=(None, None))
    after[method] = jax.jit(step)(state, half, half)
  (ours, metrics), (expected, expected_metrics) = after[pc_darts], after[darts]
  assert np.abs(expected.arch['normal'] - alphas['normal']).max() > 0.01
  tiny.assert_trees_close(ours.arch['alphas'], expected.arch)
  tiny.assert_trees_close(ours.params, expected.params)
  tiny.assert_trees_close(metrics, expected_metrics)
