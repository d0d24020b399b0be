"""Times a step of a search, or of a retraining, and prints one JSON object.

  python -m unrealnas_jax.benchmark --config=configs/noise.py:paper --batch=16
  python -m unrealnas_jax.benchmark --config=configs/noise.py:paper --batch=16 --method=pc_darts
  python -m unrealnas_jax.benchmark --config=configs/noise.py:paper --batch=16 --genotype=DARTS_V2

What is timed is what a run does: its compiled step on all devices, on batches of its source, and
the host's making of these batches, which a run does meanwhile. Of a search in stages it is the
first. A retraining is timed on the images of config.source too, so no data set is needed for it.
Programs are compiled anew, without those kept on disk, unless --cache is given.
"""

import importlib.util
import json
import os
import resource
import statistics
import sys
import time

import jax
import jax.numpy as jnp
from absl import app, flags

from unrealnas_jax import (
  communication,
  compiled_code,
  environment,
  kernels,
  retrain,
  search,
  stages,
  timing,
)
from unrealnas_jax import main as command_line
from unrealnas_jax.config import validate
from unrealnas_jax.data import IMAGELESS, SOURCES
from unrealnas_jax.given_genotype import load_genotype
from unrealnas_jax.methods import METHODS
from unrealnas_jax.rules import flatten

MATMUL = 2048  # rows and columns of the matrices whose product shows what the machine can do
CONFIGS = {'darts': 'noise', 'random': 'random_search'}  # of methods whose file has another name


def parse(argv, values=flags.FLAGS):
  """Defines and parses the flags; what is left of argv. Bad flags end the program with code 2."""
  own = {'flag_values': values}
  about = 'how many steps are timed, after the first'
  flags.DEFINE_integer('steps', 5, about, lower_bound=1, **own)
  flags.DEFINE_integer('batch', None, 'images a step over all devices', lower_bound=1, **own)
  about = 'a method, with the settings of its own config file and the source of --config'
  flags.DEFINE_string('method', '', about, **own)
  flags.DEFINE_string('genotype', '', 'times the retraining of it; as config.genotype', **own)
  flags.DEFINE_bool('cache', False, 'takes compiled programs from disk, as a run does', **own)
  about = 'folder for a trace of one step, to be opened in Perfetto; its kernels are summed'
  flags.DEFINE_string('profile', '', about, **own)
  return command_line.parse(argv, values)


def main(argv, values=flags.FLAGS):
  """Prints the facts of a step of the config; the exit code."""
  del argv
  if values.cache:
    compiled_code.keep()
  else:
    jax.config.update('jax_enable_compilation_cache', False)
  try:
    config = values.config
    given = values['config'].override_values
    if values.method:
      config = of_method(config, values['config'].config_filename, values.method, given)
    changed = adapt(config, values.batch, values.genotype, given)
    facts = {'changed_here': changed} | measure(config, values.steps, values.profile)
  except ValueError as error:
    return command_line.fail(error)
  print(json.dumps(facts, indent=2))
  return 0


def of_method(config, file, method, given):
  """The config of a method's own file, with the source and data of `config` and the keys given.

  file: that of `config`, beside which the method's lies, with the choice behind its colon.
  Raises ValueError: no such method, or its file is not for this search space.
  """
  if method not in METHODS:
    raise ValueError(f'--method={method}; allowed: {", ".join(METHODS)}')
  if config.search.space != 'darts':
    raise ValueError(
      f"--method={method}; allowed: with search.space = 'darts'; configs/nasbench201.py:{method} "
      'chooses it there'
    )
  file, _, choice = file.partition(':')
  path = os.path.join(os.path.dirname(file), f'{CONFIGS.get(method, method)}.py')
  if not os.path.exists(path):
    raise ValueError(f'--method={method}; allowed: beside a config file that has {path} with it')
  spec = importlib.util.spec_from_file_location(f'config_of_{method}', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  found = module.get_config(choice or 'auto')
  found.source, found.data = config.source, config.data
  found.update_from_flattened_dict(given)
  return found


def adapt(config, batch, genotype, given):
  """Makes a config one of which a step alone is wanted; {key: value} of what changed.

  batch, genotype: of the flags; None and '' leave what config has. given: keys that the user has
  set, which stay.
  """
  asked = {'genotype': genotype} if genotype else {}
  part = 'retrain' if genotype or config.genotype else 'search'
  if batch:
    asked[f'{part}.batch'] = batch
  # A search reads no images for a retraining that does not follow, nor does that want no epochs.
  epochs = (config.retrain.epochs or 1) if part == 'retrain' else 0
  helps = {'search.steps_per_call': 1, 'retrain.epochs': epochs}
  wanted = {key: value for key, value in helps.items() if key not in given} | asked
  before = flatten(config.to_dict())
  changed = {key: value for key, value in wanted.items() if before[key] != value}
  config.update_from_flattened_dict(changed)
  return changed


def measure(config, steps, profile=''):
  """Facts of a step: times in seconds, memory in bytes.

  A step of a search takes a batch of search.batch images from each of the two halves; images a
  second count one of them, on the device and on the host alike, so that the two can be compared.
  steps: how many are timed, after the first; profile: folder for a trace of one more, or ''.
  Raises ValueError: the config or its data cannot be used.
  """
  validate(config, jax.device_count())
  # A retraining is timed on the images of any source: real ones are read only where it is real.
  dataset = None if config.source.name in IMAGELESS else command_line.load_data(config)
  part = 'retrain' if config.genotype else 'search'
  plan, arguments, of_part = (prepare_retraining if config.genotype else prepare)(config, dataset)
  timed = timing.measure(plan, arguments, steps, profile)
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (
    1 if sys.platform == 'darwin' else 1024
  )
  batch, batch_seconds = config[part].batch, time_batches(plan, steps)
  counted = {} if config.genotype else count(config, dataset, timed.step_seconds)
  cached = jax.config.jax_enable_compilation_cache and jax.config.jax_compilation_cache_dir
  return {
    'part': part,
    **of_part,
    'devices': f'{jax.device_count()} x {jax.devices()[0].device_kind}',
    'cpu': f'{os.cpu_count()} cores of {environment.cpu_model()}',
    'compiled_programs': cached or 'none kept: compiled anew',
    'batch': batch,
    'trace_seconds': timed.trace_seconds,
    'compile_seconds': timed.compile_seconds,
    'first_step_seconds': timed.first_step_seconds,
    'step_seconds': timed.step_seconds,
    'least_step_seconds': timed.least_step_seconds,
    'images_per_second': batch / timed.step_seconds,
    'host_batch_seconds': batch_seconds,
    'host_images_per_second': batch / batch_seconds,
    **counted,
    'xla_temp_bytes': timed.memory.temp_size_in_bytes,
    'peak_rss_bytes': peak,
    'train_loss': timed.losses['train_loss'],
    **({'kernels': kernels.longest(profile)} if profile else {}),
  }


def prepare(config, dataset, plain=False):
  """(the plan of the first stage of a search, what its first call is given, facts of it)"""
  config, *later = stages.configs(config)
  key, plan, *_ = search.prepare(config, dataset, plain=plain)
  warmup = config.method.warmup_epochs * plan.epoch_steps
  hp, facts = config.search, {'method': config.method.name}
  facts |= {'channels': hp.channels, 'cells': hp.cells, 'stages': 1 + len(later)}
  return plan, timing.first_arguments(key, plan, warmup), facts


def prepare_retraining(config, dataset):
  """As `prepare`, of the retraining of config.genotype on the images of config.source."""
  source = SOURCES[config.source.name](config, dataset)
  key, plan, network = retrain.prepare(config, load_genotype(config.genotype), source)
  facts = {'channels': config.retrain.channels, 'cells': config.retrain.cells}
  facts = {'genotype': config.genotype} | facts | retrain.measure(network, source.shape)
  return plan, timing.first_arguments(key, plan), facts


def time_batches(plan, steps):
  """Seconds that the host needs to make the batches of one step, while nothing else runs."""
  started = time.perf_counter()
  calls = sum(1 for _ in plan.batches(range(plan.per_call * steps)))
  return (time.perf_counter() - started) / (calls * plan.per_call)


def count(config, dataset, step_seconds):
  """What a step of a search computes and what devices send each other in it.

  XLA counts the body of a loop once however often it runs, so this counts the step with its loops
  written out; what the quick form computes a second time to save memory is not in it, nor what the
  architecture's way back in methods.one_program has to spare.
  """
  plan, arguments, _ = prepare(config, dataset, plain=True)
  gflop = plan.step.lower(*arguments).cost_analysis()['flops'] / 1e9
  rate, matmul = gflop / step_seconds, measure_matmul()
  return {
    'step_gflop': gflop,
    'step_gflops': rate,
    'matmul_gflops': matmul,
    'share_of_matmul': rate / matmul,
    'all_reduces': communication.count(search.prepare(stages.configs(config)[0], dataset)),
  }


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
  app.run(main, flags_parser=parse)
