"""A search by two processes: stopped and resumed, it ends as one process with all devices does.

Two processes of two devices are told to stop. What they saved is resumed by two processes, and by
one process of 1, 2 and 8 devices; all must agree with a search of one process with 4 devices.
"""

import concurrent.futures
import functools
import re
import shutil
import signal
import socket
import subprocess
import time

import jax
import numpy as np
import programs
import pytest

RESUMED = {'two processes': (2, 2), 'one device': (1, 1), 'two devices': (1, 2), 'eight': (1, 8)}

# unrealnas_jax.main, which tells of each file that Python makes or changes below the workdir.
AUDITED = """
import os, sys
from absl import app

workdir = next(arg for arg in sys.argv if arg.startswith('--workdir=')).partition('=')[2]
CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT

def tell(event, args):
  changes = event in ('os.mkdir', 'os.rename', 'os.remove', 'os.rmdir', 'os.truncate')
  if changes or (event == 'open' and args[2] & CHANGES):
    if str(args[0]).startswith(workdir):
      print('CHANGED', event, args[0], file=sys.stderr)

sys.addaudithook(tell)
from unrealnas_jax import main
app.run(main.main, flags_parser=main.parse)
"""


class Search:
  """Starts searches in one folder."""

  def __init__(self, folder, compiled):
    self.folder, self.compiled, self.images = folder, compiled, programs.write_images(folder)

  def start(self, name, processes, devices):
    """Starts the processes of a search, each with so many devices."""
    flags = [self.images, programs.SEARCH_ONLY, programs.ONE_CELL]
    environment = programs.environment(self.compiled, devices)
    if processes > 1:
      # JAX writes compiled code in process 0 alone. It would find it, and not wait for the other,
      # which has to compile, for longer than half a minute.
      environment['JAX_ENABLE_COMPILATION_CACHE'] = 'false'
      with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
      flags += [f'--coordinator=127.0.0.1:{port}', f'--processes={processes}']
    return [
      subprocess.Popen(
        programs.command(
          self.folder / name,
          *flags,
          *([f'--process={number}'] if processes > 1 else []),
          program=('-c', AUDITED) if processes > 1 else programs.UNREPORTED,
        ),
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
      )
      for number in range(processes)
    ]

  def run(self, name, processes=1, devices=1):
    """Runs a search to its end; its folder, and what each process wrote to stderr."""
    return self.finish(name, self.start(name, processes, devices), code=0)

  def stop(self, name):
    """As `run`, of two processes of which the second is told to stop."""
    running = self.start(name, 2, 2)
    while not (self.folder / name / 'config.json').exists() and running[1].poll() is None:
      time.sleep(0.01)
    running[1].send_signal(signal.SIGTERM)
    return self.finish(name, running, code=75)

  def finish(self, name, running, code):
    try:
      told = [process.communicate(timeout=300)[1] for process in running]
    finally:
      for process in running:
        process.kill()
    assert [process.returncode for process in running] == [code] * len(running), told
    return self.folder / name, told


@pytest.fixture(scope='module')
def searches(tmp_path_factory, compiled):
  """{name: (folder, [stderr of each process])}"""
  search = Search(tmp_path_factory.mktemp('processes'), compiled)
  with concurrent.futures.ThreadPoolExecutor(2) as pool:
    futures = {'one process': pool.submit(search.run, 'one process', devices=4)}
    stopped, told = search.stop('stopped')
    for name, arguments in RESUMED.items():
      shutil.copytree(stopped, search.folder / name)
      futures[name] = pool.submit(search.run, name, *arguments)
    found = {name: future.result() for name, future in futures.items()}
  return {**found, 'stopped': (stopped, told)}


def test_both_processes_stop_after_the_same_step_with_all_saved(searches):
  folder, told = searches['stopped']
  (step,) = programs.saved(folder)
  assert 1 <= step < 8
  assert not (folder / 'genotype.json').exists()
  told_by_first = f'stopped after step {step} of 8 of the search; to go on: .* --process=0'
  assert re.search(told_by_first, told[0], re.DOTALL)
  assert 'to go on' not in told[1]


@pytest.mark.parametrize('name', RESUMED)
def test_what_was_saved_is_resumed_by_any_number_of_devices(searches, name):
  (one, _), (other, _) = searches['one process'], searches[name]
  assert (other / 'genotype.json').read_bytes() == (one / 'genotype.json').read_bytes()
  assert programs.result(other) == programs.result(one)
  lines = programs.lines(one), programs.lines(other)
  for expected, found in zip(*lines, strict=True):
    assert found.keys() == expected.keys()
    assert found['step'] == expected['step']
    for key in found.keys() - {'phase', 'weights'}:
      np.testing.assert_allclose(found[key], expected[key], 1e-5, err_msg=f'{key} in {expected}')
    jax.tree.map(
      functools.partial(np.testing.assert_allclose, atol=2e-5),  # other orders of sums
      *(line.get('weights', {}) for line in (found, expected)),
    )
  (step, expected), (_, found) = programs.last_state(one), programs.last_state(other)
  assert step == 8
  for key, x in expected.items():
    np.testing.assert_allclose(found[key], x, 1e-4, 1e-4, err_msg=key)


@pytest.mark.parametrize('name', ['stopped', 'two processes'])
def test_only_the_first_process_writes(searches, name):
  folder, (first, second) = searches[name]
  assert f'CHANGED open {folder}/metrics.jsonl' in first
  # Within a checkpoint Orbax has each process take down what it knows of the arrays.
  changed = [line for line in second.splitlines() if line.startswith('CHANGED')]
  assert not [line for line in changed if '.orbax-checkpoint-tmp' not in line]
