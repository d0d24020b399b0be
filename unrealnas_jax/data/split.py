"""What a data set is to the rest of the package: two splits read by index, and their statistics."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Split(NamedTuple):
  """Images that can be read in any order.

  size: number of images
  read: indices int [N] -> {'image': uint8 0..255 or float32 0..1 [N, H, W, C], 'label': int32 [N]}
  """

  size: int
  read: Callable[[np.ndarray], dict[str, np.ndarray]]


class Dataset(NamedTuple):
  """A data set of real images.

  classes: number of classes, labels are 0..classes - 1
  shape:   (H, W, C) of every image
  mean:    [C] float32, mean of the training images scaled to 0..1
  std:     [C] float32, their standard deviation over all pixels; 1 for a constant channel
  """

  name: str
  train: Split
  test: Split
  classes: int
  shape: tuple[int, int, int]
  mean: np.ndarray
  std: np.ndarray


def in_memory(images: np.ndarray, labels: np.ndarray) -> Split:
  """A split of arrays: images [N, H, W, C], labels int [N]."""
  labels = labels.astype(np.int32)

  def read(indices):
    return {'image': images[indices], 'label': labels[indices]}

  return Split(len(images), read)
