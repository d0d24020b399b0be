"""A search space, networks and numbers small enough that tests of them compile in seconds."""

import jax
import jax.numpy as jnp
import numpy as np

from unrealnas_jax import supernet
from unrealnas_jax.spaces import darts
from unrealnas_jax.state import SearchState

# Two nodes, and one operation of each way to be computed: a pool, the identity, a convolution.
# The first cell reduces, so that the second meets states of two sizes.
TINY = darts.make(('none', 'max_pool_3x3', 'skip_connect', 'dil_conv_3x3'), nodes=2)._replace(
  kind_of=lambda cell, cells: 'normal' if cell else 'reduce'
)


def net(**changes):
  """A supernet of two cells, one that reduces and a normal one."""
  settings = {'space': TINY, 'channels': 2, 'cells': 2, 'classes': 4, 'image_channels': 3}
  return supernet.make(supernet.Shape(**(settings | changes)))


def variables(net):
  """(params, stats) shaped as net.init makes them, of numbers that tell all weights apart."""
  params, stats = jax.eval_shape(net.init, jax.random.key(0))
  rng = np.random.default_rng(0)
  params = jax.tree.map(lambda leaf: jnp.float32(rng.normal(size=leaf.shape) * 0.4), params)
  return params, jax.tree.map(lambda leaf: jnp.float32(rng.uniform(0.5, 2, leaf.shape)), stats)


def noise(*shape, seed=0):
  """Gaussian numbers as float32."""
  return jnp.float32(np.random.default_rng(seed).normal(size=shape))


def mixing(space, seed=0):
  """Mixing weights {kind: [E, O]} that differ everywhere, each row summing to 1."""
  shape = len(space.edges), len(space.ops)
  return {kind: jax.nn.softmax(noise(*shape, seed=seed + n)) for n, kind in enumerate(space.kinds)}


def state_of(space, **logits):
  """A state whose alphas are `logits` (operation -> value) on every edge, else about 0."""
  rng = np.random.default_rng(0)
  arch = {}
  for kind in space.kinds:
    table = 0.01 * rng.normal(size=(len(space.edges), len(space.ops)))
    for op, value in logits.items():
      table[:, space.ops.index(op)] += value
    arch[kind] = np.float32(table)
  return SearchState(np.int32(0), {}, {}, arch, (), ())


def assert_trees_close(found, expected, tolerance=1e-5):
  """Compares leaf by leaf, relative to the largest value of a leaf."""
  assert jax.tree.structure(found) == jax.tree.structure(expected)
  pairs = zip(jax.tree.leaves_with_path(expected), jax.tree.leaves(found), strict=True)
  for (path, exact), ours in pairs:
    assert ours.shape == exact.shape, path
    error, largest = (float(jnp.abs(jnp.float32(x)).max()) for x in (ours - exact, exact))
    assert error <= tolerance * largest, f'{jax.tree_util.keystr(path)}: {error} of {largest}'
