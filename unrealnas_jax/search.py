"""Searching a genotype: what the source shows goes through the supernet, the method learns."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from etils import epath
from jax import lax
from ml_collections import ConfigDict

from unrealnas_jax import checkpoint, data, loop, metrics, optimizers, parallel, supernet
from unrealnas_jax import genotype as genotypes
from unrealnas_jax.data import augment, batches, datasets
from unrealnas_jax.methods import METHODS
from unrealnas_jax.spaces import SPACES
from unrealnas_jax.state import SearchState

MOST_SKIPS = 4  # of the 8 operations of a normal cell; DARTS cells with more train poorly
MOST_NONE = 0.5  # of the mixing weights


def run(config, workdir):
  """Searches, or goes on with the search in workdir: (Genotype, facts for result.json).

  Writes genotype.json, metrics.jsonl and checkpoints/search below workdir.
  Raises ValueError: the data or the workdir cannot be used.
  """
  dataset = None if config.source.name in data.IMAGELESS else datasets.load(config.data)
  source = data.make_source(config, dataset)
  net, method, halves = (
    make_net(config, source),
    METHODS[config.method.name],
    _halves(config, source),
  )
  epoch_steps = batches.steps_per_epoch(halves[0], config.search.batch, 'search.batch')
  _check_calls(config.search.steps_per_call, epoch_steps)
  tx = optimizers.Optimizers(
    optimizers.sgd(config.search, epoch_steps), optimizers.adam(config.method)
  )
  key = jax.random.key(config.seed)
  plan = loop.Plan(
    phase='search',
    steps=config.search.epochs * epoch_steps,
    epoch_steps=epoch_steps,
    per_call=config.search.steps_per_call,
    init=functools.partial(init_state, key, config, net, method, tx),
    step=parallel.pmap_step(make_step(config, source, net, method, tx)),
    batches=functools.partial(_batches, config, source, halves),
    end_of_epoch=_end_of_epoch(config, key, source, net, method, halves[1]),
  )
  state, seconds = loop.run(plan, key, config, workdir)
  genotype = method.decode(key, state, net=net, hp=config.method)
  if parallel.is_primary():
    found = json.loads(genotypes.to_json(genotype))
    metrics.write_json(epath.Path(workdir) / 'genotype.json', found)
  logging.info('Found %s', genotypes.to_text(genotype))
  return genotype, {'search_seconds': seconds, 'search_steps': plan.steps}


def make_net(config, source):
  """The supernet of config.search for a source's images, averaging over devices."""
  return supernet.make(
    supernet.Shape(
      space=SPACES[config.search.space],
      channels=config.search.channels,
      cells=config.search.cells,
      classes=source.classes,
      image_channels=source.shape[-1],
      dtype=config.dtype,
      axis_name=parallel.AXIS,
    )
  )


def init_state(key, config, net, method, tx):
  """The state before the first step."""
  params_key, arch_key = (jax.random.fold_in(key, number) for number in (0, 1))
  params, batch_stats = net.init(params_key)
  arch = method.init(arch_key, net=net, hp=config.method)
  return SearchState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    batch_stats=batch_stats,
    arch=arch,
    weight_opt=tx.weights.init(params),
    arch_opt=tx.arch.init(arch),
  )


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


def restore_genotype(workdir):
  """The genotype that the newest search checkpoint in an earlier run's workdir stands for.

  Raises ValueError: the folder holds no search, or its checkpoints are at fault.
  """
  workdir = epath.Path(workdir)
  config = ConfigDict(json.loads((workdir / 'config.json').read_text()))
  dataset = None if config.source.name in data.IMAGELESS else datasets.load(config.data)
  source = data.make_source(config, dataset)
  net, method = make_net(config, source), METHODS[config.method.name]
  key = jax.random.key(config.seed)
  tx = optimizers.Optimizers(optimizers.sgd(config.search, 1), optimizers.adam(config.method))
  like = jax.eval_shape(lambda: init_state(key, config, net, method, tx))
  manager = checkpoint.open(workdir, 'search', config.checkpoint.keep)
  restored = checkpoint.restore_latest(manager, like)
  checkpoint.close(manager)
  if restored is None:
    raise ValueError(f'genotype={str(workdir)!r} holds no checkpoint of a search')
  step, state = restored
  logging.info('The genotype comes from step %d of the search in %s', step, workdir)
  return method.decode(key, state, net=net, hp=config.method)


def _halves(config, source):
  return batches.split_halves(source.examples, config.search.train_portion)


def _check_calls(per_call, epoch_steps):
  if epoch_steps % per_call:
    allowed = ', '.join(map(str, loop.divisors(epoch_steps)))
    raise ValueError(
      f'search.steps_per_call = {per_call}; allowed: a divisor of the {epoch_steps} steps of an '
      f'epoch: {allowed}'
    )


def _batches(config, source, halves, steps):
  part = jax.process_index(), jax.process_count()
  shared = {'per_call': config.search.steps_per_call, 'part': part}
  weights, arch = halves
  common = source.read, config.search.batch, config.seed, steps
  train = batches.train_batches(common[0], weights, *common[1:], **shared)
  val = batches.draw_batches(common[0], arch, *common[1:], **shared)
  return zip(train, val, strict=True)


def _end_of_epoch(config, key, source, net, method, arch_half):
  """state -> what is said of it once an epoch: accuracy in eval mode, and signs of collapse."""
  evaluate = parallel.pmap_step(_make_eval(source, net, method), batches=1, donate=False)
  data_key = parallel.replicate(jax.random.fold_in(key, 3))
  part = jax.process_index(), jax.process_count()

  def end_of_epoch(state):
    parts = [
      evaluate(data_key, state, parallel.shard(batch))
      for batch in batches.eval_batches(source.read, arch_half, config.search.batch, part=part)
    ]
    correct = sum(float(values) for values in parts)
    genotype = method.decode(key, state, net=net, hp=config.method)
    values = {
      'eval_accuracy': correct / len(arch_half),
      **collapse(net.space, method, state, genotype),
    }
    _warn(values)
    return values

  return end_of_epoch


def _make_eval(source, net, method):
  def evaluate(key, state, batch):
    images, labels = source.fn(key, batch)
    weights = method.weights(state.arch)
    logits, _ = net.apply(state.params, state.batch_stats, weights, images, train=False)
    correct = (logits.argmax(-1) == labels) * batch['mask']
    return lax.psum(correct.sum(), parallel.AXIS)

  return evaluate


def collapse(space, method, state, genotype):
  """Signs that a search degenerates: {'none_mass', 'normal_skips', 'reduce_skips'}.

  none_mass: mean weight of the operation none; skips: how many of a cell's operations are skips.
  """
  weights = jax.tree.map(np.asarray, method.weights(state.arch))
  column = space.ops.index('none')
  return {
    'none_mass': np.mean([weights[kind][:, column].mean() for kind in space.kinds]),
    **{
      f'{kind}_skips': sum(op == 'skip_connect' for op, _ in getattr(genotype, kind))
      for kind in space.kinds
    },
  }


def _warn(values):
  if values['normal_skips'] > MOST_SKIPS:
    logging.warning(
      'The normal cell has %d skip connections of 8 operations: the search is collapsing. Stop '
      'earlier (search.epochs), or use more data or a smaller search.lr.',
      values['normal_skips'],
    )
  if values['none_mass'] > MOST_NONE:
    logging.warning(
      'The operation none has %.0f %% of the weights: the search says that most edges are best '
      'left out, and its choice among the others means little.',
      100 * values['none_mass'],
    )
