"""A config file, and a search space of its own, so small that a whole run takes seconds.

  python -m unrealnas_jax.main --config=tests/quick_run.py --config.data.path=x.npz

Two nodes, and one operation of each way to be computed: a pool, the identity, a convolution. The
pool is not that of the maximum: where two values are equal, which of them gets the gradient is a
matter of rounding, and then runs that differ in rounding alone soon differ in all.
"""

import numpy as np

from configs import default
from unrealnas_jax.spaces import SPACES, darts

OPS = ('none', 'avg_pool_3x3', 'skip_connect', 'dil_conv_3x3')


def kind_of(cell, cells):
  """Every second cell reduces."""
  return 'reduce' if cell % 2 else 'normal'


SPACES['quick'] = darts.make(OPS, nodes=2)._replace(kind_of=kind_of)


def get_config(scale='laptop'):
  """Search: 2 epochs of 4 steps. Retraining: 2 epochs of 3 steps on `images`."""
  config = default.get_config(scale)
  config.data.path = 'x.npz'
  config.data.size = 0
  config.source.examples, config.source.size, config.source.classes = 64, 8, 4
  config.method.arch_lr = 0.05  # so that few steps choose a cell, and not the random start
  search, retrain = config.search, config.retrain
  search.space, search.channels, search.cells = 'quick', 2, 2
  search.batch, search.epochs, search.augment.pad = 8, 2, 1
  retrain.channels, retrain.cells = 2, 3
  retrain.batch, retrain.epochs, retrain.augment.pad = 16, 2, 1
  config.checkpoint.every = 3  # in the middle of an epoch of the search
  config.log_every = 1
  return config


def images(seed=0, train=48, test=20):
  """Arrays for an npz of the four classes that `get_config` has: a bright quarter, and noise."""
  rng = np.random.default_rng(seed)
  arrays = {}
  for split, size in (('train', train), ('test', test)):
    labels = np.arange(size) % 4
    x = rng.integers(0, 100, (size, 8, 8, 1), np.uint8)
    for image, label in zip(x, labels, strict=True):
      top, left = 4 * (label // 2), 4 * (label % 2)
      image[top : top + 4, left : left + 4] += 100
    arrays |= {f'x_{split}': x, f'y_{split}': labels}
  return arrays
