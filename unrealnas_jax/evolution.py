"""Evolutionary search for the cell of the highest score.

Source: the official search of RLNAS, evolution_search/search.py; no cell is met twice there either.
What is inherited as one is a gene (spaces.space.Space.genes), so that all that is bred is a cell of
the space; officially it is an edge, and a node that then has not two inputs is mended at random.
"""

from typing import NamedTuple

import numpy as np

TRIES = 10  # times as many cells are bred in search of new ones, as officially


class Scored(NamedTuple):
  """codes [N, E] with their scores [N], the best first."""

  codes: np.ndarray
  scores: np.ndarray


def evolve(score, sample, genes, seed, hp, fits=None):
  """The best cell met, [E].

  score: codes [N, E] -> [N]. sample: number n -> n random codes [n, E].
  genes: groups of the E columns; hp: config.method.evolution.
  fits: codes [N, E] -> bool [N], which cells are allowed, of those that are bred; None for all.
  """
  rng = np.random.default_rng(seed)
  member = np.zeros(sum(map(len, genes)), int)
  for number, columns in enumerate(genes):
    member[list(columns)] = number

  def mixed(parents, others, probability):
    """Parents with some of their genes taken from the others."""
    taken = rng.random((len(parents), len(genes))) < probability
    return np.where(taken[:, member], others, parents)

  def mutate(count):
    return mixed(draw(count), sample(count), hp.mutation_probability)

  def cross(count):
    return mixed(draw(count), draw(count), 0.5)

  def fresh(_):
    return sample(hp.population)  # always as many, so that this is compiled once

  visited, best = set(), None
  for generation in range(hp.generations):
    draw = lambda count: best.codes[rng.integers(len(best.codes), size=count)]  # noqa: B023, E731
    born = []
    if generation:
      born = _new(mutate, hp.mutations, visited, fits)
      born += _new(cross, hp.crossovers, visited, fits)
    # Random cells take the place of those that could not be bred.
    born += _new(fresh, hp.population - len(born), visited)
    if born:
      best = _best(score, np.array(born), hp.parents, best)
  return best.codes[0]


def _new(breed, count, visited, fits=None):
  """Up to `count` allowed codes never met, of TRIES times as many; `visited` gets them."""
  found = []
  for _ in range(TRIES):
    bred = breed(count) if len(found) < count else ()
    for code in bred[fits(bred)] if fits and len(bred) else bred:
      if len(found) < count and (met := tuple(code.tolist())) not in visited:
        visited.add(met)
        found.append(code)
  return found


def _best(score, codes, count, before=None):
  """The Scored codes of the highest score, of new ones and those before."""
  scores = score(codes)
  if before is not None:
    codes, scores = np.concatenate([before.codes, codes]), np.concatenate([before.scores, scores])
  order = np.argsort(-scores, kind='stable')[:count]
  return Scored(codes[order], scores[order])
