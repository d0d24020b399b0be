"""The loop of a long training: steps, metrics, checkpoints, and going on where a run stopped."""

import concurrent.futures
import contextlib
import json
import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

import jax
import numpy as np
from etils import epath

from unrealnas_jax import checkpoint, finite, metrics, parallel, stop


def never(epochs):
  """For a Plan that goes on to its last step."""
  del epochs
  return False


def unchanged(epoch, state):
  """For a Plan that only steps."""
  del epoch
  return state


class Plan(NamedTuple):
  """What a loop runs.

  phase: what its checkpoints and metrics are called, such as 'search'.
  steps: in all; epoch_steps: in an epoch; per_call: run by one call of the device, a divisor of
  epoch_steps.
  init: () -> state. step: (key, state, *batches [D, S, B, ...]) -> (state, {name: [S]}).
  batches: range of steps -> tuples of host batches [S, B, ...], one a call.
  learning_rate: step, counted from 0 -> that of the weights.
  end_of_epoch: state -> {name: value}, written to metrics.jsonl once an epoch.
  enough: what was written at the end of each epoch so far -> whether to end before `steps`.
  before_epoch: (epoch counted from 0, state) -> the state that its first step begins with.
  batch_axis: that of the examples in host batches, which devices share.
  """

  phase: str
  steps: int
  epoch_steps: int
  per_call: int
  init: Callable
  step: Callable
  batches: Callable[[range], Iterable]
  learning_rate: Callable
  end_of_epoch: Callable
  enough: Callable = never
  before_epoch: Callable = unchanged
  batch_axis: int = 1


def run(plan, key, config, workdir):
  """Runs all steps that are still to do; (last state, seconds spent on the phase so far).

  Metrics go out at multiples of config.log_every, the lines of a step before its checkpoint.
  Checkpoints are saved at the first call that reaches a multiple of config.checkpoint.every, and
  when the run is asked to stop. Raises KeyboardInterrupt: it was, and its state is saved;
  ValueError: a loss or the state is not finite, and the last state saved is one before.
  """
  assert plan.epoch_steps % plan.per_call == 0, (plan.epoch_steps, plan.per_call)
  started = time.monotonic()
  with contextlib.ExitStack() as stack:
    asked_to_stop = stack.enter_context(stop.after_steps())
    manager = checkpoint.open(workdir, plan.phase, config.checkpoint.keep)
    stack.callback(checkpoint.close, manager)  # after an error too: it may be saving still
    done, state = _restore(manager, plan)
    spent = _spent(workdir, plan.phase) if done else 0.0
    epochs = metrics.epochs(workdir, plan.phase, done)
    if done == plan.steps or plan.enough(epochs):
      return state, spent
    writer = metrics.open(workdir, plan.phase, done)
    stack.callback(metrics.flush, writer)
    key = parallel.replicate(key)
    every = config.checkpoint.every or plan.epoch_steps
    steps = range(done, plan.steps, plan.per_call)
    reader = concurrent.futures.ThreadPoolExecutor(1)
    # Not as a context, which would wait for what is being read when a step fails.
    stack.callback(reader.shutdown, wait=False, cancel_futures=True)
    calls = _one_ahead(reader, plan, range(done, plan.steps))
    for first, batches in zip(metrics.progress(steps, plan.phase), calls, strict=True):
      if first % plan.epoch_steps == 0:
        state = plan.before_epoch(first // plan.epoch_steps, state)
      state, values = plan.step(key, state, *batches)
      done = first + plan.per_call
      stopping, ends_epoch = asked_to_stop(), done % plan.epoch_steps == 0
      saving = stopping or done == plan.steps or done // every > first // every
      lines = [step for step in range(first + 1, done + 1) if step % config.log_every == 0]
      if lines or saving or ends_epoch:
        values = jax.tree.map(np.asarray, values)
        _check(plan, manager, first, values, state if saving else None)
      for step in lines:
        metrics.write(writer, step, {name: x[step - first - 1] for name, x in values.items()})
      if ends_epoch:
        epochs.append(metrics.plain(_epoch(plan, done, state)))
        metrics.write(writer, done, epochs[-1])
      enough = ends_epoch and plan.enough(epochs)
      if saving or enough:
        metrics.flush(writer)
        checkpoint.save(manager, done, state)
        _spend(workdir, plan.phase, spent + time.monotonic() - started)
      if stopping:
        raise KeyboardInterrupt(f'after step {done} of {plan.steps} of the {plan.phase}')
      if enough:
        break
  return state, spent + time.monotonic() - started


def _one_ahead(reader, plan, steps):
  """Yields the batches of each call on the devices; the next ones are sent there meanwhile.

  reader: a pool of one thread, so that they are on their way where a step or the loop blocks too.
  What goes wrong with them is raised when their call is to begin, after all of the one before.
  """
  calls = iter(plan.batches(steps))

  def take():
    batches = next(calls, None)
    shards = batches and [parallel.shard(batch, plan.batch_axis) for batch in batches]
    return jax.block_until_ready(shards)  # a step whose inputs are there need not wait for them

  coming = reader.submit(take)
  while batches := coming.result():
    coming = reader.submit(take)
    yield batches


def _restore(manager, plan):
  restored = checkpoint.restore_latest(manager, jax.eval_shape(plan.init))
  return restored or (0, parallel.replicate(jax.jit(plan.init)()))


def _epoch(plan, done, state):
  """What is said of the epoch that ends at step `done`."""
  epoch, learning_rate = done // plan.epoch_steps, plan.learning_rate(done - 1)
  return {'epoch': epoch, 'learning_rate': learning_rate, **plan.end_of_epoch(state)}


def _check(plan, manager, first, values, state):
  """Raises ValueError where a loss of a call, or the state after it, is not finite.

  first: steps done before the call; state: None if it is not to be looked at
  """
  loss, array = finite.wrong_loss(values), finite.wrong_array(state)
  if not loss and not array:
    return
  if loss:
    name, position, number = loss
    step, found = first + position + 1, f'{name} is {number}'
  else:
    step, found = first + plan.per_call, f'{array} holds NaN or infinity'
  good = manager.latest_step()
  kept = f'{manager.directory}/{good}' if good else 'none'
  raise ValueError(
    f'{plan.phase}: {found} after step {step}, of learning rate {plan.learning_rate(step - 1):g}; '
    f'allowed: finite numbers. The last good checkpoint: {kept}. The same command meets them '
    'again; a smaller learning rate in another --workdir may not'
  )


def _spent(workdir, phase):
  path = epath.Path(workdir) / 'checkpoints' / f'{phase}_seconds.json'
  return json.loads(path.read_text())['seconds'] if path.exists() else 0.0


def _spend(workdir, phase, seconds):
  if parallel.is_primary():
    path = epath.Path(workdir) / 'checkpoints' / f'{phase}_seconds.json'
    metrics.write_json(path, {'seconds': seconds})
