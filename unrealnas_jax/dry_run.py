"""What a run would be and what it would cost, found out without a workdir: --dry_run."""

import datetime

import jax

from unrealnas_jax import analysis, cost, generator, retrain, search, seeds, stages, timing
from unrealnas_jax.config import to_json
from unrealnas_jax.data import SOURCES, real
from unrealnas_jax.methods import paths

CALLS = 3  # timed calls of a step, after the first


def describe(config, dataset, genotype):
  """Yields texts, each as soon as it is known: the config, then each training.

  In place of the search stands the training of a generator where the config has one.
  Of a search in stages each is told as if all operations were left, of an analysis that of its
  first cell on each source, of several seeds the first search and retraining.
  dataset: the real images, None for a run without any. genotype: that of config.genotype, None to
  search for one, where a random cell stands for the one that would be found; of an analysis its
  cells. Steps of a warm-up count as those after it, which take longer.
  """
  yield to_json(config)
  if config.analysis.genotypes:
    yield from _analysis(config, dataset, genotype)
    return
  of_cell = 'of the given genotype'
  if config.generator.steps:
    yield _generator(config, dataset)
    of_cell += '; two such networks are trained, on generated and on real images'
  elif genotype is None:
    seen = dataset and dataset._replace(test=None)
    for number, stage in enumerate(stages.configs(config)):
      found = search.prepare(stage, seen, number, stages.phases(config)[number])
      yield _search(stage, found, seen)
    if stage.method.selection == 'perturbation':
      yield _search(stage, search.prepare_selection(found, found.plan.init, stage, seen), seen)
    of_cell = 'of a random cell; the one that is found may be larger or smaller'
    genotype = _random_cell(found)
  if config.seeds:
    of_cell += f'; one of {len(config.seeds)}, each with a seed'
  if config.retrain.epochs:
    source = real.make(config, dataset)
    yield _retraining(config, retrain.prepare(config, genotype, source), source, of_cell)


def _analysis(config, dataset, cells):
  name, cell = next(iter(cells.items()))
  for source in config.analysis.sources.split(','):
    found = analysis.prepare(config, cell, name, source, dataset)
    made = SOURCES[source](config, dataset)
    yield _retraining(config, found, made, f'one of {len(cells)} cells')


def _random_cell(found):
  space = found.net.space
  return space.decode(paths.one_hot(space, paths.sample(found.key, space)))


def _search(config, found, dataset):
  params, _ = jax.eval_shape(found.net.init, found.key)
  size, key, plan = f'{cost.parameters(params):,} parameters in the supernet', found.key, found.plan
  groups = seeds.groups(config)
  if groups:
    size += f'; {len(config.seeds)} seeds, of which one program searches {len(groups[0])}'
  if groups and len(groups[0]) > 1:
    key, plan, _ = search.prepare_together(groups[0], dataset)
  warmup = config.method.warmup_epochs * plan.epoch_steps
  return _phase(config.search, key, plan, size, warmup)


def _generator(config, dataset):
  key, plan = generator.prepare(config, dataset, generator.describe(config, dataset), workdir='')
  state = jax.eval_shape(plan.init)
  sizes = [cost.parameters(x['params']) for x in (state.generator, state.discriminator)]
  size = '{:,} parameters in the generator, {:,} in the discriminator'.format(*sizes)
  return _phase(config.generator, key, plan, size)


def _retraining(config, found, source, of_cell):
  size = retrain.measure(found.network, source.shape)
  numbers = f'{size["parameters"]:,} parameters, {size["multiply_adds"]:,} multiply-adds'
  return _phase(config.retrain, found.key, found.plan, f'{numbers}, {of_cell}')


def _phase(hp, key, plan, size, warmup=0):
  steps = f'{plan.steps:,} steps of {hp.batch} images, {plan.epoch_steps:,} an epoch'
  lines = [('size', size)]
  if plan.steps:
    arguments = timing.first_arguments(key, plan, warmup)
    lines += _costs(plan, timing.measure(plan, arguments, CALLS), _batch_bytes(*arguments))
  return '\n'.join([f'{plan.phase}: {steps}', *(f'  {name:12} {text}' for name, text in lines)])


def _batch_bytes(key, state, *batches):
  """Bytes on one device of the batches of a call."""
  del key, state
  return sum(x.nbytes for x in jax.tree.leaves(batches)) // jax.local_device_count()


def _costs(plan, timed, batch_bytes):
  start = timed.trace_seconds + timed.compile_seconds + timed.first_step_seconds
  training = timed.step_seconds * plan.steps
  yield 'memory', _memory(timed.memory, batch_bytes)
  yield 'start', f'{_time(start)}: tracing, compilation and the first step'
  yield 'step', f'{timed.step_seconds:.3g} s, the median of {CALLS} calls'
  yield 'in all', f'{_time(start + training)} without what is tested between and after the steps'


def _memory(analysis, batch_bytes):
  """What a call takes by XLA's analysis, and the batches of the next, which are there already."""
  if analysis is None:
    return 'not told by XLA for this device'
  kept = analysis.argument_size_in_bytes + analysis.output_size_in_bytes
  kept = (kept - analysis.alias_size_in_bytes + batch_bytes) / 2**20
  within = analysis.temp_size_in_bytes / 2**20
  parts = f'{kept:,.0f} of state and batches, {within:,.0f} within a step'
  return f'{kept + within:,.0f} MiB a device by the analysis of XLA: {parts}'


def _time(seconds):
  return f'{seconds:.1f} s' if seconds < 60 else str(datetime.timedelta(seconds=round(seconds)))
