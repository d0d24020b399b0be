"""Real images with one another's labels: every class, and every set of labels, as often as before.

Source: Zhang et al. 2017, "Understanding Deep Learning Requires Rethinking Generalization".
"""

import functools

import numpy as np

from unrealnas_jax.data import real
from unrealnas_jax.data.source import Source
from unrealnas_jax.data.split import Dataset

_STREAM = 0x5481  # parts this draw from others by the same seed


def make(config, dataset: Dataset) -> Source:
  """The training images of dataset, all their labels dealt out anew by config.seed.

  All labels are read before the first batch; where images are read from disk, so are their labels.
  """
  source = real.make(config, dataset)

  @functools.cache
  def shuffled():
    return np.random.default_rng((config.seed, _STREAM)).permutation(dataset.train.labels())

  def read(indices, numbers=None):
    return {**source.read(indices, numbers), 'label': shuffled()[indices]}

  return source._replace(name='shuffled_labels', read=read)
