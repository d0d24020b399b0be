"""Metrics: what is written, and that a resumed run ends with the same file."""

import io
import itertools
import json
import logging as std_logging
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from absl import logging
from tensorboardX.proto import event_pb2

from unrealnas_jax import metrics


def lines(folder):
  return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def run(folder, start, stop, phase='search', killed=False):
  """Writes what a run from step `start` would write; a killed one closes nothing."""
  writer = metrics.open(folder, phase, start)
  for step in range(start + 1, stop + 1):
    metrics.write(writer, step, {'loss': np.float32(1 / step)}, {'images_per_second': 5.0})
  if not killed:
    metrics.flush(writer)


def test_lines_hold_phase_step_and_plain_values(tmp_path):
  writer = metrics.open(tmp_path, 'search', 0)
  values = {
    'float32': np.float32(0.1),
    'bfloat16': jnp.bfloat16(0.5),
    'whole': jnp.int32(3),
    'array': jnp.array([0.25, 0.5]),
    'text': 'Genotype(...)',
    'nan': float('nan'),
    'infinite': np.float32(np.inf),
    'flag': np.bool_(True),
  }
  metrics.write(writer, jnp.int32(7), values, {'seconds': 1.5})
  assert (tmp_path / 'metrics.jsonl').read_text() == (
    '{"phase": "search", "step": 7, "float32": 0.1, "bfloat16": 0.5, "whole": 3, '
    '"array": [0.25, 0.5], "text": "Genotype(...)", "nan": null, "infinite": null, "flag": true}\n'
  )
  metrics.flush(writer)


def test_shortest_digits_lose_nothing(tmp_path):
  values = np.random.default_rng(0).normal(size=50).astype(np.float32)
  writer = metrics.open(tmp_path, 'search', 0)
  metrics.write(writer, 1, {str(i): value for i, value in enumerate(values)})
  metrics.flush(writer)
  (line,) = lines(tmp_path)
  np.testing.assert_array_equal([np.float32(line[str(i)]) for i in range(50)], values)


def test_killed_and_resumed_is_the_same_file(tmp_path):
  for folder in ('whole', 'killed'):
    (tmp_path / folder).mkdir()
  run(tmp_path / 'whole', 0, 6)
  run(tmp_path / 'whole', 0, 3, 'retrain')
  run(tmp_path / 'killed', 0, 2, killed=True)  # no checkpoint yet: starts anew
  run(tmp_path / 'killed', 0, 5, killed=True)
  with (tmp_path / 'killed' / 'metrics.jsonl').open('a') as file:
    file.write('{"phase": "search", "st')
  run(tmp_path / 'killed', 3, 6)
  run(tmp_path / 'killed', 0, 2, 'retrain', killed=True)
  run(tmp_path / 'killed', 1, 3, 'retrain')
  whole, killed = (tmp_path / folder / 'metrics.jsonl' for folder in ('whole', 'killed'))
  assert killed.read_bytes() == whole.read_bytes()
  assert [line['step'] for line in lines(tmp_path / 'killed')] == [1, 2, 3, 4, 5, 6, 1, 2, 3]
  assert not metrics.unfinished(killed).exists()


def test_resume_leaves_the_other_phase_alone(tmp_path):
  run(tmp_path, 0, 4)
  run(tmp_path, 0, 2, 'retrain')
  run(tmp_path, 1, 2, 'retrain')
  assert [(line['phase'], line['step']) for line in lines(tmp_path)] == [
    *(('search', step) for step in (1, 2, 3, 4)),
    *(('retrain', step) for step in (1, 2)),
  ]


@pytest.mark.parametrize('text', ['not json\n', '[1]\n', '{"step": 3}\n', '{}\n'])
def test_a_file_of_something_else_is_refused_and_kept(tmp_path, text):
  (tmp_path / 'metrics.jsonl').write_text(text)
  with pytest.raises(ValueError, match='metrics.jsonl, line 1 is no line of metrics'):
    metrics.open(tmp_path, 'search', 1)
  assert (tmp_path / 'metrics.jsonl').read_text() == text


def test_object_stores_get_whole_files_at_flush(tmp_path, monkeypatch):
  monkeypatch.setattr(metrics.growing, 'is_remote', lambda path: True)
  run(tmp_path, 0, 2)
  writer = metrics.open(tmp_path, 'search', 2)
  metrics.write(writer, 3, {'loss': 0.25})
  assert [line['step'] for line in lines(tmp_path)] == [1, 2]
  metrics.flush(writer)
  assert [line['step'] for line in lines(tmp_path)] == [1, 2, 3]
  assert [step for _, step, _ in scalars(tmp_path)][-1] == 3


def scalars(folder):
  """(tag, step, value) of the TensorBoard records below a folder, read by their framing."""
  found = []
  for path in sorted(folder.rglob('events.*')):
    data = path.read_bytes()
    while data:
      size = int.from_bytes(data[:8], 'little')
      event = event_pb2.Event.FromString(data[12 : 12 + size])
      found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
      data = data[16 + size :]
  return found


def test_tensorboard_gets_values_and_timings(tmp_path):
  run(tmp_path, 0, 2)
  assert scalars(tmp_path / 'tensorboard' / 'search') == [
    ('loss', 1, 1.0),
    ('images_per_second', 1, 5.0),
    ('loss', 2, 0.5),
    ('images_per_second', 2, 5.0),
  ]
  assert 'second' not in (tmp_path / 'metrics.jsonl').read_text()


def test_other_processes_write_nothing(tmp_path, monkeypatch):
  monkeypatch.setattr(metrics.parallel, 'is_primary', lambda: False)
  run(tmp_path, 0, 2)
  assert list(tmp_path.iterdir()) == []
  assert list(metrics.progress(range(3), 'search')) == [0, 1, 2]


@pytest.fixture
def log(monkeypatch):
  """What absl logs, at INFO, without a terminal or a notebook."""
  stream = io.StringIO()
  handler = std_logging.StreamHandler(stream)
  logger = logging.get_absl_logger()
  logger.addHandler(handler)
  before = logging.get_verbosity()
  logging.set_verbosity(logging.INFO)
  monkeypatch.setattr('sys.stderr', io.StringIO())
  # A test that runs a notebook may have been before, in the same process.
  monkeypatch.delitem(sys.modules, 'ipykernel', raising=False)
  yield stream
  logging.set_verbosity(before)
  logger.removeHandler(handler)


def test_progress_logs_rate_and_time_left(log, monkeypatch):
  # The clock is asked once before the first call and once after each: a call takes 4 seconds.
  monkeypatch.setattr(metrics.time, 'monotonic', itertools.count(0, 4).__next__)
  assert list(metrics.progress(range(100, 112, 3), 'search', every=5)) == [100, 103, 106, 109]
  assert log.getvalue().splitlines() == [
    'search: step 103 of 112 (91 %), begun in 4.0 s',
    'search: step 109 of 112 (97 %), 0.75 steps/s, 0:00:04 left',
    'search: step 112 of 112 (100 %), 0.75 steps/s, 0:00:00 left',
  ]


def test_progress_counts_a_last_call_of_fewer_steps(log):
  assert list(metrics.progress(range(0, 7, 3), 'search', every=0)) == [0, 3, 6]
  assert [line.split(' (')[0] for line in log.getvalue().splitlines()] == [
    'search: step 3 of 7',
    'search: step 6 of 7',
    'search: step 7 of 7',
  ]


def test_progress_on_a_terminal_is_a_bar_below_the_log(monkeypatch):
  terminal = io.StringIO()
  terminal.isatty = lambda: True
  monkeypatch.setattr('sys.stderr', terminal)
  handler = logging.get_absl_handler().python_handler
  before = handler.stream
  for step in metrics.progress(range(2, 4), 'search'):
    if step == 3:
      handler.stream.write('a log line\n')
  shown = terminal.getvalue()
  assert 'search:  50%' in shown
  assert 'search: 100%' in shown
  assert '4/4' in shown
  assert '\ra log line\n' in shown
  assert handler.stream is before


def test_bar_gives_the_log_back_after_an_error(monkeypatch):
  terminal = io.StringIO()
  terminal.isatty = lambda: True
  monkeypatch.setattr('sys.stderr', terminal)
  handler = logging.get_absl_handler().python_handler
  before = handler.stream
  steps = metrics.progress(range(4), 'search')
  next(steps)
  assert handler.stream is not before
  steps.close()
  assert handler.stream is before


def test_write_json_is_whole_or_not_at_all(tmp_path, monkeypatch):
  path = tmp_path / 'result.json'
  metrics.write_json(path, {'b': np.float32(0.1), 'a': [jnp.int32(1), None], 'nan': float('nan')})
  assert json.loads(path.read_text()) == {'a': [1, None], 'b': 0.1, 'nan': None}

  def killed(*args):
    raise KeyboardInterrupt

  monkeypatch.setattr(type(metrics.unfinished(path)), 'replace', killed)
  with pytest.raises(KeyboardInterrupt):
    metrics.write_json(path, {'a': 2})
  assert json.loads(path.read_text())['a'] == [1, None]
