"""How far weights have turned since the start of training, for any cell of a supernet.

The vector of a network joins its weights: those of an operation once for each complete path of the
cell through its edge, and those outside the cells' edges once. Its angle to the vector before
training is large where training has gone fast. It is a sum over edges under a root, so that all
cells of a space are measured from one table of products.

Source: Zhang et al. 2021, "Neural Architecture Search with Random Labels", section 3.3; the
official weight_angle.py (NAS-Bench-201) and evolution_search/test_server.py (DARTS). In both a path
through none counts for nothing and a pool is its kernel of 1/9; the identity is the unit matrix in
the DARTS space and nothing in NAS-Bench-201 (spaces.space.Space.identity_turns).
"""

import functools
from typing import NamedTuple

import jax
import numpy as np


class Products(NamedTuple):
  """Inner products of the weights before and after training, [3]: both, before, after.

  edges: {kind: [E, O, 3]}, summed over the cells of a kind; rest: [3], of all other weights.
  """

  edges: dict
  rest: np.ndarray


def products(space, before, after):
  """The Products of a supernet's params before and after training."""
  # float64: the angle is a small difference of large sums.
  before, after = (
    jax.tree.map(functools.partial(np.asarray, dtype=np.float64), tree) for tree in (before, after)
  )
  shape = len(space.edges), len(space.ops), 3
  edges = {kind: np.zeros(shape) for kind in space.kinds}
  walked = zip(space.skeleton.edges(space, before), space.skeleton.edges(space, after), strict=True)
  inside = 0
  for (kind, rows, stride, channels, old), (*_, new) in walked:
    for column, op in enumerate(space.ops):
      learned = _products(old.get(op, ()), new.get(op, ()), len(rows))
      inside = inside + learned.sum(0)
      edges[kind][rows, column] += learned + _constant(space, op, stride, channels)
  whole = _products([jax.tree.leaves(before)], [jax.tree.leaves(after)])
  return Products(edges, whole - inside)


def of_cells(space, products, codes):
  """Angles in radians, float64 [N]; 0 for a cell through which no path leads.

  codes: {kind: [N, E]}, the number of each edge's operation
  """
  total, connected = products.rest, True
  for kind, chosen in codes.items():
    paths = complete_paths(space, chosen)
    values = products.edges[kind][np.arange(chosen.shape[1])[None], chosen]
    total = total + (paths[..., None] * values).sum(1)
    connected &= paths.any(1)
  both, before, after = np.moveaxis(total, -1, 0)
  length = np.sqrt(before * after)
  cosine = np.divide(both, length, where=length > 0, out=np.ones_like(both)).clip(-1, 1)
  return np.where(connected, np.arccos(cosine), 0)


def complete_paths(space, codes):
  """Through how many paths from an input to an output each edge leads. [N, E] -> int [N, E]

  A path ends at a none. A node that the output is made of ends a path and may lead further.
  """
  present = (codes != space.ops.index('none')).astype(np.int64)
  states = space.inputs + space.nodes
  into = np.zeros((len(codes), states), np.int64)
  into[:, : space.inputs] = 1
  for row, (source, destination) in enumerate(space.edges):
    into[:, destination] += into[:, source] * present[:, row]
  out = np.zeros_like(into)
  out[:, list(space.outputs)] = 1
  for row, (source, destination) in reversed(list(enumerate(space.edges))):
    out[:, source] += out[:, destination] * present[:, row]
  sources, destinations = np.array(space.edges).T
  return into[:, sources] * present * out[:, destinations]


def _products(old, new, *leading):
  """Products of two trees, [3], or [E, 3] if arrays have a leading axis of E edges."""
  totals = np.zeros((*leading, 3))
  for x, y in zip(jax.tree.leaves(old), jax.tree.leaves(new), strict=True):
    x, y = x.reshape(*leading, -1), y.reshape(*leading, -1)
    totals += np.stack([(x * y).sum(-1), (x * x).sum(-1), (y * y).sum(-1)], axis=-1)
  return totals


def _constant(space, op, stride, channels):
  """What an operation without weights adds to each product."""
  if op.endswith('pool_3x3'):
    return channels * 9 * (1 / 9) ** 2
  return channels if op == 'skip_connect' and stride == 1 and space.identity_turns else 0
