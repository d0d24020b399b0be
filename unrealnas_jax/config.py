"""What a config may hold, checked before anything runs, and the workdir that a config claims."""

import difflib
import json
import math
import os
from collections.abc import Callable
from typing import Any, NamedTuple

from etils import epath

from unrealnas_jax import genotype, metrics

LISTED = 20  # problems or differences that one message lists


class Rule(NamedTuple):
  """What one key may hold.

  kind: the type of the value. allowed: how a message says it. holds: whether a value is allowed.
  """

  kind: type
  allowed: str
  holds: Callable[[Any], bool] = lambda value: True


def _whole(least, most=None):
  if most is None:
    return Rule(int, f'a whole number of at least {least}', lambda n: n >= least)
  return Rule(int, f'a whole number from {least} to {most}', lambda n: least <= n <= most)


def _one_of(names):
  return Rule(str, ', '.join(names), lambda name: name in names)


_POSITIVE = Rule(float, 'a number above 0', lambda x: x > 0)
_NOT_NEGATIVE = Rule(float, 'a number of at least 0', lambda x: x >= 0)
_BELOW_ONE = Rule(float, 'a number from 0 to below 1', lambda x: 0 <= x < 1)
_FRACTION = Rule(float, 'a number above 0 and below 1', lambda x: 0 < x < 1)
_SWITCH = Rule(bool, 'True or False')
_BETAS = Rule(
  tuple,
  'two numbers from 0 to below 1, such as (0.5, 0.999)',
  lambda pair: len(pair) == 2 and all(_is(float, x) and 0 <= x < 1 for x in pair),
)
_GENOTYPE = "'' to search, a published name, a genotype.json, or the workdir of a search"
_PATH = "'digits', a file 'x.npz', or 'tfds:NAME'"

# What a name may be is filled in by `_registries`.
RULES = {
  'seed': _whole(0, 2**31 - 1),
  'dtype': _one_of(('float32', 'bfloat16')),
  'scale': _one_of(('laptop', 'paper')),
  'genotype': Rule(str, f'{_GENOTYPE}; give it by --config.genotype=...'),
  'data.path': Rule(str, _PATH),
  'data.tfds_dir': Rule(str, "a folder, or '' for the default of TFDS"),
  'data.size': _whole(0),
  'source.name': Rule(str, 'the name of a source'),
  'source.examples': _whole(2),
  'source.size': _whole(1),
  'source.channels': _whole(1),
  'source.classes': _whole(2),
  'method.name': Rule(str, 'the name of a method'),
  'method.arch_lr': _NOT_NEGATIVE,
  'method.arch_betas': _BETAS,
  'method.arch_weight_decay': _NOT_NEGATIVE,
  'search.space': Rule(str, 'the name of a search space'),
  'search.channels': _whole(1),
  'search.cells': _whole(1),
  'search.batch': _whole(1),
  'search.epochs': _whole(1),
  'search.train_portion': _FRACTION,
  'search.lr': _POSITIVE,
  'search.lr_end': _NOT_NEGATIVE,
  'search.momentum': _BELOW_ONE,
  'search.weight_decay': _NOT_NEGATIVE,
  'search.clip': _POSITIVE,
  'search.augment.pad': _whole(0),
  'search.augment.flip': _SWITCH,
  'search.augment.cutout': _whole(0),
  'search.steps_per_call': _whole(1),
  'retrain.channels': _whole(1),
  'retrain.cells': _whole(1),
  'retrain.batch': _whole(1),
  'retrain.epochs': _whole(0),
  'retrain.stem': Rule(str, 'the name of a stem'),
  'retrain.lr': _POSITIVE,
  'retrain.lr_end': _NOT_NEGATIVE,
  'retrain.momentum': _BELOW_ONE,
  'retrain.weight_decay': _NOT_NEGATIVE,
  'retrain.clip': _POSITIVE,
  'retrain.auxiliary': _NOT_NEGATIVE,
  'retrain.drop_path': _BELOW_ONE,
  'retrain.augment.pad': _whole(0),
  'retrain.augment.flip': _SWITCH,
  'retrain.augment.cutout': _whole(0),
  'checkpoint.every': _whole(0),
  'checkpoint.keep': _whole(1),
  'log_every': _whole(1),
}


def validate(config, devices):
  """Checks every key alone, then what keys must be together; nothing large is read.

  devices: how many of them share a batch, over all processes.
  Raises ValueError listing each problem as key, value and what is allowed.
  """
  rules = {**RULES, **_registries()}
  values = _flatten(config.to_dict())
  problems = [f'{key}: {unknown(key)}' for key in values.keys() - rules.keys()]
  problems += [f'{key}: missing; allowed: {rules[key].allowed}' for key in rules.keys() - values]
  problems += [
    f'{key} = {value!r}; allowed: {rules[key].allowed}'
    for key, value in values.items()
    if key in rules and not (_is(rules[key].kind, value) and rules[key].holds(value))
  ]
  if not problems:
    problems = [problem for check in CHECKS for problem in check(config, devices)]
  if problems:
    raise ValueError('\n'.join(sorted(problems)[:LISTED]))


def unknown(key):
  """What to say of a key that no config has: 'no such key', and the nearest one."""
  near = difflib.get_close_matches(key, RULES, n=1, cutoff=0.5)
  near = near or [known for known in RULES if known.split('.')[-1] == key.split('.')[-1]]
  return f'no such key; the nearest is {near[0]}' if near else 'no such key; see configs/default.py'


def load_genotype(name):
  """The genotype of config.genotype: a published name, a file, or the workdir of a search.

  Raises ValueError if it is none of them or the file is at fault.
  """
  if name not in genotype.PUBLISHED and os.path.isdir(name):
    path = os.path.join(name, 'genotype.json')
    if not os.path.isfile(path):
      raise ValueError(f'genotype={name!r} is a folder without genotype.json; allowed: {_GENOTYPE}')
    return genotype.load(path)
  return genotype.load(name)


def to_json(config):
  """The whole config as JSON text with sorted keys."""
  return json.dumps(config.to_dict(), indent=2, sort_keys=True)


def claim_workdir(workdir, config):
  """Makes the workdir this run's by writing config.json, or finds it claimed by the same config.

  Nothing that is there is changed. Raises ValueError: it cannot be written, holds other things, or
  holds the run of another config (listing the keys that differ).
  """
  folder = epath.Path(workdir)
  path = folder / 'config.json'
  try:
    if path.exists():
      _compare(workdir, json.loads(path.read_text()), json.loads(to_json(config)))
      return
    # A run killed just here may have left the file that was to become config.json.
    if folder.exists() and any(p != metrics.unfinished(path) for p in folder.iterdir()):
      raise ValueError(f'--workdir={workdir} holds files but no config.json; choose another')
    folder.mkdir(parents=True, exist_ok=True)
    metrics.write_json(path, json.loads(to_json(config)))
  except json.JSONDecodeError as error:
    raise ValueError(f'{path} is not JSON ({error}); choose another --workdir') from error
  except OSError as error:
    raise ValueError(
      f'--workdir={workdir} cannot be used ({error.strerror or error}); allowed: a folder that can '
      'be written'
    ) from error


def _registries():
  """Rules of the keys that name an entry of a dictionary of functions."""
  from unrealnas_jax.data import SOURCES
  from unrealnas_jax.methods import METHODS
  from unrealnas_jax.network import STEMS
  from unrealnas_jax.spaces import SPACES

  return {
    'source.name': _one_of(SOURCES),
    'method.name': _one_of(METHODS),
    'search.space': _one_of(SPACES),
    'retrain.stem': _one_of(STEMS),
  }


def _is(kind, value):
  """Whether a value has the type a rule asks for: 1 is a float, True is no number."""
  if kind is float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)
  return type(value) is kind


def _check_work(config, devices):
  if not config.genotype:
    return
  try:
    load_genotype(config.genotype)
  except ValueError as error:
    yield str(error)
  if config.retrain.epochs == 0:
    yield (
      f'retrain.epochs = 0; allowed: at least 1 with genotype = {config.genotype!r}, '
      'or there is nothing to do'
    )


def _check_data(config, devices):
  from unrealnas_jax.data import IMAGELESS
  from unrealnas_jax.data.datasets import kind_of

  searched = not config.genotype and config.source.name not in IMAGELESS
  if not searched and config.retrain.epochs == 0:
    return
  try:
    kind = kind_of(config.data.path)
  except ValueError as error:
    yield str(error)
    return
  if kind == 'npz' and not os.path.isfile(os.path.expanduser(config.data.path)):
    yield f'data.path = {config.data.path!r}; no such file; allowed: {_PATH}'


def _check_batches(config, devices):
  from unrealnas_jax.data import IMAGELESS

  for name in _phases(config):
    batch = config[name].batch
    if batch % devices:
      yield f'{name}.batch = {batch}; allowed: a multiple of the number of devices, {devices}'
  if 'search' in _phases(config) and config.source.name in IMAGELESS:
    examples, portion = config.source.examples, config.search.train_portion
    weights = math.floor(portion * examples)
    most = min(weights, examples - weights)
    if config.search.batch > most:
      yield (
        f'search.batch = {config.search.batch}; allowed: at most {most}, the smaller part of '
        f'source.examples = {examples} split at search.train_portion = {portion}'
      )


def _check_learning_rates(config, devices):
  for name in _phases(config):
    lr, lr_end = config[name].lr, config[name].lr_end
    if lr_end > lr:
      yield f'{name}.lr_end = {lr_end}; allowed: at most {name}.lr = {lr}'


def _check_sizes(config, devices):
  from unrealnas_jax.data import IMAGELESS

  for name in _phases(config):
    made = name == 'search' and config.source.name in IMAGELESS
    key = 'source.size' if made else 'data.size'
    size = config.source.size if made else config.data.size
    if not size:  # as stored, so not known here
      continue
    for change in ('pad', 'cutout'):
      pixels = config[name].augment[change]
      if pixels >= size:
        yield f'{name}.augment.{change} = {pixels}; allowed: less than {key} = {size} pixels'


def _check_network(config, devices):
  retrain, size = config.retrain, config.data.size
  if 'retrain' not in _phases(config):
    return
  imagenet = retrain.stem == 'imagenet'
  if imagenet and retrain.channels < 2:
    yield f'retrain.channels = {retrain.channels}; allowed: at least 2 for the stem imagenet'
  # Both reductions halve the image, and the stem of ImageNet three times before them.
  halvings = 5 if imagenet else 2
  if retrain.auxiliary and 0 < size <= 2**halvings:
    yield (
      f'retrain.auxiliary = {retrain.auxiliary}; allowed: 0 with data.size = {size}, the auxiliary '
      f'head needs more than {2**halvings} pixels'
    )


def _phases(config):
  """Which of the config's two trainings will run."""
  search = [] if config.genotype else ['search']
  return search + (['retrain'] if config.retrain.epochs else [])


# What keys must be together: (config, devices) -> problems.
CHECKS = (
  _check_work,
  _check_data,
  _check_batches,
  _check_learning_rates,
  _check_sizes,
  _check_network,
)


def _flatten(tree, prefix=''):
  """A nested dict as {'search.augment.pad': 4}."""
  flat = {}
  for name, value in tree.items():
    if isinstance(value, dict):
      flat |= _flatten(value, f'{prefix}{name}.')
    else:
      flat[prefix + name] = value
  return flat


def _compare(workdir, old, new):
  """Raises ValueError listing the keys in which two configs differ."""
  if not isinstance(old, dict):
    raise ValueError(f'{workdir}/config.json holds no config; choose another --workdir')
  old, new = _flatten(old), _flatten(new)
  differing = [
    f'  {key}: {old.get(key, "(missing)")!r} there, {new.get(key, "(missing)")!r} now'
    for key in sorted(old.keys() | new.keys())
    if key not in old or key not in new or old[key] != new[key]
  ]
  if differing:
    lines = '\n'.join(differing[:LISTED])
    raise ValueError(
      f'--workdir={workdir} holds the run of another config:\n{lines}\n'
      'Choose another --workdir, or give the same values to go on with that run.'
    )
