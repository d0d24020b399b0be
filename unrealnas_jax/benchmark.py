"""Times the search step of a config and prints one JSON object.

  python -m unrealnas_jax.benchmark --config=configs/noise.py:paper --config.search.batch=16

What is timed is what a search runs: its compiled step on all devices, on batches of its source, and
the host's making of these batches, which a search does meanwhile.
"""

import json
import resource
import statistics
import sys
import time

import jax
import jax.numpy as jnp
from absl import app, flags

from unrealnas_jax import communication, search, timing
from unrealnas_jax import main as command_line
from unrealnas_jax.config import validate

MATMUL = 2048  # rows and columns of the matrices whose product shows what the machine can do

flags.DEFINE_integer('steps', 5, 'how many steps are timed, after the first', lower_bound=1)
flags.DEFINE_string('profile', '', 'folder for a trace of one step, to be opened in Perfetto')


def main(argv):
  """Prints the facts of the config's search step; the exit code."""
  del argv
  try:
    facts = measure(flags.FLAGS.config, flags.FLAGS.steps, flags.FLAGS.profile)
  except ValueError as error:
    return command_line.fail(error)
  print(json.dumps(facts, indent=2))
  return 0


def measure(config, steps, profile=''):
  """Facts of a search step: times in seconds, memory in bytes.

  A step takes a batch of search.batch images from each of the two halves; images a second count one
  of them, on the device and on the host alike, so that the two can be compared.
  steps: how many are timed, after the first; profile: folder for a trace of one more, or ''.
  Raises ValueError: the config or its data cannot be used.
  """
  validate(config, jax.device_count())
  dataset = command_line.load_data(config)
  plan, arguments = prepare(config, dataset)
  timed = timing.measure(plan, arguments, steps, profile)
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
    1 if sys.platform == 'darwin' else 1024
  )
  batch_seconds = time_batches(plan, steps)
  gflop, matmul_gflops = count_gflop(config, dataset), measure_matmul()
  return {
    'method': config.method.name,
    'devices': f'{jax.device_count()} x {jax.devices()[0].device_kind}',
    'channels': config.search.channels,
    'cells': config.search.cells,
    'batch': config.search.batch,
    'trace_seconds': timed.trace_seconds,
    'compile_seconds': timed.compile_seconds,
    'first_step_seconds': timed.first_step_seconds,
    'step_seconds': timed.step_seconds,
    'images_per_second': config.search.batch / timed.step_seconds,
    'host_batch_seconds': batch_seconds,
    'host_images_per_second': config.search.batch / batch_seconds,
    'step_gflop': gflop,
    'step_gflops': gflop / timed.step_seconds,
    'matmul_gflops': matmul_gflops,
    'share_of_matmul': gflop / timed.step_seconds / matmul_gflops,
    'all_reduces': communication.count(search.prepare(config, dataset)),
    'xla_temp_bytes': timed.memory.temp_size_in_bytes,
    'peak_rss_bytes': peak,
    'train_loss': timed.losses['train_loss'],
  }


def prepare(config, dataset, plain=False):
  """The plan of the config's search, and what its first call is given."""
  key, plan, *_ = search.prepare(config, dataset, plain=plain)
  return plan, timing.first_arguments(key, plan)


def time_batches(plan, steps):
  """Seconds that the host needs to make the batches of one step, while nothing else runs."""
  started = time.perf_counter()
  calls = sum(1 for _ in plan.batches(range(plan.per_call * steps)))
  return (time.perf_counter() - started) / (calls * plan.per_call)


def count_gflop(config, dataset):
  """10^9 floating-point operations of a step, by XLA's cost analysis.

  XLA counts the body of a loop once however often it runs, so this counts the same step with its
  loops written out; what the quick form computes a second time to save memory is not in it.
  """
  plan, arguments = prepare(config, dataset, plain=True)
  return plan.step.lower(*arguments).cost_analysis()['flops'] / 1e9


def measure_matmul():
  """10^9 floating-point operations a second in a float32 matrix product on one device."""
  matrix = jnp.ones((MATMUL, MATMUL))
  product = jax.jit(lambda x: jnp.dot(x, x, precision='highest'))
  product(matrix).block_until_ready()
  seconds = []
  for _ in range(10):
    started = time.perf_counter()
    product(matrix).block_until_ready()
    seconds.append(time.perf_counter() - started)
  return 2 * MATMUL**3 / statistics.median(seconds) / 1e9


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse)
