"""Training the network of a genotype from scratch on real images, then its test accuracy or AUC."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from jax import lax

from unrealnas_jax import cost, keys, loop, microbatch, objective, ops, optimizers, parallel
from unrealnas_jax import network as networks
from unrealnas_jax.data import augment, batches, real
from unrealnas_jax.state import RetrainState


class Retraining(NamedTuple):
  """A retraining ready to run: its key, what the loop runs, and the network."""

  key: jax.Array
  plan: loop.Plan
  network: Any


def prepare(config, genotype, source, phase='retrain'):
  """The Retraining of a genotype by a config on a Source; nothing is computed yet."""
  hp, network = config.retrain, make_network(config, genotype, source.classes)
  indices = np.arange(source.examples)
  epoch_steps = batches.steps_per_epoch(indices, hp.batch, 'retrain.batch')
  tx = optimizers.sgd(hp, epoch_steps)
  key = keys.of_retraining(jax.random.key(config.seed))
  plan = loop.Plan(
    phase=phase,
    steps=hp.epochs * epoch_steps,
    epoch_steps=epoch_steps,
    per_call=1,
    init=functools.partial(init_state, key, network, source, tx),
    step=parallel.pmap_step(make_step(config, source, network, tx, epoch_steps), batches=1),
    batches=functools.partial(_batches, config, source),
    learning_rate=optimizers.learning_rate(hp, epoch_steps),
    end_of_epoch=lambda state: {},
  )
  return Retraining(key, plan, network)


def run(config, genotype, dataset, workdir):
  """Trains and tests, or goes on with the retraining in workdir: facts for result.json.

  Test images are looked at once, after the last step.
  Raises ValueError: the checkpoints or metrics in workdir cannot be used.
  """
  retraining = prepare(config, genotype, real.make(config, dataset))
  state, facts = fit(retraining, config, workdir)
  test, network = real.make(config, dataset, split='test'), retraining.network
  return {
    **facts,
    'dataset': dataset.name,
    **measure(network, dataset.shape),
    **evaluate(config, network, state, test, dataset),
  }


def fit(retraining, config, workdir):
  """Trains, or goes on with what workdir holds: (last state, {PHASE_seconds, PHASE_steps})."""
  key, plan, _ = retraining
  state, seconds = loop.run(plan, key, config, workdir)
  return state, {f'{plan.phase}_seconds': seconds, f'{plan.phase}_steps': plan.steps}


def make_network(config, genotype, classes):
  """The network of config.retrain, averaging over devices."""
  retrain = config.retrain
  return networks.make(
    genotype,
    channels=retrain.channels,
    cells=retrain.cells,
    classes=classes,
    auxiliary=retrain.auxiliary > 0,
    stem=retrain.stem,
    remat=retrain.remat,
    dtype=jnp.dtype(config.dtype),
    axis_name=parallel.AXIS,
  )


def init_state(key, network, source, tx):
  """The state before the first step."""
  image = jnp.zeros((1, *source.shape))
  variables = ops.one_draw(key, lambda draw: network.clone(draw=draw).init(key, image, train=False))
  params = variables['params']
  return RetrainState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    batch_stats=variables['batch_stats'],
    weight_opt=tx.init(params),
  )


def make_step(config, source, network, tx, epoch_steps):
  """(key, state, batch) -> (state, metrics [S]) for one device's batches [S, B, ...]."""
  hp = config.retrain

  def one_step(key, state, batch):
    augment_key, drop_key = jax.random.split(jax.random.fold_in(key, state.step))
    images, labels = source.fn(key, batch)
    images = augment.augment(
      augment_key, batch['index'], images, **hp.augment, pad_value=source.pad_value
    )
    example_keys = jax.vmap(jax.random.fold_in, (None, 0))(drop_key, batch['index'])
    drop_path = hp.drop_path * (state.step // epoch_steps) / hp.epochs

    examples = images, labels, example_keys
    (value, (batch_stats, logits)), gradient = jax.value_and_grad(loss, has_aux=True)(
      state.params, state.batch_stats, examples, network, hp, drop_path if hp.drop_path else 0.0
    )
    updates, weight_opt = tx.update(parallel.mean(gradient), state.weight_opt, state.params)
    params = optax.apply_updates(state.params, updates)
    accuracy = objective.accuracy(logits, labels)
    metrics = parallel.mean({'train_loss': value, 'train_accuracy': accuracy})
    return RetrainState(state.step + 1, params, batch_stats, weight_opt), metrics

  def step(key, state, batch):
    return lax.scan(functools.partial(one_step, key), state, batch)

  return step


def loss(params, batch_stats, examples, network, hp, drop_path=0.0):
  """(mean loss [], (new batch_stats, logits [B, K])) in training, in parts of hp.microbatch images.

  examples: (images [B, ...], labels, keys [B]) of one device; drop_path: as the network takes it
  """

  def of_part(_, images, labels, example_keys):
    (logits, aux_logits), updated = network.apply(
      {'params': params, 'batch_stats': batch_stats},
      images,
      train=True,
      drop_path=drop_path,
      example_keys=example_keys,
      mutable=['batch_stats'],
    )
    value = objective.loss(logits, labels, hp.label_smoothing)
    if hp.auxiliary:
      value += hp.auxiliary * objective.loss(aux_logits, labels, hp.label_smoothing)
    return value, (updated['batch_stats'], logits)

  return microbatch.mean_loss(of_part, examples, hp.microbatch, network.axis_name)


def evaluate(config, network, state, source, dataset):
  """{'test_accuracy', 'test_images'} on a source, and `mean_auc` where images have several labels.

  dataset: what the source's labels are called
  """

  def answer(key, state, batch):
    images, labels = source.fn(key, batch)
    variables = {'params': state.params, 'batch_stats': state.batch_stats}
    logits, _ = network.apply(variables, images, train=False)
    count = lax.psum(objective.count(logits, labels, batch['mask']), parallel.AXIS)
    seen = (logits, labels, batch['mask']) if dataset.names else ()
    return count, lax.all_gather(seen, parallel.AXIS, tiled=True)

  run_batch = parallel.pmap_step(answer, batches=1, donate=False)
  # Real images draw nothing, and generated ones are others than those of any training.
  key = parallel.replicate(jax.random.key(0))
  indices = np.arange(source.examples)
  batch_size = config.retrain.microbatch or config.retrain.batch
  part = jax.process_index(), jax.process_count()
  answers = [
    jax.tree.map(np.asarray, run_batch(key, state, parallel.shard(batch)))
    for batch in batches.eval_batches(source.read, indices, batch_size, part=part)
  ]
  right, known = np.sum([count for count, _ in answers], axis=0, dtype=np.float64)
  facts = {'test_accuracy': right / known, 'test_images': source.examples}
  if not dataset.names:
    return facts
  parts = zip(*(seen for _, seen in answers), strict=True)
  scores, labels, mask = map(np.concatenate, parts)
  return {**facts, **mean_auc(dataset, scores[mask > 0], labels[mask > 0])}


def mean_auc(dataset, scores, labels):
  """{'test_auc': the mean over dataset.scored, 'test_auc_per_label': {name: AUC}}.

  scores, labels: [N, K] of the test images. An AUC that is not defined (objective.auc) is NaN, null
  in result.json, and has no part in the mean; a warning says so.
  """
  areas = dict(zip(dataset.names, objective.auc(scores, labels), strict=True))
  undefined = [name for name in dataset.scored if np.isnan(areas[name])]
  if undefined:
    logging.warning(
      'There is no AUC of %s: all test images have it, or none, or the network diverged.',
      ', '.join(undefined),
    )
  defined = [areas[name] for name in dataset.scored if name not in undefined]
  return {'test_auc': np.mean(defined) if defined else np.nan, 'test_auc_per_label': areas}


def measure(network, shape):
  """{'parameters', 'multiply_adds'} of a network without its auxiliary head, for one image."""
  network = network.clone(axis_name=None)
  image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
  variables = jax.eval_shape(functools.partial(network.init, train=False), jax.random.key(0), image)
  multiply_adds = cost.multiply_adds(
    functools.partial(network.apply, train=False), variables, image
  )
  tested = {name: tree for name, tree in variables['params'].items() if name != 'auxiliary_head'}
  return {'parameters': cost.parameters(tested), 'multiply_adds': multiply_adds}


def _batches(config, source, steps):
  part = jax.process_index(), jax.process_count()
  indices, hp = np.arange(source.examples), config.retrain
  train = batches.train_batches(
    source.read, indices, hp.batch, config.seed, steps, key='retrain.batch', per_call=1, part=part
  )
  return ((batch,) for batch in train)
