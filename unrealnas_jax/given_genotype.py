"""The genotypes that a config names: published ones, files, workdirs of earlier searches."""

import json
import os

from etils import epath
from ml_collections import ConfigDict

from unrealnas_jax import genotype, growing
from unrealnas_jax.nasbench201 import Architecture
from unrealnas_jax.rules import GENOTYPE, check

RANDOM = 'random'  # a random cell, among config.analysis.genotypes


def load_genotype(name):
  """The genotype of config.genotype: a published name, a file, or the workdir of a search.

  Of a workdir it is that of the newest checkpoint of the search.
  Raises ValueError if it is none of them, or the file or the checkpoint is at fault.
  """
  if not _is_folder(name):
    return genotype.load(name)
  from unrealnas_jax import earlier_search  # imports every layer, which is late enough here

  return earlier_search.genotype_of(name, _config_of(name))


def look_up(name):
  """Raises ValueError if there is no genotype of this name.

  Of a folder only that it is a workdir: its checkpoint is read when the rest is known to do.
  """
  _config_of(name) if _is_folder(name) else genotype.load(name)


def is_nasbench201(config, name):
  """Whether a run's genotype of a name is a NAS-Bench-201 cell; ValueError: it is at fault."""
  if name in ('', RANDOM):
    return config.search.space == 'nasbench201'
  if _is_folder(name):
    return _config_of(name).search.space == 'nasbench201'
  return isinstance(genotype.load(name), Architecture)


def _is_folder(name):
  if name in genotype.PUBLISHED:
    return False
  return epath.Path(name).is_dir() if growing.is_remote(name) else os.path.isdir(name)


def _config_of(workdir):
  """The config of an earlier search; ValueError if the folder is not the workdir of one."""
  folder = epath.Path(workdir)
  problem = f'genotype={workdir!r} is a folder that no search has left'
  if not any((folder / 'checkpoints').glob('search*/[0-9]*')):
    raise ValueError(f'{problem} (it has no checkpoints/search/STEP); allowed: {GENOTYPE}')
  try:
    values = json.loads((folder / 'config.json').read_text())
    for section, key in ((values['method'], 'arch_betas'), (values, 'stages'), (values, 'seeds')):
      section[key] = tuple(section[key])  # JSON has no tuples
    config = ConfigDict(values)
    wrong = check(config)
  except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
    wrong = [error]
  if wrong:
    raise ValueError(f'{problem} (config.json: {wrong[0]}); allowed: {GENOTYPE}')
  return config
