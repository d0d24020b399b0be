"""Real images: `load` reads what data.path names, by a dictionary of kinds."""

import os

import numpy as np

from unrealnas_jax.data import digits, folder, npz, tfds_files
from unrealnas_jax.data.split import Dataset, Split

# kind -> read(data_config) -> (name, train, test, labels: Labels)
KINDS = {
  'digits': digits.read,
  'npz': npz.read,
  'folder': folder.read,
  'tfds': tfds_files.read,
}

STATISTICS_PIXELS = 50_000 * 64 * 64  # all of CIFAR-10, and 4,081 images of 224x224


def load(data_config) -> Dataset:
  """Reads the data set of data.path ('digits', a file '*.npz', a folder, or 'tfds:NAME').

  data_config: the config's `data`.
  Raises ValueError: data.path of no known kind, a negative data.size, or what the kind reports.
  """
  if data_config.size < 0:
    raise ValueError(f'data.size = {data_config.size}; allowed: pixels > 0, or 0 = as stored')
  name, train, test, labels = KINDS[kind_of(data_config.path)](data_config)
  test.read(np.arange(1))  # a test split without labels should stop the run now, not at its end
  shape = train.read(np.arange(1))['image'].shape[1:]
  mean, std = statistics(train)
  return Dataset(
    *(name, train, test, labels.classes, shape, mean, std, labels.names, labels.scored),
    jitter=data_config.jitter,
  )


def kind_of(path: str) -> str:
  """The key of KINDS for a data.path; ValueError where there is none."""
  if path == 'digits':
    return 'digits'
  if path.startswith('tfds:') and len(path) > len('tfds:'):
    return 'tfds'
  if path.endswith('.npz'):
    return 'npz'
  if os.path.isdir(os.path.expanduser(path)):
    return 'folder'
  raise ValueError(
    f"data.path = {path!r}; allowed: 'digits', a file 'x.npz', a folder of images, or 'tfds:NAME'"
  )


def statistics(split: Split, limit: int = STATISTICS_PIXELS) -> tuple[np.ndarray, np.ndarray]:
  """(mean [C], std [C]) float32 of the images scaled to 0..1, over all pixels of each channel.

  Of a split with more than `limit` pixels as many evenly spaced images are used. For CIFAR-10 these
  are the constants of the official codes. A constant channel gets std 1, so that it can be divided.
  """
  height, width = split.read(np.arange(1))['image'].shape[1:3]
  most = max(limit // (height * width), 1)
  indices = np.arange(split.size)
  if split.size > most:
    indices = np.linspace(0, split.size - 1, most).astype(int)
  count, total, squares = 0, 0.0, 0.0
  for start in range(0, len(indices), 100):
    images = split.read(indices[start : start + 100])['image']
    sums = _sums(images)
    count += images.size // images.shape[-1]
    total += sums[0]
    squares += sums[1]
  mean = total / count
  # Rounding can leave a tiny variance of either sign in a constant channel.
  variance = squares / count - np.square(mean)
  std = np.where(variance > 1e-12, np.sqrt(np.maximum(variance, 0)), 1.0)
  return mean.astype(np.float32), std.astype(np.float32)


def _sums(images):
  """[2, C]: sums of the values of each channel, scaled to 0..1, and of their squares."""
  channels = np.moveaxis(images, -1, 0).reshape(images.shape[-1], -1)
  if images.dtype != np.uint8:
    return np.stack(
      [channels.sum(1, dtype=np.float64), np.square(channels, dtype=np.float64).sum(1)]
    )
  # Counting the 256 values is about three times quicker than turning all into floats.
  counts = np.stack([np.bincount(channel, minlength=256) for channel in channels])
  values = np.arange(256) / 255
  return np.stack([counts @ values, counts @ values**2])
