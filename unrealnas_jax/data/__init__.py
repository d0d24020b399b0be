"""Data sources of a search, chosen by config.source.name.

To add one: write make(config, dataset) -> Source in a file of its own (a pure `fn`, everything
random from fold_in(key, index)) and enter it in SOURCES; the contract test then covers it.
"""

from unrealnas_jax.data import (
  generated,
  noise,
  noisy_labels,
  pretext,
  random_labels,
  real,
  shuffled_labels,
)
from unrealnas_jax.data.halves import draw_halves, split_halves
from unrealnas_jax.data.procedural import dead_leaves, fractals, gratings, perlin, spectrum
from unrealnas_jax.data.source import Source
from unrealnas_jax.data.split import Dataset

SOURCES = {
  'noise': noise.make,
  'fresh_noise': noise.make_fresh,
  'fresh_labels': noise.make_fresh_labels,
  'fractals': fractals.make,
  'dead_leaves': dead_leaves.make,
  'spectrum': spectrum.make,
  'gratings': gratings.make,
  'perlin': perlin.make,
  'matched_noise': noise.make_matched,
  'random_labels': random_labels.make,
  'noisy_labels': noisy_labels.make,
  'shuffled_labels': shuffled_labels.make,
  'real': real.make,
  'generated': generated.make,
}
# The sources that need no real image.
IMAGELESS = (
  *('noise', 'fresh_noise', 'fresh_labels'),
  *('fractals', 'dead_leaves', 'spectrum', 'gratings', 'perlin', 'generated'),
)


def make_source(config, dataset: Dataset | None = None) -> Source:
  """The source config.source.name with the task config.source.pretext; noise needs no dataset.

  Raises ValueError: an unknown name, or images that the task cannot be made of.
  """
  name = config.source.name
  if name not in SOURCES:
    raise ValueError(f'source.name = {name!r}; allowed: {", ".join(sorted(SOURCES))}')
  return pretext.add(config, SOURCES[name](config, dataset))


def make_halves(config, examples: int, dataset: Dataset | None = None):
  """Indices (weights half, architecture half) of a source's examples, as config.search says.

  Of a subset of real images both halves hold the classes as the whole does, by their true labels.
  Raises ValueError: one half would be empty.
  """
  hp = config.search
  if hp.subset == 1:
    return split_halves(examples, hp.train_portion)
  labels = None if config.source.name in IMAGELESS else dataset.train.labels()
  return draw_halves(examples, hp.train_portion, hp.subset, config.seed, labels)
