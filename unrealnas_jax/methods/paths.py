"""Single cells as numbers: codes {kind: [E]}, the number of each edge's operation, and one-hot."""

import functools
import itertools
import math

import jax
import numpy as np


def sample(key, space):
  """A uniformly random architecture, drawn again until one is within limits: codes {kind: [E]}."""

  def draw(key):
    keys = jax.random.split(key, len(space.kinds))
    return {kind: space.sample(key) for kind, key in zip(space.kinds, keys, strict=True)}

  def again(drawn):
    key, _ = jax.random.split(drawn[0])
    return key, draw(key)

  if space.fits is None:
    return draw(key)
  return jax.lax.while_loop(lambda drawn: ~space.fits(drawn[1]), again, (key, draw(key)))[1]


def one_hot(space, codes):
  """Mixing weights {kind: [..., E, O]} that are 1 for the coded operations."""
  return {kind: jax.nn.one_hot(codes[kind], len(space.ops)) for kind in space.kinds}


def sample_flat(key, space, count):
  """Codes of random architectures, all kinds side by side: [count, kinds * E]."""
  codes = _samples(key, space, count)
  return np.concatenate([np.asarray(codes[kind]) for kind in space.kinds], axis=1)


@functools.partial(jax.jit, static_argnums=(1, 2))
def _samples(key, space, count):
  return jax.vmap(lambda key: sample(key, space))(jax.random.split(key, count))


def split(space, flat):
  """[..., kinds * E] -> {kind: [..., E]}"""
  return dict(zip(space.kinds, np.split(flat, len(space.kinds), axis=-1), strict=True))


def genes(space):
  """Groups of the columns of flat codes that are inherited as one."""
  edges = len(space.edges)
  return [
    [row + edges * number for row in gene]
    for number in range(len(space.kinds))
    for gene in space.genes
  ]


def number_of_cells(space):
  """How many architectures a space has; infinite where it is not known."""
  free = all(len(gene) == 1 for gene in space.genes)
  return len(space.ops) ** (len(space.edges) * len(space.kinds)) if free else math.inf


def every_cell(space):
  """Flat codes of all architectures of a space whose edges choose freely: [N, kinds * E]."""
  columns = len(space.edges) * len(space.kinds)
  return np.array(list(itertools.product(range(len(space.ops)), repeat=columns)))
