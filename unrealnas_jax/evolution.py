"""Evolutionary search for the cell of the highest score.

Source: the official search of RLNAS, evolution_search/search.py; what is inherited as one is a gene
(spaces.space.Space.genes), so that all that is bred is a cell of the space.
"""

import numpy as np


def evolve(score, sample, genes, seed, hp):
  """The best cell met, [E].

  score: codes [N, E] -> [N], minus infinity for cells that are rejected.
  sample: number n -> n random codes [n, E], none of them to be rejected.
  genes: groups of the E columns; hp: config.method.evolution.
  """
  rng = np.random.default_rng(seed)
  member = np.zeros(sum(map(len, genes)), int)
  for number, columns in enumerate(genes):
    member[list(columns)] = number

  def pick(parents, others, probability):
    """Parents with some of their genes taken from the others."""
    taken = rng.random((len(parents), len(genes))) < probability
    return np.where(taken[:, member], others, parents)

  population = sample(hp.population)
  best = np.empty((0, population.shape[1]), population.dtype)
  for generation in range(hp.generations):
    best = _best(score, np.concatenate([best, population]), hp.parents)
    if generation == hp.generations - 1:
      break
    draw = lambda count: best[rng.integers(len(best), size=count)]  # noqa: B023, E731
    mutated = pick(draw(hp.mutations), sample(hp.mutations), hp.mutation_probability)
    crossed = pick(draw(hp.crossovers), draw(hp.crossovers), 0.5)
    fresh = sample(max(hp.population - hp.mutations - hp.crossovers, 0))
    population = np.concatenate([mutated, crossed, fresh])
  return best[0]


def _best(score, codes, count):
  codes = np.unique(codes, axis=0)
  scores = score(codes)
  order = np.argsort(-scores, kind='stable')
  return codes[order[:count][scores[order[:count]] > -np.inf]]
