"""Searching a genotype: what the source shows goes through the supernet, the method learns."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from etils import epath
from jax import lax

from unrealnas_jax import (
  checkpoint,
  data,
  loop,
  metrics,
  objective,
  optimizers,
  parallel,
  samples,
  stages,
  supernet,
)
from unrealnas_jax import genotype as genotypes
from unrealnas_jax.data import augment, batches
from unrealnas_jax.methods import METHODS, alphas
from unrealnas_jax.spaces import SPACES
from unrealnas_jax.state import SearchState

MOST_SKIPS = 0.5  # of a normal cell's operations; DARTS cells with more train poorly
MOST_NONE = 0.5  # of the mixing weights
UNLIMITED_SKIPS = 8  # config.method.max_skips that limits nothing
WEIGHT_DIGITS = 5  # decimals of the mixing weights in metrics.jsonl


class Search(NamedTuple):
  """A search ready to run: its key, what the loop runs, what reads its last state, what it sees."""

  key: jax.Array
  plan: loop.Plan
  net: supernet.Net
  method: Any
  source: data.Source


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
      samples.write(workdir, jax.random.fold_in(search.key, 3), search.source)
    state, spent = loop.run(search.plan, search.key, stage, workdir)
    weights = search.method.weights(state.arch, net=search.net, hp=stage.method)
    seconds, steps = seconds + spent, steps + search.plan.steps
  genotype = _decode(search, state, stage)
  if parallel.is_primary():
    metrics.write_json(epath.Path(workdir) / 'genotype.json', genotypes.to_fields(genotype))
  logging.info('Found %s', genotypes.to_text(genotype))
  facts = {'search_seconds': seconds, 'search_steps': steps}
  return genotype, facts | _ladder(search.net.space, weights, stage)


def prepare(config, dataset, number=0, phase='search', weights=None, plain=False):
  """The Search of the config of a stage; nothing is computed yet.

  dataset: the real images, of which only training images are looked at; None if the source needs
    none. number, phase: of the stage; weights: those that the stage before ended with.
  """
  source, hp = data.make_source(config, dataset), config.search
  net, method = make_net(config, source, weights, plain), METHODS[config.method.name]
  halves = data.make_halves(config, source.examples, dataset)
  epoch_steps = batches.steps_per_epoch(halves[0], hp.batch, 'search.batch')
  tx, key = make_optimizers(config, epoch_steps), _key(config, number)
  plan = loop.Plan(
    phase=phase,
    steps=hp.epochs * epoch_steps,
    epoch_steps=epoch_steps,
    per_call=hp.steps_per_call,
    init=functools.partial(init_state, key, config, net, method, tx),
    step=parallel.pmap_step(make_step(config, source, net, method, tx)),
    batches=functools.partial(_batches, config, source, halves),
    learning_rate=optimizers.learning_rate(hp, epoch_steps),
    end_of_epoch=_end_of_epoch(config, key, source, net, method, halves[1]),
  )
  return Search(key, plan, net, method, source)


def _key(config, number):
  """The key of a stage."""
  key = jax.random.key(config.seed)
  return jax.random.fold_in(key, number) if number else key


def _decode(search, state, config):
  return search.method.decode(_params_key(search.key), state, net=search.net, hp=config.method)


def _ladder(space, weights, config):
  """For result.json the genotypes that a limit on identities has passed, if there is one."""
  if config.method.max_skips == UNLIMITED_SKIPS:
    return {}
  ladder = alphas.skip_ladder(space, weights)
  texts = {len(space.skips(genotype)): genotypes.to_text(genotype) for genotype in ladder}
  return {'max_skips': config.method.max_skips, 'genotype_by_skips': texts}


def make_net(config, source, weights=None, plain=False):
  """The supernet of config.search for a source's images, averaging over devices.

  weights: of the stage before, if config.search.kept_ops leaves only the strongest operations
  """
  return _make_net(config, source.classes, source.shape[-1], weights, plain)


def _make_net(config, classes, image_channels, weights=None, plain=False):
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
      plain=plain,
      affine=config.search.affine,
      partial=config.search.partial_channels,
      sparse=method.SPARSE or kept is not None,
      skip_dropout=config.method.skip_dropout > 0,
    )
  )
  return net._replace(kept=kept)


def make_optimizers(config, epoch_steps):
  """The optimizers of the weights, whose learning rate changes once an epoch, and of the alphas."""
  return optimizers.Optimizers(
    weights=optimizers.sgd(config.search, epoch_steps),
    arch=optimizers.adam(config.method),
    epoch_steps=epoch_steps,
    steps=config.search.epochs * epoch_steps,
    unrolled=optimizers.sgd(config.search, epoch_steps, clip=False),
  )


def init_state(key, config, net, method, tx):
  """The state before the first step."""
  params, batch_stats = net.init(_params_key(key))
  arch = method.init(jax.random.fold_in(key, 1), net=net, hp=config.method)
  return SearchState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    batch_stats=batch_stats,
    arch=arch,
    weight_opt=tx.weights.init(params),
    arch_opt=tx.arch.init(arch),
  )


def _params_key(key):
  return jax.random.fold_in(key, 0)


def make_step(config, source, net, method, tx):
  """(key, state, train, val) -> (state, metrics [S]) for one device's batches [S, B, ...]."""

  def one_step(key, state, two):
    step_key = jax.random.fold_in(jax.random.fold_in(key, 2), state.step)
    halves = []
    for number, batch in enumerate(two):
      images, labels = source.fn(jax.random.fold_in(key, 3), batch)
      images = augment.augment(
        jax.random.fold_in(step_key, number),
        *(batch['index'], images),
        **config.search.augment,
        pad_value=source.pad_value,
      )
      halves.append((images, labels))
    method_key = jax.random.fold_in(step_key, 2)
    return method.step(method_key, state, *halves, net=net, tx=tx, hp=config.method)

  def step(key, state, train, val):
    return lax.scan(functools.partial(one_step, key), state, (train, val))

  return step


def restore_genotype(workdir, config):
  """The genotype that the newest search checkpoint of an earlier run stands for.

  config: of that run. Neither its data is read nor its workdir changed.
  Raises ValueError: it has no checkpoint of a search, or they are at fault.
  """
  genotype = weights = None
  for number, stage in enumerate(stages.configs(config)):
    phase = stages.phases(config)[number]
    restored = _restore_stage(workdir, stage, number, phase, weights)
    if restored is None:
      break
    search, step, state = restored
    weights = search.method.weights(state.arch, net=search.net, hp=stage.method)
    logging.info('The genotype is that of step %d of the %s in %s', step, phase, workdir)
    genotype = _decode(search, state, stage)
  if genotype is None:
    raise ValueError(f'genotype={str(workdir)!r} holds no checkpoint of a search')
  return genotype


def _restore_stage(workdir, config, number, phase, weights):
  """(Search without a plan, step, state) of a stage's newest checkpoint, or None."""
  method, key, net = METHODS[config.method.name], _key(config, number), None

  def make_like(stored):
    # How many classes and channels there are only the data says, and the stored weights do.
    classifier, stem = stored.get('params/classifier/bias'), stored.get('params/stem/kernel')
    if not classifier or not stem:
      raise ValueError(f'genotype={str(workdir)!r}: its checkpoint is none of a supernet')
    nonlocal net
    net = _make_net(config, classifier[0], stem[2], weights)
    tx = make_optimizers(config, epoch_steps=1)
    return jax.eval_shape(functools.partial(init_state, key, config, net, method, tx))

  restored = checkpoint.read_newest(workdir, phase, make_like)
  return restored and (Search(key, None, net, method, None), *restored)


def _batches(config, source, halves, steps):
  part = jax.process_index(), jax.process_count()
  shared = {'per_call': config.search.steps_per_call, 'part': part}
  weights, arch = halves
  common = config.search.batch, config.seed, steps
  train = batches.train_batches(source.read, weights, *common, **shared)
  val = batches.draw_batches(source.read, arch, *common, **shared)
  return zip(train, val, strict=True)


def _end_of_epoch(config, key, source, net, method, arch_half):
  """state -> what is said of it once an epoch: accuracy in eval mode, and signs of collapse."""
  evaluate = parallel.pmap_step(_make_eval(config, source, net, method), batches=1, donate=False)
  data_key = parallel.replicate(jax.random.fold_in(key, 3))
  params_key, part = _params_key(key), (jax.process_index(), jax.process_count())

  def end_of_epoch(state):
    parts = [
      evaluate(data_key, state, parallel.shard(batch))
      for batch in batches.eval_batches(source.read, arch_half, config.search.batch, part=part)
    ]
    right, known = np.sum([np.asarray(count, np.float64) for count in parts], axis=0)
    genotype = method.decode(params_key, state, net=net, hp=config.method)
    weights = method.weights(state.arch, net=net, hp=config.method)
    values = {
      'eval_accuracy': right / known,
      **collapse(net.space, weights, genotype),
      'weights': jax.tree.map(_rounded, weights),
    }
    warn(values, len(genotypes.cells(genotype)['normal']))
    return values

  return end_of_epoch


def _rounded(x):
  return np.asarray(x).round(WEIGHT_DIGITS)


def _make_eval(config, source, net, method):
  def evaluate(key, state, batch):
    images, labels = source.fn(key, batch)
    weights = method.weights(state.arch, net=net, hp=config.method)
    if method.SPARSE:  # trained path by path, so judged by the strongest one
      weights = jax.tree.map(lambda table: jax.nn.one_hot(table.argmax(1), len(table[0])), weights)
    logits, _ = net.apply(state.params, state.batch_stats, weights, images, train=False)
    return lax.psum(objective.count(logits, labels, batch['mask']), parallel.AXIS)

  return evaluate


def collapse(space, weights, genotype):
  """Signs that a search degenerates: {'none_mass', 'normal_skips', ...}.

  none_mass: mean weight of the operation none; skips: how many of a cell's operations are skips.
  """
  column = space.ops.index('none')
  none = [np.asarray(weights[kind])[:, column].mean() for kind in space.kinds]
  cells = genotypes.cells(genotype)
  skips = {f'{kind}_skips': ops.count('skip_connect') for kind, ops in cells.items()}
  return {'none_mass': np.mean(none), **skips}


def warn(values, edges):
  """Logs a warning for each sign in `collapse`'s values that says so.

  edges: operations in a cell of a genotype
  """
  if values['normal_skips'] > MOST_SKIPS * edges:
    logging.warning(
      'The normal cell has %d skip connections of %d operations: the search is collapsing. Stop '
      'earlier (search.epochs), or use more data or a smaller search.lr.',
      *(values['normal_skips'], edges),
    )
  if values['none_mass'] > MOST_NONE:
    logging.warning(
      'The operation none has %.0f %% of the weights: the search says that most edges are best '
      'left out, and its choice among the others means little.',
      100 * values['none_mass'],
    )
