"""Real images, each with one random label that never changes (as in Megvii's RLNAS)."""

import jax

from unrealnas_jax.data import real
from unrealnas_jax.data.source import Source, check_counts, example_keys, random_label
from unrealnas_jax.data.split import Dataset


def make(config, dataset: Dataset) -> Source:
  """The training images of dataset with random labels (source.random_label).

  Raises ValueError: source.classes below 1.
  """
  check_counts(config, 'classes')
  classes = config.source.classes
  source = real.make(config, dataset)

  def read(indices, numbers=None):
    batch = source.read(indices, numbers)
    del batch['label']  # the true label is never shown to the search
    return batch

  def fn(key, batch):
    images = real.images(dataset, batch)

    def label(index):
      _, label_key = example_keys(key, index)
      return random_label(label_key, classes, config.source.label_rate)

    return images, jax.vmap(label)(batch['index'])

  return source._replace(name='random_labels', classes=classes, read=read, fn=fn)
