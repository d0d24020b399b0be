"""Configs of the methods: sound on every data set, and with the numbers of the official codes.

Sources of the numbers: the arguments of the official scripts that the config files name.
"""

import importlib

import pytest

from configs import default
from configs.datasets import DATASETS, protocol
from unrealnas_jax import config as lib
from unrealnas_jax import stages
from unrealnas_jax.methods import METHODS

FILES = {  # config file -> method.name
  'darts_second_order': 'darts',
  'drnas': 'drnas',
  'gdas': 'gdas',
  'pc_darts': 'pc_darts',
  'pdarts': 'pdarts',
  'random_search': 'random',
  'rlnas': 'rlnas',
  'sdarts': 'sdarts',
}
DARTS = {
  **{'search.channels': 16, 'search.cells': 8, 'search.batch': 64, 'search.epochs': 50},
  **{'search.lr': 0.025, 'search.lr_end': 0.001, 'search.lr_schedule': 'cosine'},
  **{'search.lr_warmup': 0, 'search.momentum': 0.9, 'search.weight_decay': 3e-4},
  **{'search.clip': 5.0, 'search.train_portion': 0.5, 'search.affine': False},
  **{'search.nesterov': False, 'search.decayed': 'all', 'search.clip_by': 'norm'},
  **{'search.label_smoothing': 0.0},
  **{'search.augment.cutout': 0, 'search.partial_channels': 1, 'search.subset': 1.0},
  **{'method.arch_lr': 3e-4, 'method.arch_betas': (0.5, 0.999), 'method.arch_weight_decay': 1e-3},
  **{'method.arch_clip': 0.0, 'method.warmup_epochs': 0, 'method.order': 1},
  **{'method.max_skips': 8, 'search.max_multiply_adds': 0},
  **{'retrain.channels': 36, 'retrain.cells': 20, 'retrain.batch': 96, 'retrain.epochs': 600},
  **{'retrain.lr': 0.025, 'retrain.lr_end': 0.0, 'retrain.lr_schedule': 'cosine'},
  **{'retrain.weight_decay': 3e-4, 'retrain.drop_path': 0.2, 'retrain.auxiliary': 0.4},
  **{'retrain.augment.cutout': 16, 'retrain.label_smoothing': 0.0},
}
EVOLUTION = {
  **{'method.evolution.population': 50, 'method.evolution.parents': 10},
  **{'method.evolution.mutations': 25, 'method.evolution.mutation_probability': 0.1},
  **{'method.evolution.crossovers': 25, 'method.evolution.generations': 20},
}
# What a method changes of DARTS on CIFAR-10.
CIFAR = {
  'darts_second_order': {'method.order': 2, 'method.hvp': 'finite_difference'},
  'drnas': {
    **{'search.channels': 36, 'search.cells': 20, 'search.epochs': 25, 'search.lr': 0.1},
    **{'search.lr_end': 0.0, 'method.arch_lr': 6e-4, 'method.warmup_epochs': 10},
    **{'method.drnas.none': False, 'retrain.batch': 64, 'retrain.drop_path': 0.3},
  },
  'gdas': {
    **{'search.cells': 6, 'search.batch': 256, 'search.epochs': 250, 'search.weight_decay': 5e-4},
    **{'method.gdas.tau': 10.0, 'method.gdas.tau_end': 0.1, 'search.nesterov': True},
  },
  'pc_darts': {
    **{'search.partial_channels': 4, 'search.batch': 256, 'search.lr': 0.1, 'search.lr_end': 0.0},
    **{'method.arch_lr': 6e-4, 'method.warmup_epochs': 15, 'retrain.drop_path': 0.3},
  },
  'pdarts': {
    **{'search.batch': 96, 'search.epochs': 25, 'search.lr_end': 0.0, 'method.arch_lr': 6e-4},
    **{'method.arch_clip': 5.0, 'method.warmup_epochs': 10, 'method.max_skips': 2},
    **{'retrain.batch': 128, 'retrain.drop_path': 0.3},
  },
  'random_search': {'method.random.measure': 'train_loss', 'method.random.cells': 10},
  'rlnas': {
    **{'search.affine': True, 'search.epochs': 250, 'search.train_portion': 0.96, **EVOLUTION},
    **{'method.rlnas.angle': 'network'},
  },
  'sdarts': {
    **{'method.sdarts.epsilon_start': 0.03, 'method.sdarts.epsilon': 0.3},
    **{'method.sdarts.steps': 7, 'method.sdarts.step_size': 2.0},
  },
}
# All retraining on ImageNet.
TRAIN_IMAGENET = {
  **{'retrain.channels': 48, 'retrain.cells': 14, 'retrain.batch': 1024, 'retrain.epochs': 250},
  **{'retrain.lr': 0.5, 'retrain.lr_schedule': 'linear', 'retrain.lr_warmup': 5},
  **{'retrain.weight_decay': 3e-5, 'retrain.drop_path': 0.0, 'retrain.label_smoothing': 0.1},
  **{'retrain.stem': 'imagenet', 'search.stem': 'imagenet', 'retrain.augment.cutout': 0},
}
# A tenth of each class for the weights and a fortieth for the architecture.
PART = {'search.subset': 0.125, 'search.train_portion': 0.8}
PC_DARTS = {
  **{'search.batch': 1024, 'search.lr': 0.5, 'search.lr_end': 0.0, 'search.lr_warmup': 5, **PART},
  **{'method.arch_lr': 6e-3, 'method.arch_clip': 5.0, 'method.warmup_epochs': 35},
}
# What a method changes of DARTS on CIFAR-10; where it has no search on ImageNet, as on CIFAR-10 or
# as PC-DARTS.
IMAGENET = {
  'darts_second_order': PC_DARTS | CIFAR['darts_second_order'],
  'drnas': PC_DARTS
  | {
    **{'search.channels': 48, 'search.cells': 14, 'search.batch': 512, 'search.epochs': 25},
    **{'method.warmup_epochs': 10, 'method.drnas.none': False},
  },
  'gdas': PART | CIFAR['gdas'],
  'pc_darts': PC_DARTS | {'search.partial_channels': 2},
  'pdarts': PART | CIFAR['pdarts'],
  'random_search': PART | CIFAR['random_search'],
  'rlnas': {
    **{'search.channels': 48, 'search.cells': 14, 'search.batch': 512, 'search.epochs': 50},
    **{'search.lr': 0.1, 'search.lr_end': 5e-4, 'search.lr_schedule': 'linear_by_step'},
    **{'search.decayed': 'convolutions', 'search.clip_by': 'value'},
    **{'search.label_smoothing': 0.1},
    **{'search.weight_decay': 4e-5, 'search.affine': True, 'search.train_portion': 0.999},
    **{'search.max_multiply_adds': 600_000_000, **EVOLUTION},
  },
  'sdarts': PC_DARTS | CIFAR['sdarts'],
}
STAGES = {  # the key of a stage -> values of its stages
  ('drnas', 'cifar10'): {'search.partial_channels': [6, 4], 'search.kept_ops': [0, 4]},
  ('drnas', 'imagenet'): {'search.partial_channels': [6, 3], 'search.kept_ops': [0, 4]},
  **dict.fromkeys(
    [('pdarts', 'cifar10'), ('pdarts', 'imagenet')],
    {
      'search.cells': [5, 11, 17],
      'search.kept_ops': [0, 5, 3],
      'method.skip_dropout': [0.1, 0.4, 0.7],
    },
  ),
}


PLAIN = ('nesterov', 'decayed', 'clip_by', 'label_smoothing', 'lr_schedule')


def load(name, choice):
  return importlib.import_module(f'configs.{name}').get_config(choice)


def flat(config, keys):
  """{'search.lr': 0.1} for keys such as search.lr."""
  found = {}
  for key in keys:
    node = config
    for part in key.split('.'):
      node = node[part]
    found[key] = node
  return found


@pytest.mark.parametrize('scale', ['laptop', 'paper'])
@pytest.mark.parametrize('dataset', DATASETS)
@pytest.mark.parametrize('name', FILES)
def test_every_method_is_valid_on_every_data_set(name, dataset, scale, tmp_path):
  config = load(name, f'{scale},{dataset}')
  assert (config.scale, config.method.name) == (scale, FILES[name])
  if dataset == 'chest_xray':
    config.data.path = str(tmp_path)
  lib.validate(config, 1)
  if scale == 'paper' and protocol(config) != 'cifar':
    assert config.retrain == default.get_config(f'{scale},{dataset}').retrain


@pytest.mark.parametrize('name', FILES)
def test_the_laptop_scale_has_plain_optimizers(name):
  of_all = {key: default.paper().search[key] for key in PLAIN}
  for dataset in DATASETS:
    search = load(name, f'laptop,{dataset}').search
    assert {key: search[key] for key in PLAIN} == of_all


def test_every_method_has_a_config():
  assert {'darts', *FILES.values()} == METHODS.keys()


@pytest.mark.parametrize('name', FILES)
def test_the_paper_scale_has_the_official_numbers(name):
  for dataset, expected in (
    ('cifar10', DARTS | CIFAR[name]),
    ('imagenet', DARTS | TRAIN_IMAGENET | IMAGENET[name] | retraining(TRAIN_IMAGENET)),
  ):
    config = load(name, f'paper,{dataset}')
    expected = expected | dict.fromkeys(STAGES.get((name, dataset), {}))
    every = [flat(stage, expected) for stage in stages.configs(config)]
    for key, value in expected.items():
      by_stage = STAGES.get((name, dataset), {}).get(key, [value] * len(every))
      assert [found[key] for found in every] == by_stage, f'{dataset}: {key}'


def retraining(expected):
  """Of ImageNet, where no method file has a say."""
  return {key: value for key, value in expected.items() if key.startswith('retrain.')}


@pytest.mark.parametrize('scale', ['laptop', 'paper'])
@pytest.mark.parametrize('method', METHODS)
def test_every_method_is_valid_on_nasbench201(method, scale):
  config = load('nasbench201', f'{method},{scale}')
  lib.validate(config, 1)
  assert (config.scale, config.method.name) == (scale, method)
  assert bool(config.stages) == (method == 'pdarts')
  evolution = config.method.evolution
  assert (evolution.population, evolution.parents) == (100, 30)
  assert (evolution.mutations, evolution.crossovers) == (50, 50)
  nesterov = scale == 'paper' and method in ('rlnas', 'gdas')
  assert config.search.nesterov == nesterov
  if scale == 'paper':
    search = {'space': 'nasbench201', 'channels': 16, 'cells': 5, 'batch': 64, 'lr': 0.025}
    search |= {'lr_end': 0.001, 'epochs': {'rlnas': 250, 'gdas': 250}.get(method, 50)}
    search |= {'weight_decay': 5e-4}
    if method in ('drnas', 'sdarts'):
      search |= {'epochs': 100, 'weight_decay': 3e-4}
    if method == 'pdarts':  # in each of its stages
      search |= {'batch': 96, 'lr_end': 0.0, 'epochs': 25}
    assert {key: config.search[key] for key in search} == search
