"""Timing of a step: what is counted, per step of the plan."""

import itertools
import pathlib
import types

import jax
import jax.numpy as jnp
import numpy as np

from configs import noise
from unrealnas_jax import benchmark, loop, parallel, timing

CONFIGS = pathlib.Path(__file__).parent.parent / 'configs'


def plan(per_call):
  def step(key, state, batch):
    return state + parallel.mean(batch.mean()), {'train_loss': parallel.mean(batch.mean((1, 2)))}

  return loop.Plan(
    phase='search',
    steps=8,
    epoch_steps=4,
    per_call=per_call,
    init=lambda: jnp.float32(1),
    step=parallel.pmap_step(step, batches=1),
    batches=lambda steps: ((np.full((per_call, 8, 1), n, np.float32),) for n in steps[::per_call]),
    learning_rate=None,
    end_of_epoch=None,
  )


def test_seconds_are_those_of_a_step(monkeypatch):
  # Each look at the clock is a second after the last, so that every span between two is one, but
  # for the last two calls of the step, which take 5 and 3.
  clock = itertools.accumulate([1] * 7 + [5, 1, 3], initial=0)
  monkeypatch.setattr(timing, 'time', types.SimpleNamespace(perf_counter=lambda: next(clock)))
  two = plan(per_call=2)
  timed = timing.measure(two, timing.first_arguments(jax.random.key(0), two), calls=3)
  assert timed.trace_seconds == timed.compile_seconds == 1
  assert timed.first_step_seconds == 0.5
  assert (timed.step_seconds, timed.least_step_seconds) == (1.5, 0.5)
  assert timed.losses == {'train_loss': 0}
  assert len(list(clock)) == 0  # a first call and three more


def test_a_search_is_timed_past_its_warm_up():
  """In which the architecture would only be measured."""
  config = noise.get_config('laptop')
  config = benchmark.of_method(config, f'{CONFIGS}/noise.py:laptop', 'pc_darts', {})
  plan, (_, state, *_), _ = benchmark.prepare(config, None)
  assert config.method.warmup_epochs > 0
  assert state.step == config.method.warmup_epochs * plan.epoch_steps


def test_first_arguments_are_the_state_and_the_batches_of_the_first_call():
  key, state, batch = timing.first_arguments(jax.random.key(5), plan(per_call=2))
  assert (jax.random.key_data(key) == jax.random.key_data(jax.random.key(5))).all()
  assert float(state) == 1
  assert batch.shape == (4, 2, 2, 1)
  assert float(batch.sum()) == 0
