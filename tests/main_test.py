"""The main job as a user starts it: what it prints and leaves, and how it answers bad input."""

import json
import os
import pathlib
import subprocess
import sys
import types

import numpy as np
import pytest
from absl import flags

import unrealnas_jax
from unrealnas_jax import genotype, main, metrics

ROOT = pathlib.Path(__file__).parent.parent
NOISE = str(ROOT / 'configs' / 'noise.py')
RETRAIN = str(ROOT / 'configs' / 'retrain.py')
FOUND = genotype.PUBLISHED['DARTS_V2']


@pytest.fixture(autouse=True)
def calls(monkeypatch):
  """Search and retraining that do nothing but say what they were given."""
  calls = []

  def search(config, workdir):
    calls.append('search')
    pathlib.Path(workdir, 'genotype.json').write_text(genotype.to_json(FOUND))
    return FOUND, {'search_seconds': 12.34}

  def retrain(config, given, workdir):
    calls.append(('retrain', given))
    facts = {'parameters': 3169414, 'multiply_adds': 500951712, 'retrain_seconds': 2.0}
    return {**facts, 'test_accuracy': np.float32(0.975)}

  modules = {
    'search': types.SimpleNamespace(run=search),
    'retrain': types.SimpleNamespace(run=retrain),
  }
  if not (ROOT / 'unrealnas_jax' / 'methods' / '__init__.py').exists():
    modules['methods'] = types.SimpleNamespace(METHODS={'darts': None})
  for name, module in modules.items():
    monkeypatch.setitem(sys.modules, f'unrealnas_jax.{name}', module)
    monkeypatch.setattr(unrealnas_jax, name, module, raising=False)
  monkeypatch.setattr(main, '_set_up_log', lambda: None)
  return calls


def start(*args):
  """The exit code of the program started with these arguments."""
  values = flags.FlagValues()
  try:
    return main.main(main.parse(['main', *args], values), values)
  except SystemExit as end:
    return end.code


def contents(folder):
  return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


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


def test_search_alone(tmp_path, capsys, calls):
  args = (f'--config={NOISE}', f'--workdir={tmp_path}/run', '--config.retrain.epochs=0')
  assert start(*args) == 0
  assert calls == ['search']
  assert 'test accuracy' not in capsys.readouterr().out


def test_genotype_of_an_earlier_workdir(tmp_path, calls):
  start(f'--config={NOISE}', f'--workdir={tmp_path}/search', '--config.retrain.epochs=0')
  args = (f'--config={RETRAIN}', f'--workdir={tmp_path}/retrain')
  assert start(*args, f'--config.genotype={tmp_path}/search') == 0
  assert calls == ['search', ('retrain', FOUND)]


def test_workdir_is_named_after_the_config(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert start(f'--config={NOISE}:laptop') == 0
  assert (tmp_path / 'runs' / 'noise' / 'result.json').exists()


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
  ([f'--config={NOISE}', '--config.search.batch=30'], 'number of devices, 4'),
  ([f'--config={NOISE}', '--config.data.path=x.npz'], "data.path = 'x.npz'; no such file"),
  ([f'--config={NOISE}', '--config.genotype=DARTS_V9'], "genotype='DARTS_V9'"),
  ([f'--config={RETRAIN}'], 'genotype = None; allowed:'),
]


@pytest.mark.parametrize(('args', 'message'), BAD)
def test_bad_input_is_one_message_and_code_2(tmp_path, capsys, calls, args, message):
  assert start(*args, f'--workdir={tmp_path}/run') == 2
  out, err = capsys.readouterr()
  assert out == ''
  assert err.startswith('error: ')
  assert message in err
  assert err.count('\n') == 1
  assert calls == []
  assert not (tmp_path / 'run').exists()


def test_workdir_of_another_config_is_left_alone(tmp_path, capsys):
  args = (f'--config={NOISE}', f'--workdir={tmp_path}')
  start(*args)
  held = contents(tmp_path)
  capsys.readouterr()
  assert start(*args, '--config.search.epochs=7') == 2
  assert 'search.epochs: 5 there, 7 now' in capsys.readouterr().err
  assert contents(tmp_path) == held


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


def test_a_full_disk_is_told_without_a_trace(tmp_path, monkeypatch, capsys):
  def full(*args):
    raise OSError(28, 'No space left on device', 'metrics.jsonl')

  monkeypatch.setattr(unrealnas_jax.search, 'run', full)
  assert start(f'--config={NOISE}', f'--workdir={tmp_path}/run') == 2
  assert 'No space left on device' in capsys.readouterr().err


def test_distributed_starts_before_the_config_asks_for_devices(tmp_path, monkeypatch):
  order = []
  monkeypatch.setattr(main.jax.distributed, 'initialize', lambda: order.append('initialize'))
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
