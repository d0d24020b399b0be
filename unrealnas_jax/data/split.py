"""What a data set is to the rest of the package: two splits read by index, and their statistics."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

MISSING = -1  # in a multi-hot label: not known whether it is there


class Split(NamedTuple):
  """Images that can be read in any order.

  size: number of images
  read: indices int [N] -> {'image': uint8 0..255 or float32 0..1 [N, H, W, C], 'label': int32}
    label: [N] classes, or multi-hot [N, K]: 1 = there, 0 = not there, MISSING
  """

  size: int
  read: Callable[[np.ndarray], dict[str, np.ndarray]]


class Labels(NamedTuple):
  """What the images of a data set are labelled with.

  classes: number of classes, or of the labels that an image can have
  names:   of the labels where an image can have several; () where each image has one class
  scored:  those of the names over whose AUC the mean is taken
  """

  classes: int
  names: tuple[str, ...] = ()
  scored: tuple[str, ...] = ()


class Dataset(NamedTuple):
  """A data set of real images.

  classes, names, scored: as in Labels
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
  names: tuple[str, ...] = ()
  scored: tuple[str, ...] = ()


def in_memory(images: np.ndarray, labels: np.ndarray) -> Split:
  """A split of arrays: images [N, H, W, C], labels int [N] or [N, K]."""
  labels = labels.astype(np.int32)

  def read(indices):
    return {'image': images[indices], 'label': labels[indices]}

  return Split(len(images), read)
