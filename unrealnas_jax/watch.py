"""What is said of a search once an epoch: accuracy, sharpness, and signs of collapse."""

import jax
import numpy as np
from absl import logging
from jax import lax

from unrealnas_jax import eigenvalue, objective, parallel
from unrealnas_jax import genotype as genotypes
from unrealnas_jax.data import batches
from unrealnas_jax.data.source import show
from unrealnas_jax.methods import unrolled

MOST_SKIPS = 0.5  # of a normal cell's operations; DARTS cells with more train poorly
MOST_NONE = 0.5  # of the mixing weights


def end_of_epoch(config, keys, source, net, method, arch_half, epoch_steps):
  """state -> what is said of it.

  keys: (of net.init, of the source). arch_half: indices of the architecture's examples.
  """
  params_key, data_key = keys[0], parallel.replicate(keys[1])
  evaluate = parallel.pmap_step(_make_eval(config, source, net, method), batches=1, donate=False)
  sharpness = parallel.pmap_step(
    _make_sharpness(config, source, net, method), batches=1, donate=False
  )
  part = jax.process_index(), jax.process_count()
  every, hp = epoch_steps * config.method.eigenvalue.every, config.search

  def arch_batches(size):
    read = batches.eval_batches(source.read, arch_half, size, part=part)
    return (parallel.shard(batch) for batch in read)

  def watch(state):
    parts = [evaluate(data_key, state, batch) for batch in arch_batches(hp.microbatch or hp.batch)]
    right, known = np.sum([np.asarray(count, np.float64) for count in parts], axis=0)
    genotype = method.decode(params_key, state, net=net, hp=config.method)
    weights = method.weights(state.arch, net=net, hp=config.method)
    values = {
      'eval_accuracy': right / known,
      **collapse(net.space, weights, genotype),
      # To the last digit: an ended search may come back to them.
      'weights': jax.tree.map(np.asarray, weights),
    }
    if every and int(state.step) % every == 0:
      values['eigenvalue'] = sharpness(data_key, state, next(arch_batches(hp.batch)))
    warn(values, len(genotypes.cells(genotype)['normal']))
    return values

  return watch


def _make_eval(config, source, net, method):
  def evaluate(key, state, batch):
    images, labels = show(source, key, batch)
    weights = method.weights(state.arch, net=net, hp=config.method)
    if method.SPARSE:  # trained path by path, so judged by the strongest one
      weights = jax.tree.map(lambda table: jax.nn.one_hot(table.argmax(1), len(table[0])), weights)
    logits, _ = net.apply(state.params, state.batch_stats, weights, images, train=False)
    return lax.psum(objective.count(logits, labels, batch['mask']), parallel.AXIS)

  return evaluate


def _make_sharpness(config, source, net, method):
  """(key, state, batch) -> dominant eigenvalue of the Hessian of the architecture's loss.

  Of one batch, always the same, with the decay that the architecture's optimizer adds.
  """

  def sharpness(key, state, batch):
    images, labels = show(source, key, batch)

    def loss(arch):
      weights = method.weights(arch, net=net, hp=config.method)
      # A supernet that can drop identities asks for a rate; noise would drown the differences.
      dropout = (key, 0.0) if config.method.skip_dropout else None
      arguments = state.params, state.batch_stats, weights, images, labels
      return net.loss(*arguments, dropout=dropout)[0]

    def gradient(arch):
      return parallel.mean(jax.grad(loss)(arch))

    def product(v):
      image = unrolled.finite_difference(gradient, state.arch, v)
      return jax.tree.map(lambda h, v: h + config.method.arch_weight_decay * v, image, v)

    return eigenvalue.dominant(product, state.arch, jax.random.fold_in(key, 1))

  return sharpness


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
  """Logs a warning for each sign in `collapse`'s values that says so, or an eigenvalue not finite.

  edges: operations in a cell of a genotype
  """
  if values['normal_skips'] > MOST_SKIPS * edges:
    logging.warning(
      'The normal cell has %d skip connections of %d operations: the search is collapsing. Stop '
      'earlier (search.epochs), or use more data or a smaller search.lr.',
      *(values['normal_skips'], edges),
    )
  if not np.isfinite(values.get('eigenvalue', 0)):
    logging.warning(
      'The eigenvalue of this epoch is %s, so it decides nothing: a smaller search.lr may help.',
      values['eigenvalue'],
    )
  if values['none_mass'] > MOST_NONE:
    logging.warning(
      'The operation none has %.0f %% of the weights: the search says that most edges are best '
      'left out, and its choice among the others means little.',
      100 * values['none_mass'],
    )
