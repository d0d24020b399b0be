"""Handwritten digits bundled with scikit-learn: 1,797 grey images of 8x8, the embedded default."""

import numpy as np

from unrealnas_jax.data.split import Labels, Split, in_memory


def read(data_config) -> tuple[str, Split, Split, Labels]:
  """(name, train, test, labels) of the digits, 0..16 scaled to 0..255 and resized to data.size.

  Every 5th image of each class, the first included, is a test image: 364 test and 1,433 training
  images, with the classes in equal proportion. Both keep the order of the file.
  """
  # Imported here because it takes a second that only users of the digits should pay.
  from sklearn.datasets import load_digits

  digits = load_digits()
  images = np.round(digits.images * (255 / 16)).astype(np.uint8)[..., None]
  labels = digits.target
  test = held_out(labels)
  return (
    'digits',
    in_memory(images[~test], labels[~test], data_config),
    in_memory(images[test], labels[test], data_config),
    Labels(10),
  )


def held_out(labels: np.ndarray) -> np.ndarray:
  """bool [N]: which rows are test images, the 1st, 6th, 11th, ... of each class in labels [N]."""
  test = np.zeros(len(labels), bool)
  for label in np.unique(labels):
    test[np.flatnonzero(labels == label)[::5]] = True
  return test
