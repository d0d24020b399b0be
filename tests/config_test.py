"""Configs: both scales are sound, every key has a rule, every rule can fail, workdirs are safe."""

import importlib
import json
import pathlib
import re
import sys
import types

import numpy as np
import pytest

from configs import default
from unrealnas_jax import config as lib
from unrealnas_jax import metrics

NAMES = ('noise', 'random_labels', 'real', 'retrain')
GENOTYPE = {
  'normal': [['skip_connect', 0], ['sep_conv_3x3', 1]],
  'normal_concat': [2],
  'reduce': [['max_pool_3x3', 0], ['none', 1]],
  'reduce_concat': [2],
}


@pytest.fixture(autouse=True)
def _methods(monkeypatch):
  """A stand-in where the registry of methods is not importable; the rule is the same."""
  try:
    from unrealnas_jax.methods import METHODS  # noqa: F401
  except ImportError:
    stand_in = types.SimpleNamespace(METHODS={'darts': None})
    monkeypatch.setitem(sys.modules, 'unrealnas_jax.methods', stand_in)


def changed(key=None, value=None, scale='laptop'):
  config = default.get_config(scale)
  if key is not None:
    *parents, name = key.split('.')
    holder = config
    for parent in parents:
      holder = holder[parent]
    with holder.ignore_type():
      holder[name] = value
  return config


@pytest.mark.parametrize('scale', ['laptop', 'paper'])
@pytest.mark.parametrize('name', NAMES)
def test_every_config_is_valid_at_both_scales(name, scale):
  config = importlib.import_module(f'configs.{name}').get_config(scale)
  if name == 'retrain':
    with pytest.raises(ValueError, match='genotype = None; allowed: .*--config.genotype='):
      lib.validate(config, 1)
    config.genotype = 'PC_DARTS_cifar'
  lib.validate(config, 1)
  assert config.scale == scale
  assert config.source.name == (name if name != 'retrain' else 'noise')


def test_every_key_has_a_rule_and_a_comment():
  keys = lib._flatten(default.get_config('paper').to_dict()).keys()
  assert keys == lib.RULES.keys()
  lines = pathlib.Path(default.__file__).read_text().splitlines()
  for key in keys:
    assigned = re.compile(rf'  (config\.)?{re.escape(key)} = ')
    (first, *_) = [i for i, line in enumerate(lines) if assigned.match(line)]
    assert ' # ' in lines[first] or lines[first - 1].strip().startswith('# '), key


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
  assert config.method.to_dict() == method
  assert (config.seed, config.data.size, config.source.size, config.source.classes) == (
    2,
    32,
    32,
    10,
  )


# key, value -> what the message must hold beside 'key = value'
WRONG = [
  ('seed', -1, '0 to 2147483647'),
  ('seed', 1.0, 'a whole number'),
  ('dtype', 'float16', 'float32, bfloat16'),
  ('scale', 'huge', 'laptop, paper'),
  ('data.size', -1, 'at least 0'),
  ('data.tfds_dir', 3, 'a folder'),
  ('source.name', 'nosie', 'noise, random_labels, real'),
  ('source.examples', 1, 'at least 2'),
  ('source.size', 0, 'at least 1'),
  ('source.channels', 0, 'at least 1'),
  ('source.classes', 1, 'at least 2'),
  ('method.name', 'drats', 'darts'),
  ('method.arch_lr', -1e-3, 'at least 0'),
  ('method.arch_betas', (0.5, 1.0), '0 to below 1'),
  ('method.arch_betas', (0.5,), 'two numbers'),
  ('method.arch_weight_decay', float('inf'), 'at least 0'),
  ('search.space', 'nats', 'darts'),
  ('search.channels', 0, 'at least 1'),
  ('search.cells', 0, 'at least 1'),
  ('search.batch', 0, 'at least 1'),
  ('search.epochs', True, 'a whole number'),
  ('search.train_portion', 1.0, 'below 1'),
  ('search.lr', 0.0, 'above 0'),
  ('search.lr', float('nan'), 'above 0'),
  ('search.lr_end', -0.1, 'at least 0'),
  ('search.momentum', 1.0, 'below 1'),
  ('search.weight_decay', '3', 'a number'),
  ('search.clip', 0.0, 'above 0'),
  ('search.augment.pad', -1, 'at least 0'),
  ('search.augment.flip', 1, 'True or False'),
  ('search.augment.cutout', -1, 'at least 0'),
  ('search.steps_per_call', 0, 'at least 1'),
  ('retrain.channels', 0, 'at least 1'),
  ('retrain.cells', 0, 'at least 1'),
  ('retrain.batch', 0, 'at least 1'),
  ('retrain.epochs', -1, 'at least 0'),
  ('retrain.stem', 'vgg', 'cifar, imagenet'),
  ('retrain.lr', -1.0, 'above 0'),
  ('retrain.lr_end', -1.0, 'at least 0'),
  ('retrain.momentum', -0.1, '0 to below 1'),
  ('retrain.weight_decay', -0.1, 'at least 0'),
  ('retrain.clip', -5.0, 'above 0'),
  ('retrain.auxiliary', -0.4, 'at least 0'),
  ('retrain.drop_path', 1.0, 'below 1'),
  ('retrain.augment.pad', -1, 'at least 0'),
  ('retrain.augment.flip', None, 'True or False'),
  ('retrain.augment.cutout', -1, 'at least 0'),
  ('checkpoint.every', -1, 'at least 0'),
  ('checkpoint.keep', 0, 'at least 1'),
  ('log_every', 0, 'at least 1'),
  # Together with other keys.
  ('data.path', 'cifar', "'digits', a file 'x.npz', or 'tfds:NAME'"),
  ('data.path', 'nowhere/x.npz', 'no such file'),
  ('search.batch', 512, 'at most 500, the smaller part of source.examples = 1000'),
  ('search.lr_end', 0.5, 'at most search.lr = 0.025'),
  ('retrain.lr_end', 0.5, 'at most retrain.lr = 0.025'),
  ('search.augment.pad', 16, 'less than source.size = 16 pixels'),
  ('retrain.augment.cutout', 16, 'less than data.size = 16 pixels'),
]


@pytest.mark.parametrize(('key', 'value', 'allowed'), WRONG)
def test_wrong_value_is_named_with_what_is_allowed(key, value, allowed):
  with pytest.raises(ValueError, match='allowed:') as caught:
    lib.validate(changed(key, value), 1)
  message = str(caught.value)
  assert message.startswith(f'{key} = {value!r}')
  assert allowed in message
  assert '\n' not in message


def test_every_rule_is_tried():
  assert {key for key, _, _ in WRONG} | {'genotype'} == lib.RULES.keys()


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


def test_genotype_may_be_a_name_a_file_or_a_workdir(tmp_path):
  (tmp_path / 'genotype.json').write_text(json.dumps(GENOTYPE))
  for name in ('DARTS_V2', str(tmp_path / 'genotype.json'), str(tmp_path)):
    lib.validate(changed('genotype', name), 1)
  assert lib.load_genotype(str(tmp_path)).normal == (('skip_connect', 0), ('sep_conv_3x3', 1))
  (tmp_path / 'empty').mkdir()
  for name, message in (
    ('DARTS_V9', 'DARTS_V9.*PC_DARTS_cifar'),
    (str(tmp_path / 'empty'), 'folder without genotype.json'),
  ):
    with pytest.raises(ValueError, match=message):
      lib.validate(changed('genotype', name), 1)


def test_nothing_to_do_is_an_error():
  config = changed('genotype', 'DARTS_V2')
  config.retrain.epochs = 0
  with pytest.raises(ValueError, match='retrain.epochs = 0; .*nothing to do'):
    lib.validate(config, 1)


def test_images_too_small_for_the_auxiliary_head():
  config = changed('data.size', 4)
  with pytest.raises(ValueError, match='retrain.auxiliary = 0.4; allowed: 0 with data.size = 4'):
    lib.validate(config, 1)
  config.retrain.auxiliary = 0.0
  lib.validate(config, 1)
  config = changed('retrain.stem', 'imagenet')
  with pytest.raises(ValueError, match='more than 32 pixels'):
    lib.validate(config, 1)


def test_unknown_and_missing_keys():
  config = default.get_config('laptop')
  config.search.epoch = 3
  del config.search.clip
  with pytest.raises(ValueError, match='search.clip: missing') as caught:
    lib.validate(config, 1)
  assert 'search.epoch: no such key; the nearest is search.epochs' in str(caught.value)
  assert lib.unknown('epochs').endswith('search.epochs')
  assert lib.unknown('xyzzy') == 'no such key; see configs/default.py'


def contents(folder):
  return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_claim_writes_config_and_finds_it_again(tmp_path):
  workdir = tmp_path / 'runs' / 'noise'
  lib.claim_workdir(workdir, changed())
  held = contents(workdir)
  assert [path.name for path in held] == ['config.json']
  assert json.loads((workdir / 'config.json').read_text())['search']['augment']['pad'] == 2
  lib.claim_workdir(workdir, changed())
  assert contents(workdir) == held


def test_claim_refuses_another_config_and_touches_nothing(tmp_path):
  lib.claim_workdir(tmp_path, changed())
  held = contents(tmp_path)
  other = changed('search.epochs', 7)
  other.method.arch_betas = (0.9, 0.999)
  with pytest.raises(ValueError, match='holds the run of another config') as caught:
    lib.claim_workdir(tmp_path, other)
  message = str(caught.value)
  assert 'search.epochs: 5 there, 7 now' in message
  assert 'method.arch_betas: [0.5, 0.999] there, [0.9, 0.999] now' in message
  assert 'seed' not in message
  assert '--workdir' in message
  assert contents(tmp_path) == held


@pytest.mark.parametrize('text', ['{', '[]', '{"seed": 2}'])
def test_claim_refuses_a_strange_config_json(tmp_path, text):
  (tmp_path / 'config.json').write_text(text)
  with pytest.raises(ValueError, match='--workdir'):
    lib.claim_workdir(tmp_path, changed())
  assert (tmp_path / 'config.json').read_text() == text


def test_claim_refuses_a_folder_of_other_files(tmp_path):
  (tmp_path / 'thesis.tex').write_text('x')
  with pytest.raises(ValueError, match='holds files but no config.json'):
    lib.claim_workdir(tmp_path, changed())
  assert [path.name for path in tmp_path.iterdir()] == ['thesis.tex']


def test_claim_goes_on_after_a_kill_while_claiming(tmp_path):
  metrics.unfinished(tmp_path / 'config.json').write_text('{"se')
  lib.claim_workdir(tmp_path, changed())
  assert [path.name for path in tmp_path.iterdir()] == ['config.json']


def test_claim_of_what_cannot_be_written(tmp_path):
  (tmp_path / 'file').write_text('x')
  for workdir in (tmp_path / 'file', tmp_path / 'file' / 'below', '/proc/nothing/here'):
    with pytest.raises(ValueError, match='--workdir='):
      lib.claim_workdir(workdir, changed())


def test_to_json_is_the_whole_config():
  config = changed()
  found = json.loads(lib.to_json(config))
  expected = json.loads(json.dumps(config.to_dict()))
  assert found == expected
  assert np.isclose(found['method']['arch_lr'], 3e-4)
