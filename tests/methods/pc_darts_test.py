"""PC-DARTS: its weights are those of DARTS shared out among a node's edges."""

import jax
import jax.numpy as jnp
import numpy as np
import tiny

from unrealnas_jax.methods import darts, pc_darts
from unrealnas_jax.spaces import SPACES


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
