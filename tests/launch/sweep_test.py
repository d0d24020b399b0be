"""launch/sweep.py: the points of a grid, the exact commands, and runs here and on Ray."""

import importlib.util
import json
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
SPEC = importlib.util.spec_from_file_location('sweep', ROOT / 'launch' / 'sweep.py')
sweep = sys.modules['sweep'] = importlib.util.module_from_spec(SPEC)  # where Ray looks for it
SPEC.loader.exec_module(sweep)

MAIN = f'{sys.executable} -m unrealnas_jax.main'
# Stands in for unrealnas_jax.main: notes its flags, and ends as its seed says.
PROGRAM = """
import json, os, pathlib, signal, sys
flags = dict(flag.lstrip('-').split('=', 1) for flag in sys.argv[1:])
folder = pathlib.Path(flags['workdir'])
folder.mkdir(parents=True)
print('seed', flags['config.seed'])
if flags['config.seed'] == '7':
  sys.exit(75)
if flags['config.seed'] == '8':
  os.kill(os.getppid(), signal.SIGINT)
(folder / 'flags.json').write_text(json.dumps(flags))
(folder / 'result.json').write_text(json.dumps({'test_accuracy': 0.5}))
"""


def test_points_are_all_combinations():
  grid = ['seed=0,1', 'method.arch_betas=(0.5, 0.9),(0.9, 0.99)', 'search.lr=0.1']
  found = sweep.points(grid)
  assert [list(point.values()) for point in found] == [
    ['0', '(0.5, 0.9)', '0.1'],
    ['0', '(0.9, 0.99)', '0.1'],
    ['1', '(0.5, 0.9)', '0.1'],
    ['1', '(0.9, 0.99)', '0.1'],
  ]
  assert list(found[0]) == ['seed', 'method.arch_betas', 'search.lr']


@pytest.mark.parametrize(
  ('args', 'message'),
  [
    (['--grid=sede=1'], '--grid=sede=1: no such key; the nearest is seed'),
    (['--grid=seed'], '--grid=seed; allowed: KEY=VALUE,VALUE'),
    (['--grid=seed=1', '--grid=seed=2'], '--grid=seed=2; allowed: KEY=VALUE,VALUE,... once'),
    (['--grid=seed=1', '--workdir=gs://b/x'], '--workdir=gs://b/x cannot hold the logs'),
    (['--grid=seed=1', '--parallel=0'], '--parallel=0; allowed: at least 1'),
  ],
)
def test_wrong_arguments_are_one_message(capsys, args, message):
  assert sweep.main(['--config=c.py', '--workdir=w', *args]) == 2
  assert capsys.readouterr().err.startswith(f'error: {message}')


def test_a_dry_run_prints_the_exact_commands(capsys):
  args = ['--config=configs/noise.py:laptop', '--workdir=runs/lr/', '--dry_run']
  grid = ['--grid=search.lr=0.01,0.025', '--grid=method.arch_betas=(0.5, 0.9)']
  assert sweep.main([*args, *grid, '--', '--config.search.epochs=2']) == 0
  ends = "'--config.method.arch_betas=(0.5, 0.9)' --config.search.epochs=2"
  config = '--config=configs/noise.py:laptop'
  assert capsys.readouterr().out.splitlines() == [
    f'{MAIN} --workdir=runs/lr/search.lr={lr},method.arch_betas=_0.5,_0.9 {config} '
    f'--config.search.lr={lr} {ends}'
    for lr in ('0.01', '0.025')
  ]


def test_a_dry_run_on_tpus(capsys):
  args = ['--config=configs/noise.py', '--workdir=gs://b/Seeds', '--logs=logs', '--on=tpu']
  assert sweep.main([*args, '--tpu=--type=v4-8', '--grid=seed=0,1', '--dry_run']) == 0
  assert capsys.readouterr().out.splitlines() == [
    f'bash {ROOT}/launch/tpu.sh keep --name=seeds-seed-{seed} --workdir=gs://b/Seeds/seed={seed} '
    f'--type=v4-8 -- --config=configs/noise.py --config.seed={seed}'
    for seed in (0, 1)
  ]


@pytest.mark.parametrize('place', ['here', 'ray'])
def test_runs_and_says_how_each_ended(tmp_path, capsys, monkeypatch, place):
  if place == 'ray':
    pytest.importorskip('ray', reason="needs pip install -e '.[ray]'")
  program = tmp_path / 'program.py'
  program.write_text(PROGRAM)
  monkeypatch.setattr(sweep, 'MAIN', [sys.executable, str(program)])
  args = ['--config=c.py', f'--workdir={tmp_path}/runs', f'--on={place}', '--parallel=2']
  assert sweep.main([*args, '--grid=seed=5,6,7', '--', '--config.log_every=3']) == 1
  told = [line for line in capsys.readouterr().out.splitlines() if line.startswith('seed=')]
  assert sorted(told) == [
    'seed=5: test accuracy 50.00%',
    'seed=6: test accuracy 50.00%',
    f'seed=7: exit code 75, see {tmp_path}/runs/seed=7.log',
  ]
  for seed in ('5', '6'):
    assert json.loads((tmp_path / f'runs/seed={seed}/flags.json').read_text()) == {
      'workdir': f'{tmp_path}/runs/seed={seed}',
      'config': 'c.py',
      'config.seed': seed,
      'config.log_every': '3',
    }
    assert (tmp_path / f'runs/seed={seed}.log').read_text() == f'seed {seed}\n'


def test_a_sweep_that_is_stopped_starts_no_more(tmp_path, capsys, monkeypatch):
  program = tmp_path / 'program.py'
  program.write_text(PROGRAM)
  monkeypatch.setattr(sweep, 'MAIN', [sys.executable, str(program)])
  args = ['--config=c.py', f'--workdir={tmp_path}/runs', '--grid=seed=8,5,6']
  assert sweep.main(args) == 75
  assert 'the same command goes on' in capsys.readouterr().err
  assert not (tmp_path / 'runs' / 'seed=6.log').exists()
