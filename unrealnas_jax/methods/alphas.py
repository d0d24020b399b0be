"""Numbers for all operations of all edges, which most methods learn, and what is made of them."""

import jax
import jax.numpy as jnp
import numpy as np


def init(key, space):
  """Alphas {kind: [E, O]} of N(0, 1e-6), so that all operations start about equal."""
  return _draw(key, space, (len(space.edges), len(space.ops)))


def init_edges(key, space):
  """Betas {kind: [E]} of N(0, 1e-6)."""
  return _draw(key, space, (len(space.edges),))


def softmax(alphas, net):
  """Softmax over the operations that net.kept leaves to each edge, none included; else 0."""
  return jax.tree.map(jax.nn.softmax, kept_only(alphas, net))


def kept_only(tables, net):
  """Tables {kind: [E, O]} with minus infinity for operations that net.kept leaves out."""
  if net.kept is None:
    return tables
  return {kind: jnp.where(net.kept[kind], tables[kind], -jnp.inf) for kind in tables}


def strongest(weights, count):
  """Which operations of each edge are among its `count` of largest weight: {kind: bool [E, O]}."""

  def of_kind(weights):
    rank = np.argsort(np.argsort(-np.asarray(weights), axis=1, kind='stable'), axis=1)
    return rank < count

  return {kind: of_kind(table) for kind, table in weights.items()}


def decode(space, weights, hp):
  """The genotype of mixing weights, with at most hp.max_skips identities in the normal cell."""
  return skip_ladder(space, weights, hp.max_skips)[-1]


def skip_ladder(space, weights, fewest=0):
  """Genotypes with fewer and fewer identities in the normal cell, down to `fewest` at most.

  The weakest is struck out and the cell decoded anew, until no more are left than allowed.
  Source: Chen et al. 2019, "Progressive Differentiable Architecture Search", section 3.3; the
  official train_search.py, delete_min_sk_prob.
  """
  column = space.ops.index('skip_connect')
  table = np.array(weights['normal'])
  ladder = [space.decode({**weights, 'normal': table})]
  while len(rows := space.skips(ladder[-1])) > fewest:
    table[min(rows, key=lambda row: table[row, column]), column] = 0
    ladder.append(space.decode({**weights, 'normal': table}))
  return ladder


def map_with_keys(function, key, tables):
  """{kind: function(a key of its own, table)} of tables {kind: [E, O]}."""
  return {
    kind: function(jax.random.fold_in(key, number), table)
    for number, (kind, table) in enumerate(sorted(tables.items()))
  }


def _draw(key, space, shape):
  keys = (jax.random.fold_in(key, number) for number in range(len(space.kinds)))
  return {
    kind: 1e-3 * jax.random.normal(key, shape, jnp.float32)
    for kind, key in zip(space.kinds, keys, strict=True)
  }
