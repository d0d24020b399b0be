"""Which examples of a source train the supernet's weights, and which its architecture."""

import math

import numpy as np


def split_halves(size: int, portion: float) -> tuple[np.ndarray, np.ndarray]:
  """Indices (weights half, architecture half): the first floor(portion * size), and the rest.

  As DARTS splits: by position, without shuffling. Raises ValueError: one half would be empty.
  """
  count = math.floor(portion * size)
  _check(f'search.train_portion = {portion}', size, count, size - count)
  return np.arange(count), np.arange(count, size)


def draw_halves(
  size: int, portion: float, subset: float, seed: int, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
  """Indices (weights half, architecture half) of a random subset, in ascending order.

  Each class of n examples gives floor(subset * portion * n) to the weights and floor(subset *
  (1 - portion) * n) to the architecture: PC-DARTS searches on 10 % and 2.5 % of each class of
  ImageNet, which is subset 0.125 and portion 0.8.
  labels: [size]; None or multi-hot [size, K]: all examples are one class
  Raises ValueError: one half would be empty.
  """
  if labels is None or labels.ndim > 1:
    labels = np.zeros(size, int)
  generator, halves = np.random.default_rng(seed), ([], [])
  for label in np.unique(labels):
    members = generator.permutation(np.flatnonzero(labels == label))
    # Rounding must not take the hundredth of 100 examples at 0.8 * 0.125 * 1000.
    weights, arch = (
      math.floor(subset * part * len(members) + 1e-6) for part in (portion, 1 - portion)
    )
    halves[0].append(members[:weights])
    halves[1].append(members[weights : weights + arch])
  weights, arch = (np.sort(np.concatenate(half)) for half in halves)
  keys = f'search.subset = {subset} at search.train_portion = {portion}'
  _check(keys, size, len(weights), len(arch))
  return weights, arch


def _check(keys, size, weights, arch):
  if weights > 0 and arch > 0:
    return
  raise ValueError(
    f'{keys} leaves {weights} of {size} training images for the weights and {arch} for the '
    'architecture; allowed: between 0 and 1, at least one image each'
  )
