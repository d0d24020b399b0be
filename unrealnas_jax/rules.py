"""What every key of a config may hold, taken alone."""

import difflib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from unrealnas_jax import tabular


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
_PROBABILITY = Rule(float, 'a number from 0 to 1', lambda x: 0 <= x <= 1)
_FRACTION = Rule(float, 'a number above 0 and below 1', lambda x: 0 < x < 1)
_SWITCH = Rule(bool, 'True or False')
_BETAS = Rule(
  tuple,
  'two numbers from 0 to below 1, such as (0.5, 0.999)',
  lambda pair: len(pair) == 2 and all(_is(float, x) and 0 <= x < 1 for x in pair),
)
GENOTYPE = (
  "'' to search, a published name, an arch string of NAS-Bench-201, a genotype.json, or the "
  'workdir of a search'
)
PATH = "'digits', a file 'x.npz', or 'tfds:NAME'"

# What a name may be is filled in by `_registries`.
RULES = {
  'seed': _whole(0, 2**31 - 1),
  'dtype': _one_of(('float32', 'bfloat16')),
  'scale': _one_of(('laptop', 'paper')),
  'genotype': Rule(str, f'{GENOTYPE}; give it by --config.genotype=...'),
  'data.path': Rule(str, PATH),
  'data.tfds_dir': Rule(str, "a folder, or '' for the default of TFDS"),
  'data.size': _whole(0),
  'source.name': Rule(str, 'the name of a source'),
  'source.examples': _whole(2),
  'source.size': _whole(1),
  'source.channels': _whole(1),
  'source.classes': _whole(2),
  'source.label_rate': _BELOW_ONE,
  'source.generator': Rule(str, 'the workdir of a finished training of a generator'),
  'source.labels': _one_of(('condition', 'random')),
  'method.name': Rule(str, 'the name of a method'),
  'method.arch_lr': _NOT_NEGATIVE,
  'method.arch_betas': _BETAS,
  'method.arch_weight_decay': _NOT_NEGATIVE,
  'method.arch_clip': _NOT_NEGATIVE,
  'method.warmup_epochs': _whole(0),
  'method.rlnas.angle': _one_of(('network', 'edges')),
  'method.evolution.population': _whole(1),
  'method.evolution.generations': _whole(1),
  'method.evolution.parents': _whole(1),
  'method.evolution.mutations': _whole(0),
  'method.evolution.mutation_probability': _PROBABILITY,
  'method.evolution.crossovers': _whole(0),
  'method.random.cells': _whole(1),
  'method.random.measure': _one_of(('val_accuracy', 'train_loss')),
  'generator.steps': _whole(0),
  'generator.latent': _whole(1),
  'generator.channels': _whole(1),
  'generator.discriminator_channels': _whole(1),
  'generator.batch': _whole(1),
  'generator.discriminator_steps': _whole(1),
  'generator.lr': _POSITIVE,
  'generator.discriminator_lr': _POSITIVE,
  'generator.beta1': _BELOW_ONE,
  'generator.beta2': _BELOW_ONE,
  'generator.ema': _BELOW_ONE,
  'generator.augment.color': _PROBABILITY,
  'generator.augment.pad': _whole(0),
  'generator.augment.flip': _SWITCH,
  'generator.augment.cutout': _whole(0),
  'generator.sheet_every': _whole(1),
  'search.space': Rule(str, 'the name of a search space'),
  'search.channels': _whole(1),
  'search.cells': _whole(1),
  'search.partial_channels': _whole(1),
  'search.affine': _SWITCH,
  'search.batch': _whole(1),
  'search.epochs': _whole(0),
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
  'benchmark.nasbench201_csv': Rule(str, tabular.ALLOWED),
  'checkpoint.every': _whole(0),
  'checkpoint.keep': _whole(1),
  'log_every': _whole(1),
}


def check(config):
  """What is wrong with single keys of a config: unknown, missing, or of another kind or value."""
  rules = {**RULES, **_registries()}
  values = flatten(config.to_dict())
  problems = [f'{key}: {unknown(key)}' for key in values.keys() - rules.keys()]
  problems += [f'{key}: missing; allowed: {rules[key].allowed}' for key in rules.keys() - values]
  problems += [
    f'{key} = {value!r}; allowed: {rules[key].allowed}'
    for key, value in values.items()
    if key in rules and not (_is(rules[key].kind, value) and rules[key].holds(value))
  ]
  return problems


def unknown(key):
  """What to say of a key that no config has: 'no such key', and the nearest one."""
  near = difflib.get_close_matches(key, RULES, n=1, cutoff=0.5)
  near = near or [known for known in RULES if known.split('.')[-1] == key.split('.')[-1]]
  return f'no such key; the nearest is {near[0]}' if near else 'no such key; see configs/default.py'


def flatten(tree, prefix=''):
  """A nested dict as {'search.augment.pad': 4}."""
  flat = {}
  for name, value in tree.items():
    if isinstance(value, dict):
      flat |= flatten(value, f'{prefix}{name}.')
    else:
      flat[prefix + name] = value
  return flat


def _registries():
  """Rules of the keys that name an entry of a dictionary of functions."""
  from unrealnas_jax.data import SOURCES
  from unrealnas_jax.methods import METHODS
  from unrealnas_jax.network import STEMS
  from unrealnas_jax.spaces import SPACES

  return {
    'source.name': _one_of(SOURCES),
    'method.name': _one_of(METHODS),
    'method.arch_clip': _NOT_NEGATIVE,
    'method.warmup_epochs': _whole(0),
    'search.space': _one_of(SPACES),
    'retrain.stem': _one_of(STEMS),
  }


def _is(kind, value):
  """Whether a value has the type a rule asks for: 1 is a float, True is no number."""
  if kind is float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)
  return type(value) is kind
