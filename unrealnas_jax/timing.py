"""What the compiled step of a plan costs: seconds and memory, measured by a few calls of it."""

import statistics
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from unrealnas_jax import parallel


class Timed(NamedTuple):
  """Seconds of tracing, compiling, the first step and later ones (median, and least, which other
  work on the machine changes the least), a step being one of the plan's; XLA's analysis of the
  memory of a call on one device; losses of the last step, by name."""

  trace_seconds: float
  compile_seconds: float
  first_step_seconds: float
  step_seconds: float
  least_step_seconds: float
  memory: Any
  losses: dict[str, float]


def first_arguments(key, plan, warmup=0):
  """What the first call of a plan's step is given: key, state and batches, on the devices.

  warmup: steps that a search begins with and that compute less; the state is said to be past them.
  """
  state = jax.jit(plan.init)()
  if warmup:
    state = state.replace(step=jnp.full_like(state.step, warmup))
  key, state = parallel.replicate((key, state))
  batches = next(iter(plan.batches(range(plan.per_call))))
  return key, state, *(parallel.shard(batch, plan.batch_axis) for batch in batches)


def measure(plan, arguments, calls, profile=''):
  """The Timed of a plan's step.

  calls: how many are timed, after the first; profile: folder for a trace of one more, or ''.
  """
  started = time.perf_counter()
  lowered = plan.step.lower(*arguments)
  traced = time.perf_counter()
  compiled = lowered.compile()
  done = time.perf_counter()
  key, state, *batches = arguments
  seconds = []
  for _ in range(calls + 1):
    begun = time.perf_counter()
    state, values = jax.block_until_ready(compiled(key, state, *batches))
    seconds.append((time.perf_counter() - begun) / plan.per_call)
  if profile:
    with jax.profiler.trace(profile):
      jax.block_until_ready(compiled(key, state, *batches))
  return Timed(
    trace_seconds=traced - started,
    compile_seconds=done - traced,
    first_step_seconds=seconds[0],
    step_seconds=statistics.median(seconds[1:]),
    least_step_seconds=min(seconds[1:]),
    memory=compiled.memory_analysis(),
    losses={name: float(x[-1]) for name, x in values.items() if name.endswith('loss')},
  )
