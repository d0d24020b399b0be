"""Noise images with random labels, made inside the compiled step.

Whether images and labels are kept decides what can be learned: kept labels of kept images can be
known by heart, and nothing at all can be learned where either is drawn anew each time.
"""

import math

import jax
import numpy as np

from unrealnas_jax.data.source import (
  Source,
  check_counts,
  kept_keys,
  made_shape,
  random_label,
  read_indices,
  view_keys,
  with_views,
)

# Noise of mean 0 and variance 1: (key, shape) -> values. JAX's default generator (threefry) is the
# one to use: under vmap 'rbg' draws other numbers than alone, so an example would depend on its
# batch.
DISTRIBUTIONS = {
  'gaussian': jax.random.normal,
  'uniform': lambda key, shape: jax.random.uniform(
    key, shape, minval=-math.sqrt(3), maxval=math.sqrt(3)
  ),
}


def make(config, dataset=None) -> Source:
  """source.examples images, each always the same with the same label; `dataset` is not used.

  Values are of source.distribution, with mean source.mean and standard deviation source.std. Real
  images are standardised, so 0 and 1 match the channels of any data set.
  Raises ValueError: source.examples, size, channels or classes below 1.
  """
  del dataset
  return _make(config, 'noise', kept_keys, kept_keys)


def make_fresh(config, dataset=None) -> Source:
  """Never the same image twice; else as `make`. Labels are drawn anew too."""
  del dataset
  return _make(config, 'fresh_noise', view_keys, view_keys)


def make_fresh_labels(config, dataset=None) -> Source:
  """The images of `make`, each with another random label each time it is read in training."""
  del dataset
  return _make(config, 'fresh_labels', kept_keys, view_keys)


def make_matched(config, dataset) -> Source:
  """Noise in the place of each real training image, with the labels that random_labels gives them.

  Number, size and the pixels that crops are padded by are those of the real images, and so are mean
  and standard deviation of each channel.
  Raises ValueError: source.classes below 1.
  """
  check_counts(config, 'classes')
  classes, pad_value = config.source.classes, -dataset.mean / dataset.std
  fn = _draw(config, dataset.shape, (0.0, 1.0), kept_keys, kept_keys)
  source = Source(
    *('matched_noise', dataset.train.size, dataset.shape, classes, read_indices, fn, pad_value)
  )
  return source._replace(colours=(dataset.mean, dataset.std))


def _make(config, name, image_keys, label_keys):
  shape, source = made_shape(config), config.source
  fn = _draw(config, shape, (source.mean, source.std), image_keys, label_keys)
  read = read_indices if label_keys is kept_keys else with_views(read_indices)
  pad_value = np.zeros(shape[-1], np.float32)
  return Source(name, source.examples, shape, source.classes, read, fn, pad_value)


def _draw(config, shape, mean_and_std, image_keys, label_keys):
  """Source.fn; image_keys, label_keys: (key, batch) -> [B], of which images and labels are made."""
  source, (mean, std) = config.source, mean_and_std
  distribution = DISTRIBUTIONS[source.distribution]

  # Drawn flat, the same numbers take a third of the time to make and to compile: 1.2 ms for 64
  # images of 32x32x3 on 2 CPU cores, against 3.5 in the images' shape and 4 to 10 by 'rbg'.
  def image(key):
    flat = distribution(jax.random.fold_in(key, 0), (math.prod(shape),))
    return mean + std * flat.reshape(shape)

  def label(key):
    return random_label(jax.random.fold_in(key, 1), source.classes, source.label_rate)

  def fn(key, batch):
    return jax.vmap(image)(image_keys(key, batch)), jax.vmap(label)(label_keys(key, batch))

  return fn
