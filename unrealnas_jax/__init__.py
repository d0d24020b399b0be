"""Differentiable architecture search on unreal data (noise, random labels) in JAX.

From Python, each imported when it is first used; the import of the package starts no device:

  run            (config, workdir) -> result: what `python -m unrealnas_jax.main` does
  search         search.run(config, dataset, workdir) -> (genotype, facts)
  retrain        retrain.run(config, genotype, dataset, workdir) -> facts
  datasets       datasets.load(config.data) -> the real images that both take
  genotypes      published genotypes, and genotypes as text, JSON and files
  networks       networks.make(genotype, channels, cells, classes) -> the Flax module of a genotype
  torch_weights  weights of official PyTorch checkpoints for these modules
  draw           (genotype) -> matplotlib figure of its cells

A config is what the files in configs/ make: `noise.get_config('laptop')`.

>>> import unrealnas_jax
>>> found = unrealnas_jax.genotypes.load('DARTS_V2')
>>> found.normal[0]
('sep_conv_3x3', 0)
"""

import importlib

__version__ = '0.1.0'

# name -> where it is: (module of the package, attribute of the module or '' for the module itself)
_LAZY = {
  'run': ('main', 'run'),
  'search': ('search', ''),
  'retrain': ('retrain', ''),
  'datasets': ('data.datasets', ''),
  'genotypes': ('genotype', ''),
  'networks': ('network', ''),
  'torch_weights': ('torch_weights', ''),
  'draw': ('drawing', 'draw'),
}


def __getattr__(name):
  if name not in _LAZY:
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
  module, attribute = _LAZY[name]
  found = importlib.import_module(f'{__name__}.{module}')
  return getattr(found, attribute) if attribute else found


def __dir__():
  return [*globals(), *_LAZY]
