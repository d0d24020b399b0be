"""What a data set is to the rest of the package: two splits read by index, and their statistics."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from unrealnas_jax.data import images as views

MISSING = -1  # in a multi-hot label: not known whether it is there


class Split(NamedTuple):
  """Images that can be read in any order.

  size:   number of images
  read:   (indices int [N], numbers int [N] or None) -> {'image': uint8 0..255 or float32 0..1
          [N, H, W, C], 'label': int32}; numbers: what the images' random views are drawn from, None
          for their central views; label: [N] classes, or multi-hot [N, K]: 1 = there, 0 = not
          there, MISSING
  labels: () -> all labels, in order, at the cost of reading the split where it is not in memory;
          what draws balanced subsets needs it
  """

  size: int
  read: Callable[..., dict[str, np.ndarray]]
  labels: Callable[[], np.ndarray] | None = None


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
  jitter:  config.data.jitter, of training images
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
  jitter: float = 0.0


def in_memory(images: np.ndarray, labels: np.ndarray, hp=None) -> Split:
  """A split of arrays: images [N, H, W, C], labels int [N] or [N, K].

  hp: config.data, by which images are cropped and resized; None: they stay as they are
  """
  labels = labels.astype(np.int32)
  central = views.central_views(images, hp) if hp else images

  def read(indices, numbers=None):
    if numbers is None or not hp or hp.random_crop == 1:
      return {'image': central[indices], 'label': labels[indices]}
    pairs = zip(indices, numbers, strict=True)
    seen = np.stack([views.random_view(images[index], hp, number) for index, number in pairs])
    return {'image': seen, 'label': labels[indices]}

  return Split(len(images), read, lambda: labels)
