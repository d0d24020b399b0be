"""Numbers for all operations of all edges, which most methods learn."""

import jax


def init(key, space):
  """Alphas {kind: [E, O]} of N(0, 1e-6), so that all operations start about equal."""
  return _draw(key, space, (len(space.edges), len(space.ops)))


def init_edges(key, space):
  """Betas {kind: [E]} of N(0, 1e-6)."""
  return _draw(key, space, (len(space.edges),))


def map_with_keys(function, key, tables):
  """{kind: function(a key of its own, table)} of tables {kind: [E, O]}."""
  return {
    kind: function(jax.random.fold_in(key, number), table)
    for number, (kind, table) in enumerate(sorted(tables.items()))
  }


def _draw(key, space, shape):
  keys = (jax.random.fold_in(key, number) for number in range(len(space.kinds)))
  return {
    kind: 1e-3 * jax.random.normal(key, shape) for kind, key in zip(space.kinds, keys, strict=True)
  }
