"""The loop: what a stopped and resumed phase ends with, and when metrics and checkpoints go out."""

import itertools
import json
import os
import queue
import signal
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from ml_collections import ConfigDict

from unrealnas_jax import loop, parallel

STEPS, EPOCH = 12, 4
KEY = jax.random.key(3)


def config(every=0, keep=9, log_every=1):
  return ConfigDict({'checkpoint': {'every': every, 'keep': keep}, 'log_every': log_every})


def init():
  return {'step': jnp.int32(0), 'w': jnp.float32(1)}


def step(key, state, batch):
  """Adds the mean of the batch and a little noise of the step's own; batch['x']: [S, B]."""

  def one_step(state, x):
    noise = jax.random.normal(jax.random.fold_in(key, state['step']))
    w = state['w'] + parallel.mean(x.mean()) + 0.1 * noise
    return {'step': state['step'] + 1, 'w': w}, {'w': w, 'train_loss': parallel.mean(x.mean())}

  return lax.scan(one_step, state, batch['x'])


class Stopped(Exception):
  """In place of a kill."""


def make_plan(per_call=1, stop_at=None, signals=(), wrong=None, **changes):
  """A plan whose batches stop the run when step number stop_at is to begin.

  signals: (number of a step, signal that is sent when it is run)
  wrong: (number of a step, what is in its batch in place of 0)
  """

  def batches(steps):
    for first in steps[::per_call]:
      numbers = range(first, first + per_call)
      if stop_at in numbers:
        raise Stopped
      x = np.float32([[number + row for row in range(8)] for number in numbers])
      if wrong and wrong[0] in numbers:
        x[wrong[0] - first, 0] = wrong[1]
      yield ({'x': x},)

  many_steps = parallel.pmap_step(step, batches=1)

  def run(key, state, batch):
    for at, number in signals:
      if 0 <= at - int(state['step']) < per_call:
        os.kill(os.getpid(), number)
    return many_steps(key, state, batch)

  plan = loop.Plan(
    phase='search',
    steps=STEPS,
    epoch_steps=EPOCH,
    per_call=per_call,
    init=init,
    step=run,
    batches=batches,
    learning_rate=lambda step: 1 / (1 + step // EPOCH),
    end_of_epoch=lambda state: {'sum': state['w']},
  )
  return plan._replace(**changes)


def lines(folder):
  return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def saved(folder):
  return sorted(int(path.name) for path in (folder / 'checkpoints' / 'search').iterdir())


def bits(state):
  return jax.tree.map(lambda x: np.asarray(x).tobytes(), state)


def test_metrics_and_checkpoints_of_a_whole_run(tmp_path):
  state, _ = loop.run(make_plan(), KEY, config(every=5, log_every=3), tmp_path)
  assert int(state['step']) == STEPS
  assert saved(tmp_path) == [5, 10, 12]
  steps = [(line['step'], sorted(line)[0]) for line in lines(tmp_path)]
  assert steps == [
    *((3, 'phase'), (4, 'epoch'), (6, 'phase'), (8, 'epoch'), (9, 'phase')),
    *((12, 'phase'), (12, 'epoch')),
  ]
  # Step n of 12 sees the numbers n - 1 .. n + 6, of which the mean is n + 2.5.
  assert lines(tmp_path)[0]['train_loss'] == 5.5
  epochs = [line for line in lines(tmp_path) if 'epoch' in line]
  assert [line['learning_rate'] for line in epochs] == [1, 1 / 2, 1 / 3]
  assert epochs[-1]['sum'] == lines(tmp_path)[-2]['w']


def test_one_checkpoint_an_epoch_unless_told_otherwise(tmp_path):
  loop.run(make_plan(), KEY, config(keep=2), tmp_path)
  assert saved(tmp_path) == [8, 12]


@pytest.mark.parametrize('per_call', [2, 4])
def test_several_steps_a_call_are_the_same_run(tmp_path, per_call):
  expected, _ = loop.run(make_plan(), KEY, config(log_every=3), tmp_path / 'one')
  found, _ = loop.run(make_plan(per_call), KEY, config(every=3, log_every=3), tmp_path / 'many')
  assert bits(found) == bits(expected)
  assert lines(tmp_path / 'many') == lines(tmp_path / 'one')
  # A checkpoint is due at 3, 6, 9, 12 and saved when the call that reaches the step ends.
  assert saved(tmp_path / 'many') == {2: [4, 6, 10, 12], 4: [4, 8, 12]}[per_call]


@pytest.mark.parametrize(('per_call', 'every'), [(1, 0), (1, 3), (2, 3), (4, 5)])
def test_stopped_and_resumed_is_never_stopped(tmp_path, per_call, every):
  expected, _ = loop.run(make_plan(per_call), KEY, config(every), tmp_path / 'whole')
  for stop_at in (1, 7, 11):  # before the first checkpoint, and between two
    with pytest.raises(Stopped):
      loop.run(make_plan(per_call, stop_at), KEY, config(every), tmp_path / 'stopped')
  found, _ = loop.run(make_plan(per_call), KEY, config(every), tmp_path / 'stopped')
  assert bits(found) == bits(expected)
  whole, stopped = (tmp_path / name / 'metrics.jsonl' for name in ('whole', 'stopped'))
  assert stopped.read_bytes() == whole.read_bytes()
  assert saved(tmp_path / 'stopped') == saved(tmp_path / 'whole')


def test_one_batch_ahead_is_sent_to_the_devices_while_a_step_runs(tmp_path, monkeypatch):
  plan, shard, sent = make_plan(), parallel.shard, queue.SimpleQueue()

  def told(batch, axis):
    split = shard(batch, axis)
    sent.put(int(batch['x'][0, 0]))
    return split

  def step(key, state, batch):
    number = int(state['step'])
    if number + 1 < STEPS:
      assert sent.get(timeout=20) == number + 1
    assert sent.empty()
    return plan.step(key, state, batch)

  def begun(epoch, state):
    assert epoch or sent.get(timeout=20) == 0  # the only batch that is waited for
    return state

  monkeypatch.setattr(loop.parallel, 'shard', told)
  loop.run(plan._replace(step=step, before_epoch=begun), KEY, config(), tmp_path)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(('per_call', 'stops'), [(1, [1, 6, 12]), (2, [2, 6, 12])])
def test_a_signal_saves_after_the_step_and_the_run_goes_on(tmp_path, per_call, stops, number):
  expected, _ = loop.run(make_plan(per_call), KEY, config(every=5), tmp_path / 'whole')
  for done in stops:
    with pytest.raises(KeyboardInterrupt, match=f'after step {done} of 12 of the search'):
      loop.run(
        make_plan(per_call, signals=[(done - 1, number)]), KEY, config(5), tmp_path / 'stopped'
      )
    assert saved(tmp_path / 'stopped')[-1] == done
  found, _ = loop.run(make_plan(per_call), KEY, config(every=5), tmp_path / 'stopped')
  assert bits(found) == bits(expected)
  whole, stopped = (tmp_path / name / 'metrics.jsonl' for name in ('whole', 'stopped'))
  assert stopped.read_bytes() == whole.read_bytes()


def test_a_second_signal_stops_at_once(tmp_path):
  plan = make_plan(signals=[(6, signal.SIGINT), (6, signal.SIGTERM)])
  handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
  with pytest.raises(KeyboardInterrupt):
    loop.run(plan, KEY, config(every=5), tmp_path)
  assert saved(tmp_path) == [5]
  assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers


def test_a_signal_after_the_last_step_is_heeded(tmp_path):
  close = loop.checkpoint.close

  def told(manager):
    os.kill(os.getpid(), signal.SIGTERM)
    close(manager)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(loop.checkpoint, 'close', told)
    with pytest.raises(KeyboardInterrupt):
      loop.run(make_plan(), KEY, config(), tmp_path)
  assert saved(tmp_path) == [4, 8, 12]


@pytest.mark.parametrize('number', [np.nan, np.inf])
@pytest.mark.parametrize('per_call', [1, 4])
def test_a_loss_that_is_not_finite_ends_the_run(tmp_path, per_call, number):
  for _ in range(2):  # and so does every next start
    with pytest.raises(ValueError, match=f'train_loss is {number} after step 7, ') as caught:
      loop.run(make_plan(per_call, wrong=(6, number)), KEY, config(every=4), tmp_path)
    for part in (
      'learning rate 0.5;',
      f'checkpoint: {tmp_path}/checkpoints/search/4.',
      'smaller learning rate',
    ):
      assert part in str(caught.value)
    assert saved(tmp_path) == [4]
    assert [line['step'] for line in lines(tmp_path)][-1] < 7


def test_a_loss_that_is_not_logged_is_met_in_the_state(tmp_path):
  with pytest.raises(ValueError, match='w holds NaN or infinity after step 8, .*: none'):
    loop.run(make_plan(wrong=(6, np.nan)), KEY, config(every=8, log_every=99), tmp_path)
  assert saved(tmp_path) == []


def test_a_state_that_is_not_finite_is_never_saved(tmp_path):
  """Asked to stop, with a finite loss: only the state is wrong."""
  plan = make_plan(signals=[(5, signal.SIGTERM)])

  def step(*args):
    state, values = plan.step(*args)
    return jax.tree.map(lambda x: x / 0 if x.dtype == np.float32 else x, state), values

  with pytest.raises(ValueError, match='w holds NaN or infinity after step 6'):
    loop.run(plan._replace(step=step), KEY, config(every=9), tmp_path)
  assert saved(tmp_path) == []


def test_a_finished_phase_is_read_and_not_run(tmp_path):
  expected, _ = loop.run(make_plan(), KEY, config(), tmp_path)
  before = (tmp_path / 'metrics.jsonl').read_bytes()
  plan = make_plan(step=None, batches=None, end_of_epoch=None)
  found, seconds = loop.run(plan, KEY, config(), tmp_path)
  assert bits(found) == bits(expected)
  assert (tmp_path / 'metrics.jsonl').read_bytes() == before
  held = json.loads((tmp_path / 'checkpoints' / 'search_seconds.json').read_text())
  assert seconds == held['seconds']


def test_seconds_add_up_over_resumes(tmp_path, monkeypatch):
  # The clock goes on by 10 seconds a step and stands still otherwise.
  clock = itertools.count()
  now = types.SimpleNamespace(seconds=0)
  monkeypatch.setattr(loop, 'time', types.SimpleNamespace(monotonic=lambda: now.seconds))

  def timed(plan):
    def run(*args):
      now.seconds = 10 * (next(clock) + 1)
      return plan.step(*args)

    return plan._replace(step=run)

  with pytest.raises(Stopped):
    loop.run(timed(make_plan(stop_at=7)), KEY, config(every=3), tmp_path)
  assert now.seconds == 70
  # Steps 0 to 5 are kept and 6 is run again: what it took is not counted, as it came to nothing.
  _, seconds = loop.run(timed(make_plan()), KEY, config(every=3), tmp_path)
  assert seconds == 120
  # Where no checkpoint is left, the time starts anew with the training.
  with pytest.raises(Stopped):
    loop.run(timed(make_plan(stop_at=2)), KEY, config(), tmp_path / 'other')
  _, seconds = loop.run(timed(make_plan()), KEY, config(), tmp_path / 'other')
  assert seconds == 120


def test_what_was_being_saved_when_a_run_fails_is_kept(tmp_path):
  with pytest.raises(Stopped):
    loop.run(make_plan(stop_at=4), KEY, config(every=4), tmp_path)
  assert saved(tmp_path) == [4]


def test_calls_must_fill_an_epoch(tmp_path):
  with pytest.raises(AssertionError):
    loop.run(make_plan(per_call=3), KEY, config(), tmp_path)
