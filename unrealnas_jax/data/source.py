"""What a source of images is to search: indices on the host, images and labels on the device."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Source(NamedTuple):
  """Images and labels as a pure function of a key and the batch that came from the host.

  examples:  number of different images; of fresh ones, how many make an epoch
  shape:     (H, W, C) of the images that a network sees, after the task; of a tile, of tiles
  classes:   number of classes, or of labels where an image can have several
  read:      host: (indices int [N], numbers uint32 [N] or None) -> numpy arrays [N, ...], with
             'index' int32 [N] among them; numbers: what random views of stored images are drawn
             from, another one each time in training, None where an image must be the same each
             time; a source of made images that are kept has no use for them
  fn:        device, pure: (key, batch of read) -> (images [B, H, W, C] float32, standardised,
             labels int32, [B] classes or multi-hot [B, classes]); everything random comes from
             fold_in(key, index), so an example is the same on any number of devices, in any batch
             and epoch, and after a resume; where 'view' is in the batch, from fold_in(key, index,
             view): another one each time in training, which the step alone decides
  pad_value: [C] float32, what a zero pixel is after standardising (for augment)
  task:      device, pure: (key, batch, images) -> (images, labels), what a pretext task makes of
             images after augmentation; None: they stay, and so do their labels
  colours:   (mean, std), each [] or [C], that pixels of 0..1 were standardised by
  """

  name: str
  examples: int
  shape: tuple[int, int, int]
  classes: int
  read: Callable[..., dict[str, np.ndarray]]
  fn: Callable[[jax.Array, dict], tuple[jax.Array, jax.Array]]
  pad_value: np.ndarray
  task: Callable | None = None
  colours: tuple = (0.5, 0.25)  # of no image: most values of noise then lie within 0..1


def show(source: Source, key: jax.Array, batch: dict, change=None) -> tuple[jax.Array, jax.Array]:
  """Images and labels as a network sees them; change: images -> images, such as `augment`."""
  images, labels = source.fn(key, batch)
  images = change(images) if change else images
  return source.task(key, batch, images) if source.task else (images, labels)


def made_shape(config) -> tuple[int, int, int]:
  """(H, W, C) of the images of a source that makes its own.

  Raises ValueError: source.examples, size, channels or classes below 1.
  """
  check_counts(config, 'examples', 'size', 'channels', 'classes')
  return config.source.size, config.source.size, config.source.channels


def check_counts(config, *keys):
  """Raises ValueError: a key of config.source is below 1."""
  for key in keys:
    if config.source[key] < 1:
      raise ValueError(f'source.{key} = {config.source[key]}; allowed: whole numbers from 1')


def read_indices(indices: np.ndarray, numbers: np.ndarray | None = None) -> dict:
  """Source.read of a source that makes an image of its index alone."""
  del numbers
  return {'index': np.asarray(indices, np.int32)}


def with_views(read: Callable) -> Callable:
  """A Source.read whose batches hold the numbers of random views, 'view' uint32 [N]."""

  def read_views(indices, numbers=None):
    batch = read(indices, numbers)
    return batch if numbers is None else {**batch, 'view': numbers}

  return read_views


def kept_keys(key: jax.Array, batch: dict) -> jax.Array:
  """Keys [B], one an example."""
  return jax.vmap(lambda index: jax.random.fold_in(key, index))(batch['index'])


def view_keys(key: jax.Array, batch: dict) -> jax.Array:
  """Keys [B], one each time an example is read in training; elsewhere those of `kept_keys`."""
  keys = kept_keys(key, batch)
  return jax.vmap(jax.random.fold_in)(keys, batch['view']) if 'view' in batch else keys


def example_keys(key: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array]:
  """(image key, label key) of example `index`: different children of fold_in(key, index)."""
  key = jax.random.fold_in(key, index)
  return jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)


def random_label(label_key: jax.Array, classes: int, rate: float) -> jax.Array:
  """A random label of one example, as config.source.label_rate says.

  rate 0: one class [] int32, uniform over 0..classes - 1 (to within classes / 2^32)
  rate > 0: multi-hot [classes] int32, each label there with this probability by itself
  """
  if rate:
    return jax.random.bernoulli(label_key, rate, (classes,)).astype(jnp.int32)
  # Not randint, which hashes four times for the last trace of evenness and compiles for longer.
  return (jax.random.bits(label_key) % classes).astype(jnp.int32)
