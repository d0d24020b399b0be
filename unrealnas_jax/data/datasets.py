"""Real images: `load` reads what data.path names, by a dictionary of kinds."""

import numpy as np

from unrealnas_jax.data import digits, npz, tfds_files
from unrealnas_jax.data.split import Dataset, Split

# kind -> read(data_config) -> (name, train, test, labels: Labels)
KINDS = {'digits': digits.read, 'npz': npz.read, 'tfds': tfds_files.read}

STATISTICS_IMAGES = 50_000


def load(data_config) -> Dataset:
  """Reads the data set of data.path ('digits', a file '*.npz', or 'tfds:NAME').

  data_config: the config's `data`: path, tfds_dir, size (pixels; 0 = images as stored).
  Raises ValueError: data.path of no known kind, a negative data.size, or what the kind reports.
  """
  if data_config.size < 0:
    raise ValueError(f'data.size = {data_config.size}; allowed: pixels > 0, or 0 = as stored')
  name, train, test, labels = KINDS[kind_of(data_config.path)](data_config)
  test.read(np.arange(1))  # a test split without labels should stop the run now, not at its end
  shape = train.read(np.arange(1))['image'].shape[1:]
  mean, std = statistics(train)
  return Dataset(name, train, test, labels.classes, shape, mean, std, labels.names, labels.scored)


def kind_of(path: str) -> str:
  """The key of KINDS for a data.path; ValueError where there is none."""
  if path == 'digits':
    return 'digits'
  if path.startswith('tfds:') and len(path) > len('tfds:'):
    return 'tfds'
  if path.endswith('.npz'):
    return 'npz'
  raise ValueError(f"data.path = {path!r}; allowed: 'digits', a file 'x.npz', or 'tfds:NAME'")


def statistics(split: Split, limit: int = STATISTICS_IMAGES) -> tuple[np.ndarray, np.ndarray]:
  """(mean [C], std [C]) float32 of the images scaled to 0..1, over all pixels of each channel.

  Of a split with more than `limit` images, `limit` evenly spaced ones are used. For CIFAR-10 these
  are the constants of the official codes. A constant channel gets std 1, so that it can be divided.
  """
  indices = np.arange(split.size)
  if split.size > limit:
    indices = np.linspace(0, split.size - 1, limit).astype(int)
  count, total, squares = 0, 0.0, 0.0
  for start in range(0, len(indices), 500):
    images = split.read(indices[start : start + 500])['image']
    scaled = images.reshape(-1, images.shape[-1]).astype(np.float64)
    if images.dtype == np.uint8:
      scaled /= 255
    count += len(scaled)
    total += scaled.sum(0)
    squares += np.square(scaled).sum(0)
  mean = total / count
  # Rounding can leave a tiny variance of either sign in a constant channel.
  variance = squares / count - np.square(mean)
  std = np.where(variance > 1e-12, np.sqrt(np.maximum(variance, 0)), 1.0)
  return mean.astype(np.float32), std.astype(np.float32)
