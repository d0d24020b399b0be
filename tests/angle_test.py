"""Angles of cells, by hand on numbers and against the vectors written out, path by path."""

import itertools

import jax
import numpy as np
import pytest
import tiny

from unrealnas_jax import angle, supernet
from unrealnas_jax.methods import paths
from unrealnas_jax.spaces import SPACES, darts, nasbench201

NB, DARTS = nasbench201.SPACE, darts.SPACE


def all_paths(space):
  """Every path from an input to an output as a list of edges' rows, none or not."""
  ends = set(space.outputs)

  def onward(state):
    for row, (source, destination) in enumerate(space.edges):
      if source == state:
        if destination in ends:
          yield [row]
        yield from ([row, *rest] for rest in onward(destination))

  return [path for state in range(space.inputs) for path in onward(state)]


@pytest.mark.parametrize(('space', 'count'), [(NB, 4), (DARTS, 30)], ids=['nasbench201', 'darts'])
def test_complete_paths_are_those_without_none(space, count):
  assert len(all_paths(space)) == count  # a path may go on from an output
  none = space.ops.index('none')
  codes = np.random.default_rng(0).integers(0, len(space.ops), (50, len(space.edges)))
  codes[:2] = [[none], [(none + 1) % len(space.ops)]]
  for cell, found in zip(codes, angle.complete_paths(space, codes), strict=True):
    expected = np.zeros(len(cell), int)
    for path in all_paths(space):
      if all(cell[row] != none for row in path):
        np.add.at(expected, path, 1)
    np.testing.assert_array_equal(found, expected)


def test_the_angle_of_a_path_by_hand():
  """One edge of weight 3 that turned to 4 in another direction, twice in the vector; rest 1 to 1.

  Through edges 0-1, 1-3 and 1-2-3 the first counts twice: both 2 * 0 + 1, before 2 * 9 + 1,
  after 2 * 16 + 1.
  """
  ops = {name: NB.ops.index(name) for name in NB.ops}
  edges = np.zeros((6, 5, 3))
  edges[0, ops['nor_conv_1x1']] = 0, 9, 16
  products = angle.Products({'normal': edges}, np.ones(3))
  cell = np.array([[ops[n] for n in ('nor_conv_1x1', 'none', *['skip_connect'] * 4)]])
  cell[0, 3] = ops['none']
  found = angle.of_cells(NB, products, {'normal': cell})
  np.testing.assert_allclose(found, np.arccos(1 / np.sqrt(19 * 33)))
  none = np.full_like(cell, ops['none'])
  assert angle.of_cells(NB, products, {'normal': none}) == 0


def written_out(space, params, code):
  """The edges' part of the vector of a cell's network as the official code joins it.

  A pool is its kernel, an identity is nothing: so in NAS-Bench-201.
  """
  for kind, rows, _, channels, ops in space.skeleton.edges(space, params):
    for path in all_paths(space):
      chosen = [space.ops[code[kind][row]] for row in path]
      if 'none' in chosen:
        continue
      for row, op in zip(path, chosen, strict=True):
        place = list(rows).index(row)
        yield from (np.ravel(leaf[place]) for leaf in jax.tree.leaves(ops.get(op, ())))
        if op == 'avg_pool_3x3':
          yield np.full(9 * channels, 1 / 9)


@pytest.mark.parametrize('whole', [False, True], ids=['edges', 'network'])
def test_every_cell_of_nasbench201_is_ranked_by_the_vectors_written_out(whole):
  """Some of all cells, the one that turned most among them; without a path nothing turns."""
  net = supernet.make(supernet.Shape(NB, 2, 1, 3, 3, sparse=True))
  before, after = (jax.jit(net.init)(jax.random.key(seed))[0] for seed in (0, 1))
  products = angle.products(NB, before, after)
  if not whole:
    products = products._replace(rest=np.zeros(3))
  cells = paths.every_cell(NB)
  found = angle.of_cells(NB, products, {'normal': cells})
  present = cells != NB.ops.index('none')
  connected = np.any([present[:, path].all(1) for path in all_paths(NB)], axis=0)
  assert found.shape == connected.shape
  assert (found[~connected] == 0).all()
  some = np.random.default_rng(1).choice(np.flatnonzero(connected), 30)
  for number in (found.argmax(), *some):
    vectors = []
    for params in (before, after):
      edges = written_out(NB, params, {'normal': cells[number]})
      shared = {name: tree for name, tree in params.items() if not name.startswith('cells')}
      rest = map(np.ravel, jax.tree.leaves(shared) if whole else ())
      vectors.append(np.concatenate([[], *edges, *rest], dtype=np.float64))
    lengths = np.prod([np.linalg.norm(vector) for vector in vectors])
    cosine = vectors[0] @ vectors[1] / lengths if lengths else 1  # identities alone have no vector
    np.testing.assert_allclose(found[number], np.arccos(min(cosine, 1)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize('affine', [False, True])
def test_all_weights_count_once_and_constants_by_their_size(affine):
  """Nothing turned: angles are 0, and lengths are what the official vectors have."""
  space = tiny.TINY
  net = supernet.make(supernet.Shape(space, 4, 2, 3, 3, sparse=True, affine=affine))
  params, _ = net.init(jax.random.key(0))
  products = angle.products(space, params, params)
  whole = sum(np.square(np.float64(leaf)).sum() for leaf in jax.tree.leaves(params))
  learned = products.rest[0]
  for kind, rows, _, _, ops in space.skeleton.edges(space, params):
    for tree in ops.values():
      learned += sum(np.square(np.float64(leaf)).sum() for leaf in jax.tree.leaves(tree))
      assert len(rows) == jax.tree.leaves(tree)[0].shape[0]
    assert kind in space.kinds
  np.testing.assert_allclose(learned, whole)
  # The first cell reduces to 8 channels, the second is normal with as many.
  normal = products.edges['normal'][0]
  np.testing.assert_allclose(normal[space.ops.index('skip_connect')], 8)
  pool = normal[space.ops.index('max_pool_3x3')]
  np.testing.assert_allclose(pool, 8 / 9 + (8 if affine else 0))
  np.testing.assert_array_equal(normal[space.ops.index('none')], 0)
  codes = paths.split(space, paths.sample_flat(jax.random.key(2), space, 5))
  np.testing.assert_allclose(angle.of_cells(space, products, codes), 0, atol=1e-6)


def test_every_cell_of_nasbench201_is_listed_once():
  cells = paths.every_cell(NB)
  assert cells.shape == (15625, 6)
  assert len({tuple(cell) for cell in cells.tolist()}) == 15625
  assert paths.number_of_cells(NB) == 15625
  assert paths.number_of_cells(SPACES['darts']) == float('inf')
  assert list(itertools.islice(map(tuple, cells.tolist()), 2)) == [(0,) * 6, (0,) * 5 + (1,)]
