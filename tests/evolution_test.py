"""Evolution: it finds what is best, breeds only cells of the space, and repeats itself."""

import jax
import numpy as np
from ml_collections import ConfigDict

from unrealnas_jax import evolution
from unrealnas_jax.methods import paths
from unrealnas_jax.spaces.darts import SPACE

HP = ConfigDict(
  dict(
    population=30, generations=15, parents=8, mutations=12, mutation_probability=0.2, crossovers=12
  )
)
NONE = SPACE.ops.index('none')
TARGET = paths.sample_flat(jax.random.key(99), SPACE, 1)[0]


def sampler():
  keys = (jax.random.fold_in(jax.random.key(0), n) for n in range(1000))
  return lambda count: paths.sample_flat(next(keys), SPACE, count)


def run(**changes):
  """(best cell, all cells that were scored)"""
  seen = []

  def score(codes):
    seen.append(codes)
    return (codes == TARGET).sum(1)

  hp = ConfigDict({**HP, **changes})
  return evolution.evolve(score, sampler(), paths.genes(SPACE), 7, hp), np.concatenate(seen)


def test_later_generations_are_better_than_random_ones():
  best, seen = run()
  first, _ = run(generations=1)
  random = sampler()(len(seen))
  assert (best == TARGET).sum() > (random == TARGET).sum(1).max()
  assert (best == TARGET).sum() >= (first == TARGET).sum()
  assert (best == TARGET).sum() == (seen == TARGET).sum(1).max()


def test_all_cells_are_cells_of_the_space():
  """Each node has two incoming edges that are not none, whatever was bred."""
  _, seen = run()
  for gene in paths.genes(SPACE):
    assert ((seen[:, gene] != NONE).sum(1) == 2).all()


def test_no_cell_is_met_twice():
  """So every generation is of new ones, even where nearly all that is bred was there before."""
  for changes in ({}, {'parents': 1, 'mutation_probability': 0.01}):
    _, seen = run(**changes)
    assert len({tuple(code) for code in seen.tolist()}) == len(seen)
    assert len(seen) == HP.population * HP.generations


def test_a_space_that_is_all_met_ends_it():
  codes = np.arange(4)[:, None]
  best = evolution.evolve(
    lambda codes: -abs(codes[:, 0] - 2.0), lambda count: codes[np.arange(count) % 4], [(0,)], 0, HP
  )
  np.testing.assert_array_equal(best, [2])


def test_the_same_seed_finds_the_same_cell():
  np.testing.assert_array_equal(run()[0], run()[0])


def test_without_mutations_and_crossovers_it_is_random_search():
  best, seen = run(mutations=0, crossovers=0)
  assert (best == TARGET).sum() == (seen == TARGET).sum(1).max()
