"""RLNAS: one uniformly random path a step is trained, and the cell that turns most is chosen.

The angle between weights before and after training (angle.py) ranks cells by how fast they learn,
which needs no held-out accuracy: on random labels there is none to be had.
Source: Zhang et al. 2021, "Neural Architecture Search with Random Labels"; official code
megvii-model/RLNAS.
"""

import functools
import itertools

import jax
import numpy as np

from unrealnas_jax import angle, evolution
from unrealnas_jax.methods import bilevel, paths

SPARSE = True
MOST_CELLS = 20_000  # that are ranked whole


def draws(hp):
  """Where cells are bred, not all of them ranked."""
  return hp.rlnas.search == 'evolution'


def init(key, *, net, hp):
  """The path trained last, {kind: [E, O]} of zeros and ones; at first a random one.

  Limits are those of the answer: all paths are trained.
  """
  del hp
  return paths.one_hot(net.space, paths.sample(key, net.space._replace(fits=None)))


def weights(arch, *, net, hp):
  """The path trained last."""
  del net, hp
  return arch


def step(key, state, train, val, *, net, tx, hp):
  """Trains the params of a random path; val is not used."""
  del val
  path = init(key, net=net, hp=hp)
  state, metrics = bilevel.weight_step(state, train, net=net, tx=tx, weights=path)
  return state.replace(step=state.step + 1, arch=path), metrics


def decode(key, state, *, net, hp):
  """The cell of the largest angle: of all, or found by evolution, as hp.rlnas.search says.

  Cells beyond the limits are out of the question.
  """
  space, angles = net.space, _angles(key, state, net, hp)
  allowed = space.fits and jax.jit(jax.vmap(space.fits))
  fits = allowed and (lambda flat: np.asarray(allowed(paths.split(space, flat))))
  turned = lambda flat: angles(paths.split(space, flat))  # noqa: E731

  if hp.rlnas.search == 'exhaustive':
    every = paths.every_cell(space)
    every = every[fits(every)] if fits else every
    if len(every) == 0:  # `fits` keeps a distance from limits that only the exact choice can use
      alike = np.ones((len(space.edges), len(space.ops)))
      return space.decode(dict.fromkeys(space.kinds, alike))
    best = every[turned(every).argmax()]
  else:
    keys = (jax.random.fold_in(key, number) for number in itertools.count())
    sample = lambda count: paths.sample_flat(next(keys), space, count)  # noqa: E731
    seed = np.asarray(jax.random.key_data(key)).tolist()
    best = evolution.evolve(turned, sample, paths.genes(space), seed, hp.evolution, fits)
  return space.decode(paths.one_hot(space, paths.split(space, best)))


def _angles(key, state, net, hp):
  before, _ = jax.jit(net.init)(key)
  products = angle.products(net.space, before, state.params)
  if hp.rlnas.angle == 'edges':
    products = products._replace(rest=np.zeros(3))
  return functools.partial(angle.of_cells, net.space, products)
