"""Configs on other data sets: every one is sound at both scales, and ImageNet's is the official."""

import importlib

import numpy as np
import pytest
import tensorflow_datasets as tfds

from configs import default, noise
from configs.datasets import DATASETS
from unrealnas_jax import config as lib
from unrealnas_jax import generator
from unrealnas_jax.data import SOURCES, chexpert, generated, tfds_files
from unrealnas_jax.data.pretext import TASKS
from unrealnas_jax.data.split import Dataset, Labels, Split


@pytest.mark.parametrize('scale', ['laptop', 'paper'])
@pytest.mark.parametrize('dataset', DATASETS)
@pytest.mark.parametrize('name', ['noise', 'random_labels', 'real', 'pretext'])
def test_every_config_is_valid_on_every_data_set(name, dataset, scale, tmp_path):
  choice = f'{scale},{dataset}' if name != 'pretext' else f'jigsaw,{scale},{dataset}'
  config = importlib.import_module(f'configs.{name}').get_config(choice)
  if dataset == 'chest_xray':
    with pytest.raises(ValueError, match="data.path = ''; allowed: 'digits', a file"):
      lib.validate(config, 1)
    config.data.path = str(tmp_path)
  lib.validate(config, 1)
  assert config.source.name == {'pretext': 'real'}.get(name, name)
  assert config.scale == scale
  several = dataset in ('chexpert', 'chest_xray')
  assert (config.source.label_rate > 0) == several


@pytest.mark.parametrize('scale', ['laptop', 'paper'])
@pytest.mark.parametrize('dataset', ['cifar10', 'imagenet', 'chexpert'])
@pytest.mark.parametrize('name', sorted(SOURCES.keys() - {'generated'}))
def test_every_source_is_valid_on_every_kind_of_data_set(name, dataset, scale):
  config = noise.get_config(f'{scale},{dataset}')
  config.source.name = name
  for task in ('', *TASKS):
    config.source.pretext = task
    lib.validate(config, 1)


@pytest.mark.parametrize('scale', ['laptop', 'paper'])
@pytest.mark.parametrize('dataset', ['cifar10', 'imagenet', 'chexpert'])
def test_a_generator_can_be_trained_and_searched_on_for_every_kind_of_data_set(
  dataset, scale, tmp_path
):
  """With what only the images tell: a generator is described as its training describes it."""
  training, search = (
    importlib.import_module(f'configs.{name}').get_config(f'{scale},{dataset}')
    for name in ('train_generator', 'generated')
  )
  found = images_like(training, dataset)
  lib.validate(training, 1, found)
  described = generator.describe(training, found)
  generated.save(tmp_path, described, generated.conditions(found))
  (tmp_path / 'result.json').write_text('{}')
  search.source.generator = str(tmp_path)
  for task in ('', *TASKS):
    search.source.pretext = task
    lib.validate(search, 1, found)
  assert described.shape[0] == search.source.size or scale == 'laptop'
  assert (described.classes, described.several) == (search.source.classes, dataset == 'chexpert')


def images_like(config, dataset):
  """A Dataset with the sizes and labels of one that is too large to be here."""
  labels = chexpert.LABELS if dataset == 'chexpert' else Labels(config.source.classes)
  shape = (config.data.size, config.data.size, config.source.channels)
  rows = lambda: np.eye(labels.classes, dtype=np.int32)  # noqa: E731
  split = Split(50_000, None, rows if labels.names else None)
  return Dataset(
    *('made', split, split, labels.classes, shape, np.zeros(3), np.ones(3)),
    *(labels.names, labels.scored),
  )


@pytest.mark.parametrize('scale', ['laptop', 'paper'])
@pytest.mark.parametrize(('task', 'crops'), [('rotation', 1), ('jigsaw', 0), ('colorisation', 0)])
def test_images_of_cifar_are_changed_before_a_task_as_in_unnas(task, crops, scale):
  # Read off pycls/datasets/prepare.py of the official code: all are mirrored.
  config = importlib.import_module('configs.pretext').get_config(f'{task},{scale},cifar10')
  pad = {'laptop': 2, 'paper': 4}[scale] * crops
  assert config.search.augment.to_dict() == dict(pad=pad, flip=True, cutout=0)
  lib.validate(config, 1)


def test_pretext_on_imagenet_is_the_protocol_of_unnas():
  # Read off configs/search_based/search_phase/imagenet of the official code.
  for task, batch, lr, arch_lr in (
    ('rotation', 4 * 32, 0.05, 1.5e-4),
    ('jigsaw', 32, 0.05, 1.5e-4),
    ('colorisation', 64, 0.1, 3e-4),
  ):
    config = importlib.import_module('configs.pretext').get_config(f'{task},paper,imagenet')
    search = dict(channels=16, cells=8, batch=batch, lr=lr, lr_end=0.0, epochs=2, subset=1.0)
    search |= dict(train_portion=0.5, weight_decay=3e-5, momentum=0.9, clip=5.0, lr_warmup=0)
    assert {key: config.search[key] for key in search} == search
    assert config.search.lr_schedule == 'cosine'
    method = dict(arch_lr=arch_lr, arch_betas=(0.5, 0.999), arch_weight_decay=1e-3, warmup_epochs=1)
    assert {key: config.method[key] for key in method} == method
    assert (config.source.pretext, config.source.grid) == (task, 3)
    lib.validate(config, 1)
  with pytest.raises(ValueError, match="source.pretext = 'rotate'; allowed: '' for none, rotation"):
    lib.validate(importlib.import_module('configs.pretext').get_config('rotate'), 1)


@pytest.mark.parametrize('scale', ['laptop', 'paper'])
@pytest.mark.parametrize('dataset', DATASETS)
def test_made_images_have_the_size_of_the_real_ones(dataset, scale):
  config = default.get_config(f'{scale},{dataset}')
  assert config.source.size == config.data.size
  if scale == 'laptop' and dataset in ('digits', 'cifar10'):
    assert config.source.size == 16


# How many training images the sets have.
TRAIN = dict(cifar10=50_000, svhn=73_257, fashion_mnist=60_000, imagenet=1_281_167)
TRAIN |= dict(imagenet32=1_281_167, chexpert=223_414)


@pytest.mark.parametrize('dataset', TRAIN)
@pytest.mark.parametrize('name', ['noise', 'pdarts'])
def test_noise_takes_the_place_of_any_number_of_images(name, dataset):
  config = importlib.import_module(f'configs.{name}').get_config(f'paper,{dataset}')
  config.source.name, size, count = 'matched_noise', config.data.size, TRAIN[dataset]
  split = Split(count, None, lambda: np.zeros(count, int))
  shape, channels = (size, size, config.source.channels), config.source.channels
  arrays = np.zeros(channels), np.ones(channels)
  made = Dataset(dataset, split, split, config.source.classes, shape, *arrays)
  lib.validate(config, 1, made)


def test_scale_and_data_set_may_come_in_any_order():
  there, back = (default.get_config(choice) for choice in ('paper,imagenet', 'imagenet,paper'))
  assert there.to_dict() == back.to_dict()
  assert there.data.path == 'tfds:imagenet2012'
  assert default.get_config('imagenet').scale == 'laptop'
  assert default.get_config('laptop').data.path == 'digits'
  assert default.get_config('paper').to_dict() == default.get_config('paper,cifar10').to_dict()
  with pytest.raises(ValueError, match='FILE:paper,imagnet; allowed .*auto.* one of digits, '):
    default.get_config('paper,imagnet')


def test_imagenet_is_the_protocol_of_pc_darts():
  # Read off train_search_imagenet.py and train_imagenet.py of the official code.
  config = importlib.import_module('configs.pc_darts').get_config('paper,imagenet')
  search = dict(channels=16, cells=8, batch=1024, epochs=50, lr=0.5, lr_end=0.0, lr_warmup=5)
  search |= dict(weight_decay=3e-4, clip=5.0, stem='imagenet', partial_channels=2, subset=0.125)
  retrain = dict(channels=48, cells=14, batch=1024, epochs=250, lr=0.5, lr_end=0.0, lr_warmup=5)
  retrain |= dict(lr_schedule='linear', weight_decay=3e-5, clip=5.0, auxiliary=0.4, drop_path=0.0)
  retrain |= dict(label_smoothing=0.1, stem='imagenet')
  assert {key: config.search[key] for key in search} == search
  assert {key: config.retrain[key] for key in retrain} == retrain
  assert config.search.augment.to_dict() == dict(pad=0, flip=True, cutout=0)
  assert config.retrain.augment.to_dict() == dict(pad=0, flip=True, cutout=0)
  method = dict(name='pc_darts', arch_lr=6e-3, arch_clip=5.0, warmup_epochs=35)
  assert {key: config.method[key] for key in method} == method
  assert (config.data.size, config.data.crop, config.data.random_crop) == (224, 0.875, 0.08)


@pytest.mark.parametrize('dataset', sorted(DATASETS.keys() - {'digits', 'chest_xray'}))
def test_tfds_has_the_set_with_these_features(dataset, tmp_path):
  """By TFDS's own definitions, of which images and labels are found as in prepared files."""
  config = default.get_config(f'paper,{dataset}')
  info = tfds.builder(config.data.path.removeprefix('tfds:'), data_dir=tmp_path).info
  image, target = tfds_files._features(dataset, info, config.data.uncertain)
  assert info.features[image].shape[-1] == config.source.channels
  assert target.labels.classes == config.source.classes
  assert bool(target.labels.names) == (config.source.label_rate > 0)
