"""What a run tells: metrics.jsonl, TensorBoard events, a progress bar or log lines, JSON files.

metrics.jsonl holds no clock times, so that a run killed and resumed ends with the very same file.
"""

import contextlib
import datetime
import json
import math
import sys
import time
import types
from typing import NamedTuple

import numpy as np
from absl import logging
from etils import epath

from unrealnas_jax import events, growing, parallel


class Writer(NamedTuple):
  """Where one phase of a run ('search' or 'retrain') writes; None where another process does."""

  phase: str
  lines: growing.File
  events: growing.File


def open(workdir, phase, step):
  """Opens workdir/metrics.jsonl and the TensorBoard events of a phase, to go on after `step`.

  Of this phase, lines of later steps are dropped (of step 0: all): a run killed after its last
  checkpoint writes them again. So write the lines of a step, and flush, before its checkpoint.
  Raises ValueError: the file holds something else than JSON lines.
  """
  if not parallel.is_primary():
    return None
  workdir = epath.Path(workdir)
  lines = workdir / 'metrics.jsonl'
  _rewind(lines, phase, step)
  shown = growing.open(workdir / 'tensorboard' / phase / events.file_name())
  growing.add(shown, events.start(step + 1))
  return Writer(phase, growing.open(lines), shown)


def write(writer, step, values, timings=None):
  """Writes one line of metrics.jsonl, and the same to TensorBoard.

  step: steps done. values: name -> number, array or text, the same in every run of this config.
  timings: name -> number, such as images a second: to TensorBoard only.
  """
  if writer is None:
    return
  assert not {'phase', 'step'} & values.keys(), values
  values = plain(values)
  line = json.dumps({'phase': writer.phase, 'step': int(step), **values}, allow_nan=False)
  growing.add(writer.lines, (line + '\n').encode())
  values |= plain(timings or {})
  numbers = {name: value for name, value in values.items() if isinstance(value, int | float)}
  growing.add(writer.events, events.scalars(step, numbers))


def flush(writer):
  """Makes sure that all that was written is in the files."""
  if writer is not None:
    growing.flush(writer.lines)
    growing.flush(writer.events)


def epochs(workdir, phase, step):
  """What was written at the end of each epoch of a phase, up to a step: [{name: value}]."""
  path = epath.Path(workdir) / 'metrics.jsonl'
  lines = path.read_text().split('\n')[:-1] if step and path.exists() else []
  found = (json.loads(line) for line in lines)
  return [
    {name: value for name, value in line.items() if name not in ('phase', 'step')}
    for line in found
    if line['phase'] == phase and line['step'] <= step and 'epoch' in line
  ]


def progress(steps, phase, every=10.0):
  """Iterates over steps, showing how far they are, their rate and the time left.

  steps: a range whose step is the number of steps that one call runs.
  every: seconds between log lines where there is no terminal or notebook to show a bar on.
  """
  if not parallel.is_primary():
    return iter(steps)
  seen = sys.stderr.isatty() or 'ipykernel' in sys.modules
  return _bar(steps, phase) if seen else _lines(steps, phase, every)


def write_json(path, values):
  """Writes a JSON file whole or not at all."""
  text = json.dumps(plain(values), indent=2, sort_keys=True, allow_nan=False)
  write_whole(path, (text + '\n').encode())


def unfinished(path):
  """Where a file is written before it takes its place."""
  path = epath.Path(path)
  return path.parent / f'.{path.name}.unfinished'


def write_whole(path, content):
  """Writes bytes to a file whole or not at all."""
  path = epath.Path(path)
  if growing.is_remote(path):  # an object store has no files that are half written
    path.write_bytes(content)
    return
  unfinished(path).write_bytes(content)
  unfinished(path).replace(path)


def _rewind(path, phase, step):
  """Drops the lines of a phase that come after a step, and a last line that was cut short."""
  if not path.exists():
    return
  text = path.read_text()
  kept = [
    line
    for number, line in enumerate(text.split('\n')[:-1], start=1)
    if not _is_later(f'{path}, line {number}', line, phase, step)
  ]
  kept = ''.join(line + '\n' for line in kept)
  if kept != text:
    write_whole(path, kept.encode())


def _is_later(where, line, phase, step):
  try:
    values = json.loads(line)
    return values['phase'] == phase and (step == 0 or values['step'] > step)
  except (ValueError, KeyError, TypeError) as error:
    raise ValueError(
      f'{where} is no line of metrics: {line[:60]!r}; choose another --workdir'
    ) from error


def plain(value):
  """Numbers and arrays within dicts and lists as JSON has them; NaN and infinity become None."""
  if isinstance(value, dict):
    return {name: plain(item) for name, item in value.items()}
  if isinstance(value, str | bool | int | None):
    return value
  if isinstance(value, list | tuple) or np.ndim(value):
    return [plain(item) for item in value]
  value = np.asarray(value)
  if value.dtype.kind in 'biu':
    return value.item()
  shortest = float(str(value))  # 0.1 in float32 is 0.1, not 0.10000000149011612
  return shortest if math.isfinite(shortest) else None


def _bar(steps, phase):
  from tqdm import tqdm

  with (
    tqdm(
      total=steps.stop,
      initial=steps.start,
      desc=phase,
      unit='step',
      file=sys.stderr,
      dynamic_ncols=True,
    ) as bar,
    _log_above(bar),
  ):
    for step in steps:
      yield step
      bar.update(min(steps.step, steps.stop - step))


@contextlib.contextmanager
def _log_above(bar):
  """Lets log lines appear above the bar instead of within it."""
  handler = logging.get_absl_handler().python_handler
  stream = types.SimpleNamespace(
    write=lambda text: bar.write(text, file=sys.stderr, end=''), flush=sys.stderr.flush
  )
  before = handler.setStream(stream)
  try:
    yield
  finally:
    handler.setStream(before or sys.stderr)


def _lines(steps, phase, every):
  shown, shown_at = steps.start, time.monotonic()
  for step in steps:
    yield step
    done, now = min(step + steps.step, steps.stop), time.monotonic()
    seconds, first = now - shown_at, step == steps.start
    if not first and seconds < every and done < steps.stop:
      continue
    rate = (done - shown) / max(seconds, 1e-9)
    left = datetime.timedelta(seconds=round((steps.stop - done) / rate))
    # The first call is mostly tracing and compilation, which says nothing of the others.
    speed = f'begun in {seconds:.1f} s' if first else f'{rate:.3g} steps/s, {left} left'
    percent = 100 * done // steps.stop
    logging.info('%s: step %d of %d (%d %%), %s', phase, done, steps.stop, percent, speed)
    shown, shown_at = done, now
