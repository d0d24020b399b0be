"""Limits on what the found network may cost: search.max_parameters and search.max_multiply_adds.

They hold for the network that config.retrain describes, without its auxiliary head, for one image:
of the real images, or of the source where a run sees no real ones. Both costs are sums over the
edges of a cell and a part that all cells share, so that a few networks tell those of all.
"""

import bisect
import functools
import itertools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from unrealnas_jax import network as networks
from unrealnas_jax import retrain
from unrealnas_jax.methods import paths
from unrealnas_jax.spaces.darts import KEPT

COSTS = {'max_parameters': 'parameters', 'max_multiply_adds': 'multiply_adds'}
ROUNDING = 4e-6  # share of a limit that float32 sums may be wrong by
DRAWS = 10_000  # random cells of which one must be within the limits, if cells are to be drawn


class Prices(NamedTuple):
  """What cells cost. fixed: [2] int64, of COSTS; tables: {kind: [E, O, 2]}, added by each edge."""

  fixed: np.ndarray
  tables: dict


class Options(NamedTuple):
  """Ways to choose for some edges. scores: [N], the larger the better; costs: [N, K] of the limited
  costs; chosen: N tuples of (kind, row, column)."""

  scores: np.ndarray
  costs: np.ndarray
  chosen: list


def of(config):
  """{key of config.search: limit} of the limits that are set."""
  return {key: config.search[key] for key in COSTS if config.search[key]}


def within(config, space, images):
  """The space whose decode, and draws of random cells, keep to the limits; itself without limits.

  images: a Source or Dataset, of whose shape and classes the network is.
  decode gives the genotype of the largest sum of log weights over its edges that is within the
  limits, exactly; without limits that is what decode gives anyway. Raises ValueError: none is, of
  operations that have a weight above 0.
  """
  limits = of(config)
  if not limits:
    return space
  prices = _prices(config, space, images)
  return space._replace(
    decode=functools.partial(_decode, space, prices, limits),
    fits=functools.partial(_fits, prices, limits),
  )


def problems(config, space, images, draws):
  """What is wrong with the limits: no cell is within them, or too few to be drawn at random.

  draws: whether the method draws cells
  """
  limits = of(config)
  if not limits:
    return
  prices = _prices(config, space, images)
  uniform = {kind: np.ones((len(space.edges), len(space.ops))) for kind in space.kinds}
  told = ', '.join(f'search.{key} = {limit}' for key, limit in limits.items())
  if _choose(space, prices, limits, uniform) is None:
    yield f'{told}; allowed: at least what the smallest cell has, {_smallest(space, prices)}'
    return
  if draws:
    sample = jax.vmap(lambda key: within(config, space, images).fits(paths.sample(key, space)))
    if not jax.jit(sample)(jax.random.split(jax.random.key(0), DRAWS)).any():
      yield (
        f'{told}; allowed: more, for none of {DRAWS:,} random cells is within, and '
        f'method.name = {config.method.name!r} draws them'
      )


def facts(config, genotype, images):
  """For result.json: the limits and what the network costs; nothing without limits."""
  if not of(config):
    return {}
  measured = retrain.measure(_network(config, genotype, images.classes), images.shape)
  return {'limits': of(config), **measured}


def _network(config, genotype, classes):
  hp, cells = config.retrain, hasattr(genotype, 'reduce')
  stem = hp.stem if cells else 'cifar'
  return networks.make(genotype, hp.channels, hp.cells, classes, stem=stem)


def _prices(config, space, images):
  """The Prices of the edges of a space."""
  hp = config.retrain
  return _measured(space, hp.channels, hp.cells, hp.stem, images.classes, tuple(images.shape))


@functools.cache
def _measured(space, channels, cells, stem, classes, shape):
  stem = stem if 'reduce' in space.kinds else 'cifar'
  first, *others = _candidates(space)

  def cost(codes):
    genotype = space.decode(paths.one_hot(space, codes))
    found = retrain.measure(networks.make(genotype, channels, cells, classes, stem=stem), shape)
    return np.array([found[name] for name in COSTS.values()], np.int64)

  plain = {kind: _plain(space, first) for kind in space.kinds}
  fixed, known, tables = cost(plain), {}, {}
  for kind in space.kinds:
    tables[kind] = np.zeros((len(space.edges), len(space.ops), 2), np.int64)
    for rows, column in itertools.product(space.genes, (first, *others)):
      for row in rows:
        # In a reduction cell what leaves an input has stride 2.
        group = kind, kind == 'reduce' and space.edges[row][0] < space.inputs, column
        if group not in known:
          codes = np.array(plain[kind])
          codes[list(rows)] = space.ops.index('none')
          codes[[*(r for r in rows if r != row)][: KEPT - 1]] = first
          codes[row] = column
          known[group] = cost({**plain, kind: codes}) - fixed
        tables[kind][row, column] = known[group]
  return Prices(fixed, tables)


def _plain(space, column):
  """Codes [E] of the cell that has one operation on all edges it keeps, the first of each node."""
  codes = np.full(len(space.edges), space.ops.index('none'))
  for rows in space.genes:
    codes[list(rows[:KEPT])] = column
  return codes


def _candidates(space):
  """Columns of the operations that a genotype can have: none only where edges choose freely."""
  free = all(len(rows) == 1 for rows in space.genes)
  return [column for column, op in enumerate(space.ops) if free or op != 'none']


def _fits(prices, limits, codes):
  """Whether a cell is within the limits, []; codes: {kind: [E]}, traced or not."""
  columns = _columns(limits)
  total = jnp.float32(prices.fixed[columns])
  for kind, code in codes.items():
    table = jnp.float32(prices.tables[kind][..., columns])
    total += table[jnp.arange(len(code)), code].sum(0)
  return (total <= jnp.float32([*limits.values()]) * (1 - ROUNDING)).all()


def _decode(space, prices, limits, weights):
  weights = {kind: np.asarray(table) for kind, table in weights.items()}
  chosen = _choose(space, prices, limits, weights)
  if chosen is None:
    told = ', '.join(f'search.{key} = {limit}' for key, limit in limits.items())
    raise ValueError(
      f'{told}; no cell is within, of the operations that the search has left to its edges; '
      f'allowed: more (the smallest cell of all operations has {_smallest(space, prices)})'
    )
  left = {kind: np.zeros_like(table) for kind, table in weights.items()}
  for kind, row, column in chosen:
    left[kind][row, column] = weights[kind][row, column]
  return space.decode(left)


def _choose(space, prices, limits, weights):
  """The best choices within the limits, (kind, row, column) of each edge; None if there are none.

  Node by node all ways are kept that no other one is better than and at most as costly.
  """
  nodes = [
    _undominated(_options(space, kind, rows, prices, limits, weights[kind]))
    for kind in space.kinds
    for rows in space.genes
  ]
  if not all(len(node.scores) for node in nodes):
    return None
  room = np.array([*limits.values()]) - prices.fixed[_columns(limits)]
  least = np.array([node.costs.min(0) for node in nodes])
  found = Options(np.zeros(1), np.zeros((1, len(limits)), np.int64), [()])
  for number, node in enumerate(nodes):
    scores = (found.scores[:, None] + node.scores[None]).ravel()
    costs = (found.costs[:, None] + node.costs[None]).reshape(-1, len(limits))
    fits = np.flatnonzero((costs + least[number + 1 :].sum(0)[None] <= room[None]).all(1))
    parts = [divmod(int(n), len(node.scores)) for n in fits]
    chosen = [found.chosen[a] + node.chosen[b] for a, b in parts]
    found = _undominated(Options(scores[fits], costs[fits], chosen))
  return found.chosen[0] if found.chosen else None


def _options(space, kind, rows, prices, limits, weights):
  """All ways in which a node can choose its edges and their operations. weights: [E, O]"""
  scores, costs, chosen, columns = [], [], [], _columns(limits)
  with np.errstate(divide='ignore'):
    logs = np.log(np.float64(weights))
  for kept in itertools.combinations(rows, min(len(rows), KEPT)):
    for ops in itertools.product(_candidates(space), repeat=len(kept)):
      score = sum(logs[row, op] for row, op in zip(kept, ops, strict=True))
      if score == -math.inf:
        continue
      pairs = [*zip(kept, ops, strict=True)]
      scores.append(score)
      costs.append(sum(prices.tables[kind][row, op][columns] for row, op in pairs))
      chosen.append(tuple((kind, row, op) for row, op in pairs))
  return Options(np.array(scores), np.array(costs).reshape(-1, len(limits)), chosen)


def _undominated(options):
  """The options that no other one is better than and at most as costly; the best first."""
  order = np.lexsort((*options.costs.T, -options.scores))
  kept, stairs = [], []  # stairs: the two costs, the first rising and the second falling
  for n in order.tolist():
    cost = int(options.costs[n, 0]), int(options.costs[n, -1])
    after = bisect.bisect_right(stairs, (cost[0], math.inf))
    if after and stairs[after - 1][1] <= cost[1]:
      continue
    kept.append(n)
    start = end = bisect.bisect_left(stairs, cost)
    while end < len(stairs) and stairs[end][1] >= cost[1]:
      end += 1
    stairs[start:end] = [cost]
  return Options(options.scores[kept], options.costs[kept], [options.chosen[n] for n in kept])


def _columns(limits):
  """Where the limited costs are in Prices."""
  return [number for number, key in enumerate(COSTS) if key in limits]


def _smallest(space, prices):
  """What the cell of the fewest parameters costs, in words."""
  uniform = {kind: np.ones((len(space.edges), len(space.ops))) for kind in space.kinds}
  total = prices.fixed.copy()
  for kind, rows in itertools.product(space.kinds, space.genes):
    costs = _options(space, kind, rows, prices, COSTS, uniform[kind]).costs
    total += costs[np.lexsort(costs.T[::-1])[0]]
  return f'{total[0]:,} parameters and {total[1]:,} multiply-adds'
