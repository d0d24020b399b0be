"""Real images, a part of them with a random label in the place of their own.

Source: Zhang et al. 2017, "Understanding Deep Learning Requires Rethinking Generalization".
"""

import jax
import jax.numpy as jnp

from unrealnas_jax.data import real
from unrealnas_jax.data.source import Source, example_keys, random_label
from unrealnas_jax.data.split import Dataset


def make(config, dataset: Dataset) -> Source:
  """The training images of dataset, each with probability source.label_noise labelled at random.

  A random label is that of random_labels, which may happen to be the true one. An image whose label
  is random stays so at any higher source.label_noise; at 1 all are.
  Raises ValueError: images have several labels, for which source.label_rate is 0.
  """
  ratio, rate = config.source.label_noise, config.source.label_rate
  if dataset.names and not rate:
    raise ValueError(
      f'source.label_rate = {rate}; allowed: above 0 with images that have several labels'
    )
  source = real.make(config, dataset)

  def fn(key, batch):
    images, labels = source.fn(key, batch)

    def label(index, own):
      _, label_key = example_keys(key, index)
      drawn = random_label(label_key, dataset.classes, rate if dataset.names else 0)
      return jnp.where(jax.random.uniform(jax.random.fold_in(label_key, 0)) < ratio, drawn, own)

    return images, jax.vmap(label)(batch['index'], labels)

  return source._replace(name='noisy_labels', fn=fn)
