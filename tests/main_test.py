"""The main job as a user starts it: what it prints and leaves, and what it goes on with."""

import json
import os
import shlex
import signal
import subprocess
import sys

import pytest
import stand_in_table
from stand_ins import (
  FOUND,
  GENERATED,
  NOISE,
  RETRAIN,
  ROOT,
  TRAIN_GENERATOR,
  contents,
  install,
  start,
)

import unrealnas_jax
from unrealnas_jax import genotype, main, stop


@pytest.fixture(autouse=True)
def calls(monkeypatch):
  return install(monkeypatch)


def test_summary_and_result(tmp_path, capsys, calls):
  assert start(f'--config={NOISE}', f'--workdir={tmp_path}/run') == 0
  assert calls == ['search', ('retrain', FOUND)]
  assert capsys.readouterr().out.splitlines() == [
    f'genotype       {genotype.to_text(FOUND)}',
    'parameters     3,169,414',
    'multiply-adds  500,951,712',
    'search         12.3 s',
    'retrain        2.0 s',
    'test accuracy  97.50%',
    f'written        {tmp_path}/run/result.json',
    f'written        {tmp_path}/run/genotype.json',
    f'written        {tmp_path}/run/config.json',
    f'written        {tmp_path}/run/checkpoints',
  ]
  result = json.loads((tmp_path / 'run' / 'result.json').read_text())
  assert result['test_accuracy'] == 0.975
  assert result['scale'] == 'laptop'
  assert genotype.from_text(result['genotype']) == FOUND


def test_finished_run_says_so_and_does_nothing(tmp_path, capsys, calls):
  args = (f'--config={NOISE}', f'--workdir={tmp_path}/run')
  start(*args)
  summary = capsys.readouterr().out
  held = contents(tmp_path)
  calls.clear()
  assert start(*args) == 0
  assert calls == []
  assert contents(tmp_path) == held
  out = capsys.readouterr().out
  assert 'holds this run, finished' in out
  assert out.endswith(summary)


def test_given_genotype_is_retrained_without_search(tmp_path, calls):
  args = (f'--config={RETRAIN}', f'--workdir={tmp_path}/run')
  assert start(*args, '--config.genotype=PC_DARTS_cifar') == 0
  assert calls == [('retrain', genotype.PUBLISHED['PC_DARTS_cifar'])]
  kept = genotype.load(str(tmp_path / 'run' / 'genotype.json'))
  assert kept == genotype.PUBLISHED['PC_DARTS_cifar']


def test_generator_is_trained_in_place_of_a_search(tmp_path, capsys, calls):
  assert start(f'--config={TRAIN_GENERATOR}', f'--workdir={tmp_path}/run') == 0
  assert calls == [('generator', FOUND)]
  assert capsys.readouterr().out.splitlines() == [
    'generator      3.0 s',
    'GAN-train      50.00% (trained on generated, tested on real images)',
    f'written        {tmp_path}/run/result.json',
    f'written        {tmp_path}/run/config.json',
  ]
  result = json.loads((tmp_path / 'run' / 'result.json').read_text())
  assert result['scale'] == 'laptop'


def test_a_finished_run_needs_nothing_that_it_was_made_of(tmp_path, capsys, calls):
  file = tmp_path / 'genotype.json'
  file.write_text(genotype.to_json(FOUND))
  args = (f'--config={RETRAIN}', f'--workdir={tmp_path}/run', f'--config.genotype={file}')
  assert start(*args) == 0
  file.unlink()
  assert start(*args) == 0
  assert 'holds this run, finished' in capsys.readouterr().out
  assert len(calls) == 1


def test_a_run_that_goes_on_keeps_its_genotype(tmp_path, calls, monkeypatch):
  file = tmp_path / 'genotype.json'
  file.write_text(genotype.to_json(FOUND))
  args = (f'--config={RETRAIN}', f'--workdir={tmp_path}/run', f'--config.genotype={file}')

  def killed(*args):
    raise KeyboardInterrupt

  with monkeypatch.context() as patch:
    patch.setattr(unrealnas_jax.retrain, 'run', killed)
    assert start(*args) == stop.EXIT_CODE
  file.write_text(genotype.to_json(genotype.PUBLISHED['DARTS_V1']))
  assert start(*args) == 0
  assert calls == [('retrain', FOUND)]


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_run_with_the_command_that_goes_on(tmp_path, capsys, monkeypatch, number):
  monkeypatch.setattr(unrealnas_jax.search, 'run', lambda *args: os.kill(os.getpid(), number))
  handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
  assert start(f'--config={NOISE}', f'--workdir={tmp_path}/run') == stop.EXIT_CODE == 75
  assert capsys.readouterr().err == f'stopped; to go on: {shlex.join(sys.orig_argv)}\n'
  assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers


CELL = '|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|'
OF_A_CELL = (
  f'--config.genotype={CELL}',
  '--config.retrain.auxiliary=0',
  '--config.retrain.drop_path=0',
)


def test_a_nasbench201_cell_is_retrained_and_looked_up(tmp_path, capsys, calls):
  cell, values = genotype.load(CELL), stand_in_table.accuracies()
  values[stand_in_table.CELLS.index(cell)] = 95, 72.25, 0.5  # the best, the best, the last
  table = stand_in_table.write(tmp_path / 'x.csv.gz', values)
  args = (f'--config={RETRAIN}', *OF_A_CELL, f'--config.benchmark.nasbench201_csv={table}')
  assert start(*args, f'--workdir={tmp_path}/run') == 0
  assert calls == [('retrain', cell)]
  assert genotype.load(str(tmp_path / 'run' / 'genotype.json')) == cell
  result = json.loads((tmp_path / 'run' / 'result.json').read_text())
  assert result['genotype'] == CELL
  assert result['test_accuracy'] == 0.975
  better = int((values[:, 1] > 72.25).sum())
  assert result['nasbench201_cifar100']['rank'] == 1 + better
  assert result['nasbench201_imagenet16_120'] == {
    'accuracy_percent': 0.5,
    'rank': 15_625,
    'cells': 15_625,
    'regret_points': round(values[:, 2].max() - 0.5, 4),
  }
  out = capsys.readouterr().out
  line = 'cifar10        95.00 % in the table, rank 1 of 15,625, 0.00 points below the best'
  assert line in out.splitlines()

  # Without retraining, and from the workdir of that run.
  calls.clear()
  args = (*args, '--config.retrain.epochs=0', f'--config.genotype={tmp_path}/run/genotype.json')
  assert start(*args, f'--workdir={tmp_path}/looked_up') == 0
  assert calls == []
  found = json.loads((tmp_path / 'looked_up' / 'result.json').read_text())
  assert found['nasbench201_cifar100'] == result['nasbench201_cifar100']
  assert 'test_accuracy' not in found


def test_search_alone(tmp_path, capsys, calls):
  args = (f'--config={NOISE}', f'--workdir={tmp_path}/run', '--config.retrain.epochs=0')
  assert start(*args) == 0
  assert calls == ['search']
  assert 'test accuracy' not in capsys.readouterr().out


def test_genotype_of_an_earlier_workdir_is_that_of_its_checkpoint(tmp_path, calls):
  search = (f'--config={NOISE}', f'--workdir={tmp_path}/search', '--config.seed=5')
  start(*search, '--config.retrain.epochs=0')
  (tmp_path / 'search' / 'genotype.json').unlink()
  held = contents(tmp_path / 'search')
  args = (f'--config={RETRAIN}', f'--workdir={tmp_path}/retrain')
  assert start(*args, f'--config.genotype={tmp_path}/search') == 0
  assert calls == ['search', ('restore', f'{tmp_path}/search', 5), ('retrain', FOUND)]
  assert contents(tmp_path / 'search') == held


def test_workdir_is_named_after_the_config(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert start(f'--config={NOISE}') == 0
  assert (tmp_path / 'runs' / 'noise' / 'result.json').exists()
  assert start(f'--config={NOISE}:laptop,digits') == 0
  assert (tmp_path / 'runs' / 'noise_laptop_digits' / 'result.json').exists()


@pytest.mark.parametrize(
  'choice', ['', ':laptop', ':laptop,cifar10', ':paper,imagenet', ':chexpert,paper']
)
def test_a_search_takes_the_generator_that_the_same_choice_trains(monkeypatch, choice):
  started = []
  monkeypatch.setattr(main, 'run', lambda *args: started.append(args))
  assert start(f'--config={TRAIN_GENERATOR}{choice}') == 0
  assert start(f'--config={GENERATED}{choice}') == 0
  (_, workdir), (config, _) = started
  assert config.source.generator == workdir


def test_distributed_starts_before_the_config_asks_for_devices(tmp_path, monkeypatch):
  order = []
  monkeypatch.setattr(main.jax.distributed, 'initialize', lambda *args: order.append('initialize'))
  backend = main.jax.default_backend
  monkeypatch.setattr(main.jax, 'default_backend', lambda: order.append('backend') or backend())
  args = (f'--config={NOISE}', '--config.seed', '3', f'--workdir={tmp_path}/run')
  assert start(*args, '--distributed') == 0
  assert order[:2] == ['initialize', 'backend']
  order.clear()
  assert start(f'--config={NOISE}', f'--workdir={tmp_path}/other', '--nodistributed') == 0
  assert 'initialize' not in order


def program(*args, **kwargs):
  environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'}
  return subprocess.run(
    [sys.executable, *args], env=environment, capture_output=True, text=True, timeout=100, **kwargs
  )


def test_started_as_a_program_from_another_folder(tmp_path):
  ended = program('-m', 'unrealnas_jax.main', f'--config={NOISE}', '--config.seed=x', cwd=tmp_path)
  assert ended.returncode == 2
  assert ended.stderr == 'error: --config.seed=x; allowed: a whole number from 0 to 2147483647\n'
  assert ended.stdout == ''
  assert list(tmp_path.iterdir()) == []


def test_import_of_the_package_is_light():
  code = 'import unrealnas_jax, sys; print(unrealnas_jax.__version__, "jax" in sys.modules)'
  assert program('-c', code).stdout.split() == [unrealnas_jax.__version__, 'False']
  code = (
    'import unrealnas_jax.main; from jax._src import xla_bridge; '
    'print(xla_bridge.backends_are_initialized())'
  )
  assert program('-c', code).stdout.split() == ['False']
