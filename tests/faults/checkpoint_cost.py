"""Times what a checkpoint costs a search, and prints one JSON object.

  python tests/faults/checkpoint_cost.py --config=configs/noise.py [--repeats=5]

The step and the checkpoint of the config's search are timed in turn, by the clock and by the CPU
time of all threads of the process, which other programs on the machine change less.
"""

import json
import statistics
import tempfile
import time

import jax
from absl import app, flags

from unrealnas_jax import benchmark, checkpoint, finite
from unrealnas_jax import main as command_line
from unrealnas_jax.config import validate

flags.DEFINE_integer('repeats', 5, 'how many checkpoints are timed', lower_bound=1)


class Clock:
  """Seconds since it was made or last asked: (by the clock, of the CPU)."""

  def __init__(self):
    self.last = time.perf_counter(), time.process_time()

  def lap(self):
    now = time.perf_counter(), time.process_time()
    before, self.last = self.last, now
    return now[0] - before[0], now[1] - before[1]


def measure(config, repeats):
  """Medians over the repeats; shares are of the steps between two checkpoints."""
  validate(config, jax.device_count())
  plan, (key, state, *batches), _ = benchmark.prepare(config, command_line.load_data(config))
  state, _ = jax.block_until_ready(plan.step(key, state, *batches))
  laps = {name: [] for name in ('call', 'look', 'save', 'write')}
  with tempfile.TemporaryDirectory() as folder:
    manager = checkpoint.open(folder, 'search', config.checkpoint.keep)
    for step in range(1, repeats + 2):
      clock = Clock()
      state, _ = jax.block_until_ready(plan.step(key, state, *batches))
      laps['call'].append(clock.lap())
      assert finite.wrong_array(state) is None
      laps['look'].append(clock.lap())
      checkpoint.save(manager, step, state)
      laps['save'].append(clock.lap())
      checkpoint.wait(manager)
      laps['write'].append(clock.lap())
    checkpoint.close(manager)
  # The first checkpoint starts threads and makes folders.
  wall, cpu = (
    {name: statistics.median(lap[kind] for lap in found[1:]) for name, found in laps.items()}
    for kind in (0, 1)
  )
  steps = config.checkpoint.every or plan.epoch_steps
  between = {
    'wall': wall['call'] * steps / plan.per_call,
    'cpu': cpu['call'] * steps / plan.per_call,
  }
  return {
    'state_mb': sum(x.nbytes for x in jax.tree.leaves(state)) / 1e6,
    'step_seconds': wall['call'] / plan.per_call,
    'steps_between_checkpoints': steps,
    'finite_seconds': wall['look'],
    'save_seconds': wall['save'],
    'background_seconds': wall['write'],
    'checkpoint_cpu_seconds': cpu['look'] + cpu['save'] + cpu['write'],
    'share_of_time_waited': (wall['look'] + wall['save']) / between['wall'],
    'share_of_cpu_time': (cpu['look'] + cpu['save'] + cpu['write']) / between['cpu'],
  }


def main(argv):
  """Prints the facts of the config's checkpoints."""
  del argv
  print(json.dumps(measure(flags.FLAGS.config, flags.FLAGS.repeats), indent=2))


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse)
