"""Data sources of a search, chosen by config.source.name.

To add one: write make(config, dataset) -> Source in a file of its own (a pure `fn`, everything
random from fold_in(key, index)) and enter it in SOURCES; the contract test then covers it.
"""

from unrealnas_jax.data import generated, noise, random_labels, real
from unrealnas_jax.data.source import Source
from unrealnas_jax.data.split import Dataset

SOURCES = {
  'noise': noise.make,
  'random_labels': random_labels.make,
  'real': real.make,
  'generated': generated.make,
}
IMAGELESS = ('noise', 'generated')  # the sources that need no real image


def make_source(config, dataset: Dataset | None = None) -> Source:
  """The source config.source.name; noise needs no dataset. ValueError for an unknown name."""
  name = config.source.name
  if name not in SOURCES:
    raise ValueError(f'source.name = {name!r}; allowed: {", ".join(sorted(SOURCES))}')
  return SOURCES[name](config, dataset)
