"""The program as a user starts it, on a search and a retraining of seconds, and what it leaves.

All share one cache of compiled code, so each program is compiled once in a run of the tests.
"""

import json
import os
import pathlib
import sys

import numpy as np
import orbax.checkpoint as ocp
import quick_compile
import quick_run

ROOT = pathlib.Path(__file__).parent.parent
CONFIG = str(ROOT / 'tests' / 'quick_run.py')
MAIN = ('-m', 'unrealnas_jax.main')
# The same without its report, whose figures take seconds to draw.
NO_REPORT = """
from absl import app
from unrealnas_jax import main

main.report = lambda workdir: None
app.run(main.main, flags_parser=main.parse)
"""
UNREPORTED = ('-c', NO_REPORT)
SEARCH_ONLY = '--config.retrain.epochs=0'
ONE_CELL = '--config.search.cells=1'


def environment(cache, devices=1):
  """Of a program with so many CPU devices; cache: the folder of compiled code."""
  return {
    **os.environ,
    'PYTHONPATH': str(ROOT),
    'JAX_PLATFORMS': 'cpu',
    'JAX_NUM_CPU_DEVICES': str(devices),
    'JAX_COMPILATION_CACHE_DIR': str(cache),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
    'XLA_FLAGS': quick_compile.FLAGS,
  }


def write_images(folder):
  """The flag that names the images, which are written to a folder."""
  path = folder / 'x.npz'
  np.savez(path, **quick_run.images())
  return f'--config.data.path={path}'


def command(workdir, *args, program=UNREPORTED, config=CONFIG):
  """The command line of a run."""
  return [sys.executable, *program, f'--config={config}', f'--workdir={workdir}', *args]


def lines(workdir):
  """What metrics.jsonl holds."""
  return [json.loads(line) for line in (workdir / 'metrics.jsonl').read_text().splitlines()]


def result(workdir):
  """What result.json says, without times."""
  values = json.loads((workdir / 'result.json').read_text())
  return {name: value for name, value in values.items() if not name.endswith('_seconds')}


def saved(workdir, phase='search'):
  """Steps of the checkpoints that are whole."""
  folder = workdir / 'checkpoints' / phase
  return sorted(int(path.name) for path in folder.glob('*') if path.name.isdigit())


def last_state(workdir, phase='search'):
  """(step, {path: array}) of the newest checkpoint, whatever devices it was saved by."""
  step = saved(workdir, phase)[-1]
  path = workdir / 'checkpoints' / phase / f'{step}' / 'default'
  with ocp.PyTreeCheckpointer() as reader:
    names = reader.metadata(path).item_metadata.tree
    as_numpy = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in names}
    return step, reader.restore(path, ocp.args.PyTreeRestore(restore_args=as_numpy))


def assert_finite_ends(workdir, steps):
  """Search and retraining came to `steps`, with finite states and a finite loss of every step."""
  for phase in ('search', 'retrain'):
    step, state = last_state(workdir, phase)
    assert step == steps
    assert all(np.isfinite(x).all() for x in state.values())
  losses = [line[x] for line in lines(workdir) for x in line if x.endswith('loss')]
  assert len(losses) == 2 * steps + steps
  assert np.isfinite(losses).all()
