"""Real images with their own labels."""

import jax
import jax.numpy as jnp
import numpy as np

from unrealnas_jax.data.source import Source
from unrealnas_jax.data.split import Dataset


def make(config, dataset: Dataset, split: str = 'train') -> Source:
  """The images of dataset's split 'train' (all that search may see) or 'test'.

  An example's index is its row in the split; the same source serves retraining and evaluation.
  """
  del config
  rows = {'train': dataset.train, 'test': dataset.test}[split]

  def read(indices):
    return {'index': np.asarray(indices, np.int32), **rows.read(indices)}

  def fn(key, batch):
    del key
    return standardise(batch['image'], dataset.mean, dataset.std), batch['label']

  pad_value = -dataset.mean / dataset.std
  return Source('real', rows.size, dataset.shape, dataset.classes, read, fn, pad_value)


def standardise(images: jax.Array, mean: np.ndarray, std: np.ndarray) -> jax.Array:
  """(images scaled to 0..1 - mean) / std; images: [B, H, W, C] uint8 or float32 0..1; float32."""
  scaled = images.astype(jnp.float32)
  if images.dtype == jnp.uint8:
    scaled /= 255
  return (scaled - mean.reshape(1, 1, 1, -1)) / std.reshape(1, 1, 1, -1)
