"""Workdirs: claimed once, kept by one program at a time, and nothing of another run is lost."""

import json
import multiprocessing

import pytest

from configs import default
from unrealnas_jax import claim, metrics
from unrealnas_jax.config import to_json


def changed(**changes):
  config = default.get_config('laptop')
  config.update(changes)
  return config


def held(workdir, config):
  with claim.hold(workdir, config):
    pass


def contents(folder):
  return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_hold_writes_config_and_finds_it_again(tmp_path):
  workdir = tmp_path / 'runs' / 'noise'
  assert not claim.is_ours(workdir, changed())
  held(workdir, changed())
  before = contents(workdir)
  assert [path.name for path in before] == ['config.json']
  assert json.loads((workdir / 'config.json').read_text())['search']['augment']['pad'] == 2
  assert claim.is_ours(workdir, changed())
  held(workdir, changed())
  assert contents(workdir) == before


def test_check_writes_nothing(tmp_path):
  claim.check(tmp_path / 'run', changed())
  assert list(tmp_path.iterdir()) == []


# What a run leaves that has come to something.
RESULTS = ('metrics.jsonl', 'result.json', 'genotype.json', 'checkpoints/search/8/_METADATA')


@pytest.mark.parametrize('result', RESULTS)
def test_another_config_is_refused_and_nothing_touched(tmp_path, result):
  held(tmp_path, changed())
  (tmp_path / result).parent.mkdir(parents=True, exist_ok=True)
  (tmp_path / result).write_text('x')
  before = contents(tmp_path)
  other = changed(seed=7)
  other.method.arch_betas = (0.9, 0.999)
  for refuse in (claim.check, held):
    with pytest.raises(ValueError, match='holds the run of another config') as caught:
      refuse(tmp_path, other)
    message = str(caught.value)
    assert 'seed: 2 there, 7 now' in message
    assert 'method.arch_betas: [0.5, 0.999] there, [0.9, 0.999] now' in message
    assert 'search' not in message
    assert '--workdir' in message
  assert not claim.is_ours(tmp_path, other)
  assert contents(tmp_path) == before


def test_a_run_that_came_to_nothing_gives_way(tmp_path):
  held(tmp_path, changed())
  (tmp_path / 'checkpoints' / 'search').mkdir(parents=True)
  (tmp_path / 'tensorboard').mkdir()
  (tmp_path / 'tensorboard' / 'events').write_text('x')
  held(tmp_path, changed(seed=7))
  assert json.loads((tmp_path / 'config.json').read_text())['seed'] == 7


def test_a_copy_of_a_given_genotype_is_no_result(tmp_path):
  held(tmp_path, changed(genotype='DARTS_V2'))
  (tmp_path / 'genotype.json').write_text('x')
  held(tmp_path, changed(genotype='DARTS_V1'))


@pytest.mark.parametrize('text', ['{', '[]', '{"seed": 2}'])
def test_a_strange_config_json_is_refused(tmp_path, text):
  (tmp_path / 'config.json').write_text(text)
  with pytest.raises(ValueError, match='--workdir'):
    held(tmp_path, changed())
  assert (tmp_path / 'config.json').read_text() == text


def test_a_folder_of_other_files_is_refused(tmp_path):
  (tmp_path / 'thesis.tex').write_text('x')
  with pytest.raises(ValueError, match='holds files but no config.json'):
    held(tmp_path, changed())
  assert [path.name for path in tmp_path.iterdir()] == ['thesis.tex']


def test_goes_on_after_a_kill_while_claiming(tmp_path):
  metrics.unfinished(tmp_path / 'config.json').write_text('{"se')
  held(tmp_path, changed())
  assert [path.name for path in tmp_path.iterdir()] == ['config.json']


def test_what_cannot_be_written_is_refused(tmp_path):
  (tmp_path / 'file').write_text('x')
  for workdir in (tmp_path / 'file', tmp_path / 'file' / 'below', '/proc/nothing/here'):
    with pytest.raises(ValueError, match='--workdir='):
      held(workdir, changed())


def keep_waiting(workdir, ready):
  with claim.hold(workdir, changed()):
    ready.set()
    multiprocessing.Event().wait()


def test_one_program_at_a_time_until_it_ends_or_is_killed(tmp_path):
  spawn = multiprocessing.get_context('spawn')
  ready = spawn.Event()
  other = spawn.Process(target=keep_waiting, args=(tmp_path, ready))
  other.start()
  try:
    assert ready.wait(60)
    with pytest.raises(ValueError, match='is in use by another program'):
      held(tmp_path, changed())
    with pytest.raises(ValueError, match='is in use by another program'):
      held(tmp_path, changed(seed=7))
    assert json.loads((tmp_path / 'config.json').read_text())['seed'] == 2
  finally:
    other.kill()
    other.join()
  held(tmp_path, changed(seed=7))


def test_another_program_may_come_first(tmp_path, monkeypatch):
  def lock_after_another_run(folder):
    (folder / 'config.json').write_text(to_json(changed(seed=7)))
    (folder / 'metrics.jsonl').write_text('x')

  monkeypatch.setattr(claim, '_lock', lock_after_another_run)
  with pytest.raises(ValueError, match='holds the run of another config'):
    held(tmp_path, changed())
  assert json.loads((tmp_path / 'config.json').read_text())['seed'] == 7


def test_errors_of_the_run_itself_pass_through(tmp_path):
  with pytest.raises(OSError, match='disk'), claim.hold(tmp_path, changed()):  # noqa: PT012
    raise OSError(28, 'disk full')
  held(tmp_path, changed())


def test_a_refusal_is_told_to_all_processes(tmp_path, monkeypatch):
  # Else the others would wait for good at the next barrier.
  told = []
  monkeypatch.setattr(claim.parallel, 'all_agree', lambda fact: told.append(fact) or fact)
  (tmp_path / 'thesis.tex').write_text('x')
  with pytest.raises(ValueError, match='holds files'):
    held(tmp_path, changed())
  monkeypatch.setattr(claim.parallel, 'is_primary', lambda: False)
  monkeypatch.setattr(claim.parallel, 'all_agree', lambda fact: told.append(fact))
  with pytest.raises(ValueError, match='see the first process'):
    held(tmp_path, changed())
  assert told == [False, True]
