"""What a user does wrong ends with one message and code 2, before any work, and loses nothing."""

import errno
import json
import os
import re

import jax
import numpy as np
import pytest
from stand_ins import GENERATED, NOISE, RETRAIN, contents, install, start

import unrealnas_jax
from unrealnas_jax import metrics, stop

REAL = '--config.source.name=real'
TABLE = '--config.benchmark.nasbench201_csv'


@pytest.fixture(autouse=True)
def calls(monkeypatch):
  def initialize():
    raise ValueError('coordinator_address should be defined.')

  monkeypatch.setattr(jax.distributed, 'initialize', initialize)
  return install(monkeypatch)


# Key, its value -> what the message must hold.
VALUES = [
  ('seed', '-1', 'seed = -1; allowed: a whole number from 0 to 2147483647'),
  ('seed', '99999999999999999999', 'allowed: a whole number from 0 to 2147483647'),
  ('seed', '', '--config.seed=; allowed: a whole number'),
  ('dtype', 'float16', "dtype = 'float16'; allowed: float32, bfloat16"),
  ('source.name', 'nosie', "source.name = 'nosie'; allowed: noise, fresh_noise"),
  ('source.examples', '1e3', 'source.examples=1e3; allowed: a whole number'),
  ('source.examples', '100000000000', 'source.examples = 100000000000; allowed: a whole number fr'),
  ('source.size', '1000000', 'source.size = 1000000; allowed: a whole number from 1 to 4096'),
  ('source.classes', '1', 'source.classes = 1; allowed: a whole number from 2'),
  ('method.arch_betas', '(0.5,)', 'method.arch_betas = (0.5,); allowed: two numbers'),
  ('search.space', 'dart', "search.space = 'dart'; allowed: darts"),
  ('search.channels', '100000000', 'search.channels = 100000000; allowed: a whole number from 1'),
  ('search.cells', '0', 'search.cells = 0; allowed: a whole number from 1'),
  ('search.batch', '8,16', '--config.search.batch=8,16; allowed: a whole number'),
  ('search.batch', '4096', 'search.batch = 4096; allowed: at most 500'),
  ('search.epochs', '-1', 'search.epochs = -1; allowed: a whole number'),
  ('search.lr', '-1', 'search.lr = -1.0; allowed: a number above 0'),
  ('search.lr', 'nan', 'search.lr = nan; allowed: a number above 0'),
  ('search.clip', 'inf', 'search.clip = inf; allowed: a number above 0'),
  ('search.lr_end', '1.0', 'search.lr_end = 1.0; allowed: at most search.lr = 0.025'),
  ('search.momentum', '1', 'search.momentum = 1.0; allowed: a number from 0 to below 1'),
  ('search.train_portion', '1', 'search.train_portion = 1.0; allowed: a number above 0 and below'),
  ('search.steps_per_call', '7', 'search.steps_per_call = 7; allowed: a divisor of the 15 steps'),
  ('search.augment.pad', '99', 'search.augment.pad = 99; allowed: less than source.size = 16'),
  ('search.augment.flip', 'maybe', '--config.search.augment.flip=maybe; allowed: True or False'),
  ('retrain.stem', 'vgg', "retrain.stem = 'vgg'; allowed: cifar, imagenet"),
  ('retrain.drop_path', '1', 'retrain.drop_path = 1.0; allowed: a number from 0 to below 1'),
  ('retrain.auxiliary', '-0.4', 'retrain.auxiliary = -0.4; allowed: a number of at least 0'),
  ('checkpoint.keep', '0', 'checkpoint.keep = 0; allowed: a whole number of at least 1'),
  ('log_every', '0', 'log_every = 0; allowed: a whole number of at least 1'),
  ('data.path', 'images.csv', "data.path = 'images.csv'; allowed: 'digits', a file 'x.npz'"),
  ('data.path', 'tfds:', "data.path = 'tfds:'; allowed: 'digits', a file 'x.npz'"),
  ('data.path', 'tfds:nope', 'data.path tfds:nope: no files in'),
  ('data.size', '-8', 'data.size = -8; allowed: a whole number from 0'),
]
TOO_MANY = ['--coordinator=localhost:1', '--processes=2', '--process=2']
SECOND_ORDER = (f'--config={NOISE}', '--config.method.order=2')
PERTURBED = [f'--config={NOISE}', '--config.method.selection=perturbation']
TOGETHER = '--config.seeds=(1,2)', '--config.seeds_together=2'
# What is given beside --workdir -> what the message must hold.
BAD = [
  ([], '--config=FILE is missing'),
  (['--config=nowhere.py'], 'nowhere.py'),
  (['--config=nowhere.py', '--config.seed=1'], 'nowhere.py'),
  ([f'--config={NOISE}:huge'], '--config=FILE:huge; allowed after the colon: auto, laptop, paper'),
  ([f'--config={NOISE}', '--config.typo=1'], '--config.typo: no such key'),
  ([f'--config={NOISE}', '--config.search.epoch=1'], 'the nearest is search.epochs'),
  ([f'--config={NOISE}', '--config.epochs', '1'], 'the nearest is search.epochs'),
  ([f'--config={NOISE}', '--config.serach.lr=1'], 'the nearest is search.lr'),
  ([f'--config={NOISE}', '--config.seed.x=1'], '--config.seed.x: no such key'),
  ([f'--config={NOISE}', '--confg.seed=1'], "Unknown command line flag 'confg.seed'"),
  ([f'--config={NOISE}', '--config.search.lr=abc'], '--config.search.lr=abc; allowed: a number'),
  ([f'--config={NOISE}', '--config.search.epochs=1.5'], 'search.epochs=1.5; allowed: a whole'),
  ([f'--config={NOISE}', '--config.search=3'], '--config.search=3'),
  ([f'--config={NOISE}', '--config.scale=paper'], '--config=FILE:SCALE chooses it'),
  ([f'--config={NOISE}', 'seed=3'], "'seed=3' is no flag"),
  ([f'--config={NOISE}', '--config.method.name=drats'], "method.name = 'drats'; allowed: darts"),
  *(
    ([f'--config={NOISE}', '--config.method.name=rlnas', f'--config.method.{key}={value}'], message)
    for key, value, message in (
      ('selection', 'perturbation', "'alphas' with method.name = 'rlnas', which has no alphas"),
      (
        'eigenvalue.every',
        '1',
        "method.eigenvalue.every = 1; allowed: 0 with method.name = 'rlnas'",
      ),
      ('max_skips', '2', "method.max_skips = 2; allowed: 8 with method.name = 'rlnas'"),
      ('rlnas.search', 'exhaustive', "'evolution' with search.space = 'darts', which has too many"),
      ('evolution.mutations', '26', '= 51; allowed: at most method.evolution.population = 50'),
    )
  ),
  (
    [f'--config={NOISE}', '--config.method.warmup_epochs=5', '--config.search.epochs=5'],
    'method.warmup_epochs = 5; allowed: less than search.epochs = 5',
  ),
  ([f'--config={NOISE}', '--config.seeds_together=2'], '1, or as many as there are in seeds = ()'),
  ([*PERTURBED, '--config.method.eigenvalue.every=1'], "0 with method.selection = 'perturbation'"),
  ([*PERTURBED, *TOGETHER], '1 with stages, method.eig'),
  *(
    ([f'--config={NOISE}', f'--config.method.name={name}', *TOGETHER], message)
    for name, message in (('gdas', "1 with method.name = 'gdas'"), ('random', "= 'random': sear"))
  ),
  (
    [*SECOND_ORDER, '--config.method.hvp=exact', *TOGETHER],
    "1 with method.hvp = 'exact'",
  ),
  ([f'--config={NOISE}', '--config.search.batch=30'], 'number of devices, 4'),
  ([f'--config={NOISE}', '--config.data.path=x.npz'], "data.path = 'x.npz'; no such file"),
  ([f'--config={NOISE}', '--config.genotype=DARTS_V9'], "genotype='DARTS_V9'"),
  ([f'--config={RETRAIN}'], 'genotype = None; allowed:'),
  (
    [f'--config={GENERATED}', '--config.source.generator=nowhere'],
    "source.generator = 'nowhere' holds no generator; allowed: the workdir of a finished run",
  ),
  *(([f'--config={NOISE}', f'--config.{key}={value}'], message) for key, value, message in VALUES),
  ([f'--config={NOISE}', '--config.seed'], '--config.seed=--workdir='),
  ([f'--config={NOISE}', '--config.retrain.epochs=0', '--config.genotype=PDARTS'], 'nothing to do'),
  ([f'--config={NOISE}', '--process=1'], '--coordinator, --processes: missing; allowed: all of'),
  ([f'--config={NOISE}', '--processes=0'], '--processes=0: 0 is not a positive integer'),
  ([f'--config={NOISE}', *TOO_MANY], '--process=2; allowed: less than --processes=2'),
  ([f'--config={NOISE}', '--distributed'], '--distributed: JAX finds no other processes here'),
  ([f'--config={NOISE}', '--config.genotype=|none~0|'], 'names 1 nodes; allowed: 3 as in |op~0|+'),
  ([f'--config={NOISE}', f'{TABLE}=x.csv'], "x.csv'; allowed: '' unless search.space"),
]


def assert_refused(capsys, calls, message, workdir):
  """One message on stderr, nothing run and nothing written."""
  out, err = capsys.readouterr()
  assert out == ''
  assert err.startswith('error: ')
  assert message in err
  assert err.count('\n') == 1
  assert calls == []
  assert not workdir.exists()


@pytest.mark.parametrize(('args', 'message'), BAD)
def test_bad_input_is_one_message_and_code_2(tmp_path, capsys, calls, args, message):
  assert start(*args, f'--workdir={tmp_path}/run') == 2
  assert_refused(capsys, calls, message, tmp_path / 'run')


def write_npz(path, images=40, **changes):
  x, y = np.zeros((images, 8, 8), np.uint8), np.arange(images) % 2
  np.savez(path, **({'x_train': x, 'y_train': y, 'x_test': x[:6], 'y_test': y[:6]} | changes))
  return f'--config.data.path={path}'


SMALL = ('--config.search.batch=8', '--config.retrain.batch=8', '--config.data.size=0')
# What the data is -> what the message must hold; all of it is found before the search.
BAD_DATA = [
  ({}, ['--config.retrain.batch=48'], 'retrain.batch = 48; allowed: at most 40'),
  ({}, ['--config.search.batch=24', REAL], 'search.batch = 24; allowed: at most 20, the smaller'),
  ({}, ['--config.search.steps_per_call=4', REAL], 'steps_per_call = 4; allowed: a divisor of t'),
  ({}, ['--config.retrain.augment.pad=8'], 'retrain.augment.pad = 8; allowed: less than the sm'),
  ({'y_test': np.zeros((6, 14), int)}, [], 'y_test is of shape [6, 14]; allowed: class labels'),
  ({'x_train': np.full((40, 8, 8), np.nan)}, [], 'x_train is not finite'),
  ({}, ['--config.data.path=tfds:mnist'], "pip install -e '.[prepare]' &&"),
]


@pytest.mark.parametrize(('changes', 'args', 'message'), BAD_DATA)
def test_bad_data_is_found_first_and_the_workdir_stays_free(
  tmp_path, capsys, calls, changes, args, message
):
  npz, run = tmp_path / 'x.npz', [f'--config={NOISE}', f'--workdir={tmp_path}/run', *SMALL]
  args = [*run, write_npz(npz, **changes), f'--config.data.tfds_dir={tmp_path}', *args]
  assert start(*args) == 2
  assert_refused(capsys, calls, message, tmp_path / 'run')
  assert start(*run, write_npz(npz)) == 0
  assert [call[0] for call in calls] == ['s', 'retrain']


def test_a_bad_table_is_found_first(tmp_path, capsys, calls):
  (tmp_path / 'x.csv').write_text('arch,accuracy\n')
  cell = '|none~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|'
  args = [f'--config={RETRAIN}', f'--config.genotype={cell}', f'{TABLE}={tmp_path}/x.csv']
  args += ['--config.retrain.auxiliary=0', '--config.retrain.drop_path=0']
  assert start(*args, f'--workdir={tmp_path}/run') == 2
  assert_refused(capsys, calls, "x.csv' lacks the columns c100_test_200ep", tmp_path / 'run')


def test_data_that_went_bad_leaves_the_run_as_it_was(tmp_path, capsys):
  args = [f'--config={NOISE}', f'--workdir={tmp_path}/run', *SMALL, write_npz(tmp_path / 'x.npz')]
  assert start(*args) == 0
  (tmp_path / 'run' / 'result.json').unlink()  # as if it had been killed before its end
  (tmp_path / 'x.npz').write_bytes(b'x')
  held = contents(tmp_path)
  capsys.readouterr()
  assert start(*args) == 2
  assert 'not a zip archive' in capsys.readouterr().err
  assert contents(tmp_path) == held


def test_workdir_of_another_config_is_left_alone(tmp_path, capsys):
  args = (f'--config={NOISE}', f'--workdir={tmp_path}')
  start(*args)
  held = contents(tmp_path)
  capsys.readouterr()
  assert start(*args, '--config.search.epochs=7') == 2
  assert 'search.epochs: 5 there, 7 now' in capsys.readouterr().err
  assert contents(tmp_path) == held


def test_workdir_of_a_run_stopped_at_once_is_free(tmp_path, monkeypatch, calls):
  def killed(*args):
    raise KeyboardInterrupt

  args = (f'--config={NOISE}', f'--workdir={tmp_path}/run')
  with monkeypatch.context() as patch:
    patch.setattr(unrealnas_jax.search, 'run', killed)
    assert start(*args) == stop.EXIT_CODE
  assert start(*args, '--config.search.epochs=7') == 0
  assert json.loads((tmp_path / 'run' / 'config.json').read_text())['search']['epochs'] == 7


def test_workdir_that_cannot_be_written(tmp_path, capsys):
  (tmp_path / 'file').write_text('x')
  assert start(f'--config={NOISE}', f'--workdir={tmp_path}/file/run') == 2
  assert '--workdir=' in capsys.readouterr().err


def test_faults_of_the_program_keep_their_trace(tmp_path, monkeypatch):
  def broken(*args):
    np.zeros(3) + np.zeros(4)

  def refuses(*args):
    metrics.open(tmp_path, 'search', 0)

  args = (f'--config={NOISE}', f'--workdir={tmp_path}/run')
  monkeypatch.setattr(unrealnas_jax.search, 'run', broken)
  with pytest.raises(ValueError, match='broadcast'):
    start(*args)
  # The same kind of error from within the package is the user's.
  (tmp_path / 'metrics.jsonl').write_text('x\n')
  monkeypatch.setattr(unrealnas_jax.search, 'run', refuses)
  assert start(*args) == 2


@pytest.mark.parametrize(
  'error',
  [
    MemoryError('Unable to allocate 9 TiB'),
    jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: 9 TiB'),
  ],
)
def test_too_little_memory_is_told_without_a_trace(tmp_path, monkeypatch, capsys, error):
  def large(*args):
    raise error

  monkeypatch.setattr(unrealnas_jax.search, 'run', large)
  assert start(f'--config={NOISE}', f'--workdir={tmp_path}/run') == 2
  err = capsys.readouterr().err
  assert re.fullmatch(r'error: not enough memory \(.*9 TiB\); allowed: smaller .*\n', err)


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_disk_that_fails_is_told_without_a_trace(tmp_path, monkeypatch, capsys, number):
  def fails(*args):
    raise OSError(number, os.strerror(number), 'metrics.jsonl')

  monkeypatch.setattr(unrealnas_jax.search, 'run', fails)
  assert start(f'--config={NOISE}', f'--workdir={tmp_path}/run') == 2
  text = f"error: [Errno {number}] {os.strerror(number)}: 'metrics.jsonl'\n"
  assert capsys.readouterr().err == text
