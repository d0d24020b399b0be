"""Whole runs as a user starts them: on 1 and 4 devices, killed and started again, on real images.

The programs run side by side and share a cache of compiled code; a test waits for those it needs.
"""

import concurrent.futures
import shutil
import signal
import subprocess

import numpy as np
import programs as started
import pytest
from chexpert_films import write_films
from programs import CONFIG, MAIN, ONE_CELL, SEARCH_ONLY, UNREPORTED, last_state, lines, result

from unrealnas_jax import genotype, given_genotype
from unrealnas_jax.rules import flatten

# The program with SIGKILL after it has written a line of metrics, once a checkpoint is on disk:
# main.py PHASE STEP CHECKPOINT flags
KILLED = """
import os, signal, sys, time
from absl import app
from unrealnas_jax import main, metrics

phase, step, checkpoint = (sys.argv.pop(1) for _ in range(3))
write = metrics.write

def write_and_die(writer, done, *args):
  write(writer, done, *args)
  if (writer.phase, done) == (phase, int(step)):
    while not os.path.exists(checkpoint):
      time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)

metrics.write, main.report = write_and_die, lambda workdir: None
app.run(main.main, flags_parser=main.parse)
"""


class Programs:
  """Starts programs in one folder, two at a time, and gives what they left when they are done."""

  def __init__(self, folder, compiled):
    self.folder, self.compiled = folder, compiled
    self.pool = concurrent.futures.ThreadPoolExecutor(2)
    self.futures = {}
    self.images, self.films = started.write_images(folder), write_films(folder / 'tfds')

  def start(self, name, job):
    self.futures[name] = self.pool.submit(job, self.folder / name)

  def workdir(self, name):
    """The workdir of a program that was started, once it has ended."""
    self.futures[name].result()
    return self.folder / name

  def run(self, workdir, *args, devices=1, killed_at=None, config=CONFIG, program=UNREPORTED):
    """Runs the program to its end, which a kill must be if it is to be killed."""
    program = ('-c', KILLED, *killed_at) if killed_at else program
    command = started.command(workdir, self.images, *args, program=program, config=config)
    environment = started.environment(self.compiled, devices)
    ended = subprocess.run(
      command, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert ended.returncode == (-signal.SIGKILL if killed_at else 0), ended.stderr
    return ended.stdout

  def run_killed_twice(self, workdir):
    """In the search at step 5 with a checkpoint of step 3; in retraining likewise."""
    for phase in ('search', 'retrain'):
      self.futures['whole'].result()  # its compiled code is used
      self.run(workdir, killed_at=(phase, '5', f'{workdir}/checkpoints/{phase}/3'))
    self.run(workdir)

  def run_generator_and_search(self, workdir):
    """Trains a generator on films with several labels each, then searches on its images."""
    config, generator = f'{CONFIG}:laptop,chexpert', workdir.with_name('generator')
    sizes = {'steps': 4, 'sheet_every': 2, 'batch': 8, 'channels': 2, 'discriminator_channels': 2}
    flags = [f'--config.generator.{name}={size}' for name, size in sizes.items()]
    augment = ('--config.generator.augment.cutout=0', '--config.generator.augment.pad=1')
    args = *self.films, *flags, *augment, SEARCH_ONLY
    self.run(generator, *args, config=config, program=MAIN)
    source = ('--config.source.name=generated', f'--config.source.generator={generator}')
    self.run(workdir, *source, SEARCH_ONLY, ONE_CELL, config=config)


@pytest.fixture(scope='module')
def programs(tmp_path_factory, compiled):
  programs = Programs(tmp_path_factory.mktemp('programs'), compiled)
  run = programs.run
  programs.start('whole', lambda workdir: run(workdir, program=MAIN))
  calls = '--config.search.steps_per_call=4'
  programs.start('devices', lambda workdir: run(workdir, calls, devices=4))
  programs.start('killed', programs.run_killed_twice)
  for source in ('real', 'random_labels'):
    name = f'--config.source.name={source}'
    programs.start(source, lambda workdir, name=name: run(workdir, name, SEARCH_ONLY, ONE_CELL))
  programs.start('generated', programs.run_generator_and_search)
  yield programs
  programs.pool.shutdown(cancel_futures=True)


def contents(folder):
  return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_result_says_what_was_found_and_what_it_costs(programs):
  whole = programs.workdir('whole')
  found = result(whole)
  kept = genotype.load(str(whole / 'genotype.json'))
  assert genotype.from_text(found['genotype']) == kept
  _, state = last_state(whole, 'retrain')
  weights = {k: x for k, x in state.items() if k.startswith('params/')}
  tested = [x.size for k, x in weights.items() if 'auxiliary_head' not in k]
  assert len(tested) < len(weights)
  assert found['parameters'] == sum(tested)
  assert (found['search_steps'], found['retrain_steps']) == (8, 6)
  assert (found['dataset'], found['test_images'], found['scale']) == ('x', 20, 'laptop')
  assert 0 <= found['test_accuracy'] <= 1
  assert 'weights normal' in (whole / 'report.html').read_text()
  assert 10_000 < found['multiply_adds'] < 30_000


def test_metrics_name_what_is_measured(programs):
  epochs = {True: [], False: []}
  for line in lines(programs.workdir('whole')):
    epochs['epoch' in line].append((line['phase'], line['step'], tuple(line)[2:]))
  step = ('train_accuracy', 'train_loss', 'val_accuracy', 'val_loss')
  assert epochs[False] == [
    *(('search', n, step) for n in range(1, 9)),
    *(('retrain', n, step[:2]) for n in range(1, 7)),
  ]
  epoch = ('epoch', 'learning_rate')
  signs = ('eval_accuracy', 'none_mass', 'normal_skips', 'reduce_skips', 'weights')
  assert epochs[True] == [
    *(('search', n, epoch + signs) for n in (4, 8)),
    *(('retrain', n, epoch) for n in (3, 6)),
  ]


def test_killed_twice_is_never_stopped(programs):
  whole, killed = programs.workdir('whole'), programs.workdir('killed')
  for name in ('genotype.json', 'metrics.jsonl', 'config.json'):
    assert (killed / name).read_bytes() == (whole / name).read_bytes()
  assert result(killed) == result(whole)
  for phase in ('search', 'retrain'):
    step, expected = last_state(whole, phase)
    killed_step, found = last_state(killed, phase)
    assert killed_step == step == {'search': 8, 'retrain': 6}[phase]
    assert found.keys() == expected.keys()
    for name in expected:
      assert found[name].dtype == expected[name].dtype
      assert found[name].tobytes() == expected[name].tobytes(), name


def numbers(lines):
  """The numbers of each line, those of tables one by one."""
  flat = [flatten(line) for line in lines]
  return [{k: np.array(v) for k, v in line.items() if k != 'phase'} for line in flat]


def test_four_devices_and_four_steps_a_call_agree_with_one(programs):
  one, four = programs.workdir('whole'), programs.workdir('devices')
  assert (four / 'genotype.json').read_bytes() == (one / 'genotype.json').read_bytes()
  for phase in ('search', 'retrain'):
    (_, expected), (_, found) = last_state(one, phase), last_state(four, phase)
    assert found.keys() == expected.keys()
    for name in expected:
      np.testing.assert_allclose(found[name], expected[name], 1e-4, 1e-4, err_msg=name)
      assert not name.startswith('arch/') or np.ptp(expected[name]) > 0.1  # learned, that is
  for a, b in zip(numbers(lines(four)), numbers(lines(one)), strict=True):
    assert a.keys() == b.keys()
    for name in a:
      rounding = 1.1e-5 if name.startswith('weights.') else 0
      np.testing.assert_allclose(a[name], b[name], 1e-5, rounding, err_msg=f'{name} in {b}')
  assert result(four) == result(one)


@pytest.mark.parametrize('source', ['real', 'random_labels'])
def test_search_on_images_of_an_npz(programs, source):
  workdir = programs.workdir(source)
  found = lines(workdir)
  # 48 images in halves, batches of 8: three steps an epoch.
  assert [(line['step'], 'epoch' in line) for line in found] == [
    *((1, False), (2, False), (3, False), (3, True)),
    *((4, False), (5, False), (6, False), (6, True)),
  ]
  assert all(np.isfinite(value).all() for line in numbers(found) for value in line.values())
  genotype.load(str(workdir / 'genotype.json'))
  assert result(workdir).keys() == {'genotype', 'scale', 'search_steps', 'selection'}


def test_search_on_images_of_a_trained_generator(programs):
  workdir = programs.workdir('generated')
  assert result(workdir).keys() == {'genotype', 'scale', 'search_steps', 'selection'}
  genotype.load(str(workdir / 'genotype.json'))
  found = lines(workdir)
  assert all(np.isfinite(value).all() for line in numbers(found) for value in line.values())
  # 14 labels each, of which the search knows nothing yet.
  np.testing.assert_allclose(found[0]['train_loss'], np.log(2), atol=0.2)
  with np.load(workdir / 'samples.npz') as samples:
    labels = samples['labels']
  generator = workdir.with_name('generator')
  with np.load(generator / 'generator_labels.npz') as kept:
    rows = {*map(tuple, kept['rows'])}
  assert {*map(tuple, labels)} <= rows  # combinations that films have
  assert result(generator).keys() == {
    *('dataset', 'generator_parameters', 'generator_steps', 'scale')
  }
  sheets = sorted(path.name for path in (generator / 'samples').iterdir())
  assert sheets == ['000002.png', '000004.png']
  assert not (generator / 'genotype.json').exists()
  assert 'training of a generator' in (generator / 'report.html').read_text()


def test_labels_make_a_difference(programs):
  real, random = (lines(programs.workdir(source)) for source in ('real', 'random_labels'))
  assert real[0]['train_loss'] != random[0]['train_loss']


def test_a_finished_run_says_so_and_runs_nothing(programs):
  whole = programs.workdir('whole')
  before = contents(whole)
  out = programs.run(whole)
  assert 'holds this run, finished' in out
  assert 'test accuracy' in out
  assert contents(whole) == before


def test_genotype_of_a_search_comes_from_its_checkpoint(programs, tmp_path):
  whole = programs.workdir('whole')
  shutil.copytree(whole, tmp_path / 'copy')
  (tmp_path / 'copy' / 'genotype.json').unlink()
  found = given_genotype.load_genotype(str(tmp_path / 'copy'))
  assert found == genotype.load(str(whole / 'genotype.json'))
