"""Real images with their own labels."""

import jax
import jax.numpy as jnp
import numpy as np

from unrealnas_jax.data.jitter import jitter
from unrealnas_jax.data.source import Source
from unrealnas_jax.data.split import Dataset


def make(config, dataset: Dataset, split: str = 'train') -> Source:
  """The images of dataset's split 'train' (all that search may see) or 'test'.

  An example's index is its row in the split; the same source serves retraining and evaluation.
  """
  del config
  rows = {'train': dataset.train, 'test': dataset.test}[split]

  def read(indices, numbers=None):
    batch = {'index': np.asarray(indices, np.int32), **rows.read(indices, numbers)}
    return batch if numbers is None or not dataset.jitter else {**batch, 'view': numbers}

  def fn(key, batch):
    del key
    return images(dataset, batch), batch['label']

  pad_value = -dataset.mean / dataset.std
  source = Source('real', rows.size, dataset.shape, dataset.classes, read, fn, pad_value)
  return source._replace(colours=(dataset.mean, dataset.std))


def images(dataset: Dataset, batch: dict) -> jax.Array:
  """The images of a batch as networks see them: [B, H, W, C] float32, standardised.

  Those of a random view, whose number is in the batch, have their colours changed by
  dataset.jitter.
  """
  if not dataset.jitter or 'view' not in batch:
    return standardise(batch['image'], dataset.mean, dataset.std)
  changed = jitter(batch['view'], scaled(batch['image']), dataset.jitter)
  return standardise(changed, dataset.mean, dataset.std)


def standardise(images: jax.Array, mean: np.ndarray, std: np.ndarray) -> jax.Array:
  """(images scaled to 0..1 - mean) / std; images: [B, H, W, C] uint8 or float32 0..1; float32."""
  return (scaled(images) - mean.reshape(1, 1, 1, -1)) / std.reshape(1, 1, 1, -1)


def scaled(images: jax.Array) -> jax.Array:
  """images uint8, or float32 0..1, as float32 0..1"""
  return images.astype(jnp.float32) / (255 if images.dtype == jnp.uint8 else 1)
