"""Configs as a whole: both scales are sound, and keys that do not agree are told."""

import importlib
import json
import re
import sys
import types

import numpy as np
import pytest
from changed_config import changed

import unrealnas_jax
from configs import default
from unrealnas_jax import config as lib
from unrealnas_jax import given_genotype, phases
from unrealnas_jax.data.split import Dataset, Split

# config -> what its search sees
SOURCES = {
  'noise': 'noise',
  'random_labels': 'random_labels',
  'real': 'real',
  'retrain': 'noise',
  'train_generator': 'noise',
  'analysis': 'noise',
}
GENOTYPE = {
  'normal': [['skip_connect', 0], ['sep_conv_3x3', 1]],
  'normal_concat': [2],
  'reduce': [['max_pool_3x3', 0], ['none', 1]],
  'reduce_concat': [2],
}


@pytest.mark.parametrize('scale', ['laptop', 'paper'])
@pytest.mark.parametrize('name', SOURCES)
def test_every_config_is_valid_at_both_scales(name, scale):
  config = importlib.import_module(f'configs.{name}').get_config(scale)
  if name == 'retrain':
    with pytest.raises(ValueError, match='genotype = None; allowed: .*--config.genotype='):
      lib.validate(config, 1)
    config.genotype = 'PC_DARTS_cifar'
  lib.validate(config, 1)
  assert config.scale == scale
  assert config.source.name == SOURCES[name]


def test_auto_follows_the_backend(monkeypatch):
  assert default.get_config().scale == 'laptop'
  for backend, scale in (('tpu', 'paper'), ('gpu', 'paper'), ('cpu', 'laptop')):
    monkeypatch.setattr(default.jax, 'default_backend', lambda backend=backend: backend)
    assert default.get_config('auto').scale == scale
    assert default.get_config('paper').scale == 'paper'
  with pytest.raises(ValueError, match='auto, laptop, paper'):
    default.get_config('huge')


def test_paper_scale_is_the_official_protocol():
  # Read off cnn/train_search.py and cnn/train.py of the official code.
  config = default.get_config('paper')
  search = dict(channels=16, cells=8, batch=64, epochs=50, train_portion=0.5, lr=0.025)
  search |= dict(lr_end=0.001, momentum=0.9, weight_decay=3e-4, clip=5.0)
  retrain = dict(channels=36, cells=20, batch=96, epochs=600, lr=0.025, lr_end=0.0, momentum=0.9)
  retrain |= dict(weight_decay=3e-4, clip=5.0, auxiliary=0.4, drop_path=0.2, stem='cifar')
  assert {key: config.search[key] for key in search} == search
  assert {key: config.retrain[key] for key in retrain} == retrain
  assert config.search.augment.to_dict() == dict(pad=4, flip=True, cutout=0)
  assert config.retrain.augment.to_dict() == dict(pad=4, flip=True, cutout=16)
  method = dict(name='darts', arch_lr=3e-4, arch_betas=(0.5, 0.999), arch_weight_decay=1e-3)
  assert {key: config.method[key] for key in method} == method
  assert (config.seed, config.data.size, config.source.size, config.source.classes) == (
    2,
    32,
    32,
    10,
  )


def test_all_problems_are_told_at_once():
  config = changed('seed', -1)
  config.search.clip = -1.0
  with pytest.raises(ValueError, match=r'search.clip = -1.0; .*\nseed = -1; '):
    lib.validate(config, 1)


def test_batches_divide_by_the_devices():
  lib.validate(changed(), 4)
  with pytest.raises(ValueError, match='search.batch = 30; .* number of devices, 4'):
    lib.validate(changed('search.batch', 30), 4)
  with pytest.raises(ValueError, match='retrain.batch = 30; .* number of devices, 4'):
    lib.validate(changed('retrain.batch', 30), 4)


def test_what_does_not_run_is_not_checked():
  config = changed('genotype', 'DARTS_V2')
  config.search.batch = 30
  lib.validate(config, 4)
  config = changed('retrain.batch', 30)
  config.retrain.epochs = 0
  config.data.path = 'nowhere/x.npz'
  lib.validate(config, 4)
  config.source.name = 'real'
  with pytest.raises(ValueError, match='nowhere'):
    lib.validate(config, 4)


def make_workdir(folder, **changes):
  """What a search leaves, as far as `validate` looks at it."""
  (folder / 'checkpoints' / 'search' / '8').mkdir(parents=True)
  config = changed()
  config.update(changes)
  (folder / 'config.json').write_text(lib.to_json(config))
  return folder


def test_genotype_may_be_a_name_a_file_or_a_workdir(tmp_path, monkeypatch):
  file, folder = tmp_path / 'genotype.json', make_workdir(tmp_path / 'search', seed=5)
  file.write_text(json.dumps(GENOTYPE))
  for name in ('DARTS_V2', str(file), str(folder)):
    lib.validate(changed('genotype', name), 1)
  assert given_genotype.load_genotype(str(file)).normal == (
    ('skip_connect', 0),
    ('sep_conv_3x3', 1),
  )
  # Of a workdir the checkpoint counts, read with the config of that run.
  stand_in = types.SimpleNamespace(genotype_of=lambda workdir, config: (workdir, config))
  monkeypatch.setitem(sys.modules, 'unrealnas_jax.earlier_search', stand_in)
  monkeypatch.setattr(unrealnas_jax, 'earlier_search', stand_in, raising=False)
  workdir, config = given_genotype.load_genotype(str(folder))
  assert workdir == str(folder)
  assert config.to_dict() == changed('seed', 5).to_dict()


def damage_config(folder):
  (folder / 'config.json').write_text('{')


def forget_config(folder):
  (folder / 'config.json').unlink()


def replace_config(folder):
  (folder / 'config.json').write_text('{"seed": 2}')


def age_config(folder):
  values = json.loads((folder / 'config.json').read_text())
  del values['search']['clip']
  (folder / 'config.json').write_text(json.dumps(values))


def empty_checkpoints(folder):
  (folder / 'checkpoints' / 'search' / '8').rmdir()


@pytest.mark.parametrize(
  ('damage', 'message'),
  [
    (damage_config, 'config.json: Expecting'),
    (forget_config, 'config.json: .*No such file'),
    (replace_config, "config.json: 'method'"),
    (age_config, 'config.json: search.clip: missing'),
    (empty_checkpoints, 'no checkpoints/search/STEP'),
  ],
)
def test_a_folder_that_no_search_left_is_no_genotype(tmp_path, damage, message):
  damage(make_workdir(tmp_path / 'search'))
  with pytest.raises(ValueError, match='is a folder that no search has left') as caught:
    lib.validate(changed('genotype', str(tmp_path / 'search')), 1)
  assert re.search(message, str(caught.value))
  assert 'allowed: ' in str(caught.value)


def test_an_unknown_genotype_lists_the_known_ones():
  with pytest.raises(ValueError, match='DARTS_V9.*PC_DARTS_cifar'):
    lib.validate(changed('genotype', 'DARTS_V9'), 1)


def dataset(images=100, size=16):
  split = Split(images, lambda indices: None)
  return Dataset('made', split, split, 10, (size, size + 3, 1), np.zeros(1), np.ones(1))


def test_what_only_the_data_tells_is_checked_with_it():
  config = changed('source.name', 'real')
  config.data.size = 0
  lib.validate(config, 1)
  lib.validate(config, 1, dataset())
  config.search.augment.pad = config.retrain.augment.cutout = 9
  lib.validate(config, 1, dataset())
  for images, size, messages in (
    (63, 16, ['search.batch = 32; allowed: at most 31, the smaller part of the training images']),
    (63, 16, ['retrain.batch = 64; allowed: at most 63, the number of training images of data.pa']),
    (100, 9, ['search.augment.pad = 9; allowed: less than the smaller side of the images = 9 pix']),
    (100, 9, ['retrain.augment.cutout = 9; allowed: less than the smaller side of the images = 9']),
    (100, 4, ['retrain.auxiliary = 0.4; allowed: 0 with the smaller side of the images = 4']),
  ):
    with pytest.raises(ValueError, match='allowed:') as caught:
      lib.validate(config, 1, dataset(images, size))
    assert all(message in str(caught.value) for message in messages), str(caught.value)


def test_second_order_is_of_methods_that_know_it_and_of_whole_digits():
  config = changed('method.order', 2)
  lib.validate(config, 1)
  config.dtype = 'bfloat16'
  with pytest.raises(ValueError, match="dtype = 'bfloat16'; allowed: float32 with method.hvp"):
    lib.validate(config, 1)
  config.method.hvp = 'exact'
  lib.validate(config, 1)
  config.method.name = 'rlnas'
  with pytest.raises(ValueError, match="method.order = 2; allowed: 1 with method.name = 'rlnas'"):
    lib.validate(config, 1)
  config.method.order = 1
  lib.validate(config, 1)


def test_steps_per_call_divide_an_epoch():
  # 1000 images in halves, batches of 32: 15 steps an epoch.
  for per_call in (1, 3, 5, 15):
    lib.validate(changed('search.steps_per_call', per_call), 1)
  for per_call in (2, 16):
    message = f'steps_per_call = {per_call}; .* the 15 steps of an epoch: 1, 3, 5, 15'
    with pytest.raises(ValueError, match=message):
      lib.validate(changed('search.steps_per_call', per_call), 1)
  config = changed('search.steps_per_call', 2)
  config.source.name = 'real'
  lib.validate(config, 1)
  lib.validate(config, 1, dataset(images=128))
  with pytest.raises(ValueError, match='search.steps_per_call = 2; .* the 3 steps .*: 1, 3'):
    lib.validate(config, 1, dataset(images=192))


def test_which_runs_need_real_images():
  config = changed()
  assert phases.needs_images(config)  # for retraining
  config.retrain.epochs = 0
  assert not phases.needs_images(config)
  config.source.name = 'random_labels'
  assert phases.needs_images(config)


def test_nothing_to_do_is_an_error():
  config = changed('genotype', 'DARTS_V2')
  config.retrain.epochs = 0
  with pytest.raises(ValueError, match='retrain.epochs = 0; .*nothing to do'):
    lib.validate(config, 1)


def test_views_need_a_size():
  for key, value, allowed in (('crop', 0.875, 0), ('random_crop', 0.08, 1)):
    config = changed(f'data.{key}', value)
    lib.validate(config, 1)
    config.data.size = 0
    with pytest.raises(ValueError, match=f'data.{key} = {value}; allowed: {allowed} with data.s'):
      lib.validate(config, 1)


def test_smoothing_is_for_classes():
  config = changed('retrain.label_smoothing', 0.1)
  lib.validate(config, 1, dataset())
  with pytest.raises(ValueError, match='retrain.label_smoothing = 0.1; allowed: 0 with several l'):
    lib.validate(config, 1, dataset()._replace(names=('a', 'b')))


def test_smoothing_of_a_search_is_for_classes():
  message = 'search.label_smoothing = 0.1; allowed: 0 with several labels an image, which '
  several = dataset()._replace(names=('a', 'b'))
  config = changed('search.label_smoothing', 0.1)
  config.retrain.epochs = 0
  lib.validate(config, 1, several)  # of noise, which has one class an image
  config.source.label_rate = 0.5
  with pytest.raises(ValueError, match=f'{message}source.label_rate = 0.5 gives'):
    lib.validate(config, 1)
  config.source.pretext = 'rotation'
  lib.validate(config, 1)
  for name in ('real', 'shuffled_labels'):
    config.source.update(dict(name=name, pretext=''))
    lib.validate(config, 1, dataset())
    with pytest.raises(ValueError, match=f'{message}data.path = .* gives'):
      lib.validate(config, 1, several)


def test_stem_of_the_search_fits_its_space():
  config = changed('search.stem', 'imagenet')
  lib.validate(config, 1)
  config.search.space = 'nasbench201'
  with pytest.raises(ValueError, match="search.stem = 'imagenet'; allowed: 'cifar' with search.s"):
    lib.validate(config, 1)


def test_batches_of_a_subset_are_checked_by_its_size():
  config = changed('search.subset', 0.5)
  config.search.batch = 250
  lib.validate(config, 1)  # 1,000 examples of noise, half of them in halves
  config.search.batch = 251
  with pytest.raises(ValueError, match='search.batch = 251; allowed: at most 250, the smaller'):
    lib.validate(config, 1)
  # Ten classes of 64 images: 16 of each in each half.
  config = changed('search.subset', 0.5)
  config.source.name = 'real'
  made = dataset(640)
  made = made._replace(train=made.train._replace(labels=lambda: np.arange(640) % 10))
  config.search.batch = 160
  lib.validate(config, 1, made)
  config.search.batch = 161
  with pytest.raises(ValueError, match='search.batch = 161; allowed: at most 160, the smaller'):
    lib.validate(config, 1, made)


def test_images_too_small_for_the_auxiliary_head():
  config = changed('data.size', 4)
  with pytest.raises(ValueError, match='retrain.auxiliary = 0.4; allowed: 0 with data.size = 4'):
    lib.validate(config, 1)
  config.retrain.auxiliary = 0.0
  lib.validate(config, 1)
  config = changed('retrain.stem', 'imagenet')
  with pytest.raises(ValueError, match='more than 32 pixels'):
    lib.validate(config, 1)


CELL = '|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|'


def cell_config(**changes):
  """A config that retrains a NAS-Bench-201 cell."""
  config = changed('genotype', CELL)
  config.retrain.update({'auxiliary': 0.0, 'drop_path': 0.0, **changes})
  return config


def test_retraining_a_nasbench201_cell_has_no_choice_of_these():
  lib.validate(cell_config(), 1)
  for key, value, allowed in (
    ('auxiliary', 0.4, 0),
    ('drop_path', 0.1, 0),
    ('stem', 'imagenet', 'cifar'),
  ):
    message = f'retrain.{key} = {value!r}; allowed: {allowed!r} for a NAS-Bench-201 cell'
    with pytest.raises(ValueError, match=message):
      lib.validate(cell_config(**{key: value}), 1)
    config = cell_config(**{key: value})
    config.genotype = 'DARTS_V2'
    lib.validate(config, 1)


def test_a_table_is_for_nasbench201_cells(tmp_path):
  table, other = tmp_path / 'x.csv', tmp_path / 'x.txt'
  table.touch()
  other.touch()
  file, folder = tmp_path / 'genotype.json', make_workdir(tmp_path / 'search')
  file.write_text(json.dumps({'arch': CELL}))
  refused = "benchmark.nasbench201_csv = .*x.csv'; allowed: '' unless search.space = 'nasbench201'"

  # Looking it up is something to do, and what there is no retraining with does not count.
  config = cell_config(epochs=0, drop_path=0.1)
  config.benchmark.nasbench201_csv = str(table)
  for name in (CELL, str(file)):
    config.genotype = name
    lib.validate(config, 1)
  for name in ('', 'DARTS_V2', str(folder)):
    config.genotype = name
    with pytest.raises(ValueError, match=refused):
      lib.validate(config, 1)

  # Of a search, here or in another workdir, the space decides.
  values = json.loads((folder / 'config.json').read_text())
  values['search']['space'] = 'nasbench201'
  (folder / 'config.json').write_text(json.dumps(values))
  lib.validate(config, 1)
  config.genotype = ''
  config.search.space = 'nasbench201'
  lib.validate(config, 1)
  for name, message in ((str(other), "x.txt'; allowed: '' for"), ('y.csv', 'no such file; all')):
    config.benchmark.nasbench201_csv = name
    with pytest.raises(ValueError, match=message):
      lib.validate(config, 1)


def test_to_json_is_the_whole_config():
  config = changed()
  found = json.loads(lib.to_json(config))
  expected = json.loads(json.dumps(config.to_dict()))
  assert found == expected
  assert np.isclose(found['method']['arch_lr'], 3e-4)
