"""Searching a genotype: what the source shows goes through the supernet, the method learns."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from absl import logging
from etils import epath
from jax import lax

from unrealnas_jax import (
  data,
  decoding,
  eigenvalue,
  keys,
  limits,
  loop,
  metrics,
  optimizers,
  parallel,
  perturbation,
  samples,
  seeds,
  stages,
  supernet,
  watch,
)
from unrealnas_jax import genotype as genotypes
from unrealnas_jax.data import augment, batches, pretext
from unrealnas_jax.data.source import show
from unrealnas_jax.methods import LEARNED, METHODS, alphas, turns
from unrealnas_jax.spaces import SPACES
from unrealnas_jax.state import SearchState

STAGE = 10**6  # more epochs than a stage has; what is drawn in an epoch is drawn in one stage alone


class Search(NamedTuple):
  """A search ready to run: its key, what the loop runs, what reads its last state, what it sees.

  key: of the run, as steps are given it; phase: of the loop; step: as in Plan, but for one device;
  number: of the stage.
  """

  key: jax.Array
  plan: loop.Plan
  net: supernet.Net
  method: Any
  source: data.Source
  phase: str
  step: Callable | None
  number: int = 0


def run(config, dataset, workdir):
  """Searches, or goes on with the search in workdir: (genotype, facts for result.json).

  dataset: as for `prepare`. Writes genotype.json, samples.npz, metrics.jsonl and checkpoints/search
  to workdir, and for each of several stages checkpoints/search_1 and so on.
  Raises ValueError: the checkpoints or metrics in workdir cannot be used.
  """
  weights, seconds, steps = None, 0.0, 0
  for number, stage in enumerate(stages.configs(config)):
    search = prepare(stage, dataset, number, stages.phases(config)[number], weights)
    if number == 0:
      samples.write(workdir, keys.of_data(search.key), search.source)
    state, spent = loop.run(search.plan, search.key, stage, workdir)
    weights = decoding.last_weights(search, state, stage, workdir)
    seconds, steps = seconds + spent, steps + int(state.step)  # fewer than planned where it ends
  facts = {}
  if stage.method.selection == 'perturbation':
    search = prepare_selection(search, lambda: state, stage, dataset)
    state, spent = loop.run(search.plan, search.key, stage, workdir)
    facts = {'selection_seconds': spent, 'selection_steps': search.plan.steps}
  genotype, chosen = decoding.decode(search, state, stage, workdir)
  if parallel.is_primary():
    metrics.write_json(epath.Path(workdir) / 'genotype.json', genotypes.to_fields(genotype))
  logging.info('Found %s', genotypes.to_text(genotype))
  facts |= _facts(stage, search, genotype, dataset, seconds, steps)
  return genotype, facts | chosen | decoding.ladder(search.net.space, weights, stage)


def run_together(configs, dataset, workdir):
  """As `run` for configs that differ in their seed alone, in one program: a list of its answers.

  Of what `run` writes all but genotype.json. Seconds are a search's share of those of all together.
  """
  stacked, plan, searches = prepare_together(configs, dataset)
  samples.write(workdir, keys.of_data(searches[0].key), searches[0].source)
  states, seconds = loop.run(plan, stacked, configs[0], workdir)
  found = []
  for number, (search, config) in enumerate(zip(searches, configs, strict=True)):
    state, share = seeds.row(states, number), seconds / len(configs)
    genotype, _ = decoding.decode(search, state, config, workdir)
    logging.info('Found with seed %d: %s', config.seed, genotypes.to_text(genotype))
    weights = search.method.weights(state.arch, net=search.net, hp=config.method)
    facts = _facts(config, search, genotype, dataset, share, plan.steps)
    found.append((genotype, facts | decoding.ladder(search.net.space, weights, config)))
  return found


def _facts(config, search, genotype, dataset, seconds, steps):
  """What result.json says of every search."""
  learned = config.method.name in LEARNED
  selection = {'selection': config.method.selection} if learned else {}
  priced = limits.facts(config, genotype, dataset or search.source)
  return {'search_seconds': seconds, 'search_steps': steps} | selection | priced


def prepare_together(configs, dataset):
  """(keys [N], Plan of one program, the N Searches) of configs that differ in their seed alone."""
  searches = [prepare(config, dataset) for config in configs]
  stacked = jnp.stack([search.key for search in searches])
  plan = seeds.together([search.plan for search in searches], searches[0].step)
  return stacked, plan, searches


def prepare(config, dataset, number=0, phase='search', weights=None, plain=False):
  """The Search of the config of a stage; nothing is computed yet.

  dataset: the real images, of which only training images are looked at; None if the source needs
    none. number, phase: of the stage; weights: those that the stage before ended with.
  """
  source, hp = data.make_source(config, dataset), config.search
  method = METHODS[config.method.name]
  net = make_net(config, source.classes, source.shape[-1], weights, plain)
  net = net._replace(space=limits.within(config, net.space, dataset or source))
  halves = data.make_halves(config, source.examples, dataset)
  epoch_steps = batches.steps_per_epoch(halves[0], hp.batch, 'search.batch')
  tx, key = make_optimizers(config, epoch_steps), jax.random.key(config.seed)
  of_stage = keys.of_stage(key, number)
  drawn = keys.of_params(of_stage), keys.of_data(key)
  step = make_step(config, source, net, method, tx, number)
  plan = loop.Plan(
    phase=phase,
    steps=hp.epochs * epoch_steps,
    epoch_steps=epoch_steps,
    per_call=hp.steps_per_call,
    init=functools.partial(init_state, of_stage, config, net, method, tx),
    step=parallel.pmap_step(step),
    batches=functools.partial(_batches, config, source, halves, number * STAGE * epoch_steps),
    learning_rate=optimizers.learning_rate(hp, epoch_steps, turns(config.method)),
    end_of_epoch=watch.end_of_epoch(config, drawn, source, net, method, halves[1], epoch_steps),
    enough=lambda epochs: eigenvalue.turning_point(epochs, config) is not None,
  )
  return Search(key, plan, net, method, source, phase, step, number)


def prepare_selection(search, last_state, config, dataset):
  """The Search that goes on with an ended one by perturbation; nothing is computed yet.

  last_state: () -> that of the search; config, dataset: those that `prepare` had.
  """
  config, source = perturbation.tuning(config, search.net.space), search.source
  # What is left out is not computed any more.
  net = make_net(config, source.classes, source.shape[-1], sparse=True)
  net = net._replace(space=search.net.space, kept=search.net.kept)
  halves = data.make_halves(config, source.examples, dataset)
  method = perturbation.of(search.method)
  epoch_steps, offset = search.plan.epoch_steps, search.plan.steps
  tx = make_optimizers(config, epoch_steps)._replace(steps=offset)
  key = keys.of_stage(search.key, search.number)
  drawn = keys.of_params(key), keys.of_data(search.key)
  step = make_step(config, source, net, method, tx, search.number)
  plan = search.plan._replace(
    phase='selection',
    steps=config.search.epochs * epoch_steps,
    init=lambda: perturbation.begin(last_state(), net.space, tx),
    step=parallel.pmap_step(step),
    batches=lambda steps: search.plan.batches(range(steps.start + offset, steps.stop + offset)),
    learning_rate=optimizers.learning_rate(config.search, epoch_steps),
    end_of_epoch=watch.end_of_epoch(config, drawn, source, net, method, halves[1], epoch_steps),
    enough=loop.never,
    before_epoch=perturbation.before_epoch(
      config, (keys.of_decisions(key), keys.of_data(search.key)), source, net, method, halves[1]
    ),
  )
  return search._replace(plan=plan, net=net, method=method, phase=plan.phase, step=step)


def make_net(config, classes, image_channels, weights=None, plain=False, sparse=False):
  """The supernet of config.search, averaging over devices.

  weights: of the stage before, if config.search.kept_ops leaves only the strongest operations
  """
  count, method = config.search.kept_ops, METHODS[config.method.name]
  kept = alphas.strongest(weights, count) if count and weights else None
  net = supernet.make(
    supernet.Shape(
      space=SPACES[config.search.space],
      channels=config.search.channels,
      cells=config.search.cells,
      classes=classes,
      image_channels=image_channels,
      dtype=config.dtype,
      axis_name=parallel.AXIS,
      stem=config.search.stem,
      **pretext.head(config),
      microbatch=0 if plain else config.search.microbatch,  # plain: to count operations
      plain=plain,
      affine=config.search.affine,
      partial=config.search.partial_channels,
      sparse=sparse or method.SPARSE or kept is not None,
      skip_dropout=config.method.skip_dropout > 0,
    )
  )
  return net._replace(kept=kept, smoothing=config.search.label_smoothing)


def make_optimizers(config, epoch_steps):
  """The optimizers of the weights and of the alphas."""
  hp = config.search
  sgd = functools.partial(
    *(optimizers.sgd, hp, epoch_steps),
    turns=turns(config.method),
    **{name: hp[name] for name in ('nesterov', 'clip_by', 'decayed')},
  )
  return optimizers.Optimizers(
    weights=sgd(),
    arch=optimizers.adam(config.method),
    epoch_steps=epoch_steps,
    steps=hp.epochs * epoch_steps,
    unrolled=sgd(clip=False),
  )


def init_state(key, config, net, method, tx):
  """The state before the first step."""
  params, batch_stats = net.init(keys.of_params(key))
  arch = method.init(keys.of_arch(key), net=net, hp=config.method)
  return SearchState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    batch_stats=batch_stats,
    arch=arch,
    weight_opt=tx.weights.init(params),
    arch_opt=tx.arch.init(arch),
  )


def make_step(config, source, net, method, tx, stage):
  """(key, state, train, val) -> (state, metrics [S]) for one device's batches [S, B, ...]."""

  def one_step(key, state, two):
    step_key = keys.of_step(keys.of_stage(key, stage), state.step)
    halves = []
    for number, batch in enumerate(two):
      change = functools.partial(
        *(augment.augment, jax.random.fold_in(step_key, number), batch['index']),
        **config.search.augment,
        pad_value=source.pad_value,
      )
      halves.append(show(source, keys.of_data(key), batch, change))
    method_key = jax.random.fold_in(step_key, 2)
    return method.step(method_key, state, *halves, net=net, tx=tx, hp=config.method)

  def step(key, state, train, val):
    return lax.scan(functools.partial(one_step, key), state, (train, val))

  return step


def _batches(config, source, halves, offset, steps):
  steps = range(steps.start + offset, steps.stop + offset)
  part = jax.process_index(), jax.process_count()
  shared = {'per_call': config.search.steps_per_call, 'part': part}
  weights, arch = halves
  common = config.search.batch, config.seed, steps
  train = batches.train_batches(source.read, weights, *common, **shared)
  val = batches.draw_batches(source.read, arch, *common, **shared)
  return zip(train, val, strict=True)
