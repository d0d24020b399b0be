"""What every key of a config may hold, taken alone."""

import difflib
import math
from collections.abc import Callable, Mapping
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
_FRACTION = Rule(float, 'a number above 0 and below 1', lambda x: 0 < x < 1)
_SHARE = Rule(float, 'a number above 0, at most 1', lambda x: 0 < x <= 1)
_UP_TO_ONE = Rule(float, 'a number from 0 to 1', lambda x: 0 <= x <= 1)
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
PATH = "'digits', a file 'x.npz', a folder of images, or 'tfds:NAME'"

# What a name may be is filled in by `_registries`.
RULES = {
  'seed': _whole(0, 2**31 - 1),
  'seeds': Rule(
    tuple,
    'a tuple of different whole numbers from 0 to 2147483647, such as (0, 1, 2)',
    lambda seeds: (
      all(_is(int, seed) and 0 <= seed < 2**31 for seed in seeds) and len({*seeds}) == len(seeds)
    ),
  ),
  'seeds_together': _whole(1),
  'dtype': _one_of(('float32', 'bfloat16')),
  'scale': _one_of(('laptop', 'paper')),
  'stages': Rule(
    tuple,
    'a tuple of dicts such as {"search.cells": 5}',
    lambda stages: all(isinstance(stage, Mapping) for stage in stages),
  ),
  'genotype': Rule(str, f'{GENOTYPE}; give it by --config.genotype=...'),
  'data.path': Rule(str, PATH),
  'data.tfds_dir': Rule(str, "a folder, or '' for the default of TFDS"),
  'data.size': _whole(0, 4096),
  'data.crop': _UP_TO_ONE,
  'data.random_crop': _SHARE,
  'data.jitter': _BELOW_ONE,
  'data.uncertain': Rule(str, 'the name of a policy'),
  'source.name': Rule(str, 'the name of a source'),
  'source.examples': _whole(2, 10**8),
  'source.size': _whole(1, 4096),
  'source.channels': _whole(1, 1024),
  'source.classes': _whole(2, 10**6),
  'source.label_rate': _BELOW_ONE,
  'source.distribution': Rule(str, 'the name of a distribution'),
  'source.mean': Rule(float, 'a number'),
  'source.std': _POSITIVE,
  'source.label_noise': _UP_TO_ONE,
  'source.pretext': Rule(str, 'the name of a pretext task'),
  'source.grid': _whole(2, 3),
  'source.generator': Rule(str, 'the workdir of a finished training of a generator'),
  'source.labels': Rule(str, 'the name of labels'),
  'method.name': Rule(str, 'the name of a method'),
  'method.order': _whole(1, 2),
  'method.hvp': Rule(str, 'the name of a Hessian-vector product'),
  'method.arch_lr': _NOT_NEGATIVE,
  'method.arch_betas': _BETAS,
  'method.arch_weight_decay': _NOT_NEGATIVE,
  'method.arch_clip': _NOT_NEGATIVE,
  'method.warmup_epochs': _whole(0),
  'method.skip_dropout': _BELOW_ONE,
  'method.max_skips': _whole(0, 8),
  'method.selection': _one_of(('alphas', 'perturbation')),
  'method.perturbation.finetune_epochs': _whole(0),
  'method.perturbation.criterion': _one_of(('accuracy', 'loss')),
  'method.eigenvalue.every': _whole(0),
  'method.eigenvalue.window': _whole(1),
  'method.eigenvalue.back': _whole(1),
  'method.eigenvalue.factor': Rule(float, 'a number above 1', lambda x: x > 1),
  'method.eigenvalue.first': _whole(0),
  'method.gdas.tau': _POSITIVE,
  'method.gdas.tau_end': _POSITIVE,
  'method.drnas.kl': _NOT_NEGATIVE,
  'method.drnas.none': _SWITCH,
  'method.sdarts.perturbation': Rule(str, 'the name of a perturbation'),
  'method.sdarts.epsilon_start': _NOT_NEGATIVE,
  'method.sdarts.epsilon': _NOT_NEGATIVE,
  'method.sdarts.steps': _whole(1),
  'method.sdarts.step_size': _POSITIVE,
  'method.rlnas.angle': _one_of(('network', 'edges')),
  'method.rlnas.search': _one_of(('evolution', 'exhaustive')),
  'method.evolution.population': _whole(1),
  'method.evolution.generations': _whole(1),
  'method.evolution.parents': _whole(1),
  'method.evolution.mutations': _whole(0),
  'method.evolution.mutation_probability': _UP_TO_ONE,
  'method.evolution.crossovers': _whole(0),
  'method.random.cells': _whole(1),
  'method.random.measure': _one_of(('val_accuracy', 'train_loss')),
  'generator.steps': _whole(0),
  'generator.latent': _whole(1, 4096),
  'generator.channels': _whole(1, 4096),
  'generator.discriminator_channels': _whole(1, 4096),
  'generator.batch': _whole(1, 10**6),
  'generator.discriminator_steps': _whole(1),
  'generator.lr': _POSITIVE,
  'generator.discriminator_lr': _POSITIVE,
  'generator.beta1': _BELOW_ONE,
  'generator.beta2': _BELOW_ONE,
  'generator.ema': _BELOW_ONE,
  'generator.augment.color': _UP_TO_ONE,
  'generator.augment.pad': _whole(0),
  'generator.augment.flip': _SWITCH,
  'generator.augment.cutout': _whole(0),
  'generator.sheet_every': _whole(1),
  'search.space': Rule(str, 'the name of a search space'),
  'search.channels': _whole(1, 4096),
  'search.cells': _whole(1, 1000),
  'search.partial_channels': _whole(1),
  'search.kept_ops': _whole(0),
  'search.max_parameters': _whole(0),
  'search.max_multiply_adds': _whole(0),
  'search.affine': _SWITCH,
  'search.stem': Rule(str, 'the name of a stem'),
  'search.batch': _whole(1, 10**6),
  'search.microbatch': _whole(0),
  'search.epochs': _whole(0),
  'search.train_portion': _FRACTION,
  'search.subset': _SHARE,
  'search.lr': _POSITIVE,
  'search.lr_end': _NOT_NEGATIVE,
  'search.lr_schedule': Rule(str, 'the name of a schedule'),
  'search.lr_warmup': _whole(0),
  'search.momentum': _BELOW_ONE,
  'search.nesterov': _SWITCH,
  'search.weight_decay': _NOT_NEGATIVE,
  'search.decayed': Rule(str, 'the name of a group of weights'),
  'search.clip': _POSITIVE,
  'search.clip_by': Rule(str, 'the name of a limit'),
  'search.label_smoothing': _BELOW_ONE,
  'search.augment.pad': _whole(0),
  'search.augment.flip': _SWITCH,
  'search.augment.cutout': _whole(0),
  'search.steps_per_call': _whole(1),
  'retrain.channels': _whole(1, 4096),
  'retrain.cells': _whole(1, 1000),
  'retrain.batch': _whole(1, 10**6),
  'retrain.microbatch': _whole(0),
  'retrain.remat': _SWITCH,
  'retrain.epochs': _whole(0),
  'retrain.stem': Rule(str, 'the name of a stem'),
  'retrain.lr': _POSITIVE,
  'retrain.lr_end': _NOT_NEGATIVE,
  'retrain.lr_schedule': Rule(str, 'the name of a schedule'),
  'retrain.lr_warmup': _whole(0),
  'retrain.label_smoothing': _BELOW_ONE,
  'retrain.momentum': _BELOW_ONE,
  'retrain.weight_decay': _NOT_NEGATIVE,
  'retrain.clip': _POSITIVE,
  'retrain.auxiliary': _NOT_NEGATIVE,
  'retrain.drop_path': _BELOW_ONE,
  'retrain.augment.pad': _whole(0),
  'retrain.augment.flip': _SWITCH,
  'retrain.augment.cutout': _whole(0),
  'benchmark.nasbench201_csv': Rule(str, tabular.ALLOWED),
  'analysis.genotypes': Rule(str, "'' for none, or genotypes and random, parted by commas"),
  'analysis.sources': Rule(str, 'names of sources, parted by commas'),
  'checkpoint.every': _whole(0),
  'checkpoint.keep': _whole(1),
  'log_every': _whole(1),
}


def check(config):
  """What is wrong with single keys of a config: unknown, missing, or of another kind or value."""
  known, values = rules(), flatten(config.to_dict())
  problems = [f'{key}: {unknown(key)}' for key in values.keys() - known.keys()]
  problems += [f'{key}: missing; allowed: {known[key].allowed}' for key in known.keys() - values]
  problems += [
    f'{key} = {value!r}; allowed: {known[key].allowed}'
    for key, value in values.items()
    if key in known and not (_is(known[key].kind, value) and known[key].holds(value))
  ]
  return problems


def rules():
  """The Rule of every key, with all names that are known by now."""
  return {**RULES, **_registries()}


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
  from unrealnas_jax.data.chexpert import POLICIES
  from unrealnas_jax.data.generated import LABELS
  from unrealnas_jax.data.noise import DISTRIBUTIONS
  from unrealnas_jax.data.pretext import NONE, TASKS
  from unrealnas_jax.methods import METHODS
  from unrealnas_jax.methods.sdarts import PERTURBATIONS
  from unrealnas_jax.methods.unrolled import HVP
  from unrealnas_jax.optimizers import CLIPS, DECAYED, SCHEDULES
  from unrealnas_jax.spaces import SPACES
  from unrealnas_jax.stems import STEMS

  return {
    'source.name': _one_of(SOURCES),
    'source.labels': _one_of(LABELS),
    'source.distribution': _one_of(DISTRIBUTIONS),
    'source.pretext': Rule(
      str, f"'' for none, {', '.join(TASKS)}", lambda name: name in (NONE, *TASKS)
    ),
    'method.name': _one_of(METHODS),
    'method.hvp': _one_of(HVP),
    'method.sdarts.perturbation': _one_of(PERTURBATIONS),
    'search.space': _one_of(SPACES),
    'search.stem': _one_of(STEMS),
    'retrain.stem': _one_of(STEMS),
    'search.lr_schedule': _one_of(SCHEDULES),
    'retrain.lr_schedule': _one_of(SCHEDULES),
    'search.clip_by': _one_of(CLIPS),
    'search.decayed': _one_of(DECAYED),
    'data.uncertain': _one_of(POLICIES),
  }


def _is(kind, value):
  """Whether a value has the type a rule asks for: 1 is a float, True is no number."""
  if kind is float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and math.isfinite(value)
  return type(value) is kind
