"""Choosing a cell by what the trained supernet loses: selection by perturbation (DARTS-PT).

Edge by edge, in random order, the operation stays whose removal hurts most on the architecture's
half; then, where nodes keep only some of their edges, node by node the edges stay whose removal
hurts most. The supernet is tuned between two decisions. Normal and reduction cells decide at the
same times, the normal cell first.

As in the official code: the removed weight is not given to others, norms use the statistics of the
batch, the method's own step tunes, so that the architecture of undecided edges learns on, and an
epoch follows the last decision. Otherwise than there: images are not augmented for a decision, an
incomplete last batch is left out, and the learning rate also falls on NAS-Bench-201. `none` can be
chosen only where a cell has no other way to drop an edge. What bypasses an edge of partial channels
is weighted by the sum of the edge's weights, so it dims with a removed one.
Source: Wang et al. 2021, "Rethinking Architecture Selection in Differentiable NAS", algorithm 1;
ruocwang/darts-pt, sota/cnn/projection.py and nasbench201/projection.py.
"""

import types

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax import lax

from unrealnas_jax import objective, parallel
from unrealnas_jax.data import batches
from unrealnas_jax.data.source import show
from unrealnas_jax.methods import alphas
from unrealnas_jax.spaces.darts import KEPT

LR_SHARE = 0.1  # of search.lr, what tuning starts from; as officially
FALLBACK = 1e-6  # weight of what was not chosen, for a limit that forbids what was


def of(method):
  """The method (as of METHODS, without init) that goes on with a search while edges are decided.

  Its arch is {'learned': the method's, 'left': {kind: [E, O]}, 'decided': []}. left: 1 for what may
  be used; one operation of a decided edge, none of a dropped one. What a method makes depend on the
  step stays as it is at the search's end.
  """

  def weights(arch, *, net, hp):
    return project(method.weights(arch['learned'], net=net, hp=hp), arch['left'])

  def step(key, state, train, val, *, net, tx, hp):
    within = state.replace(step=jnp.int32(tx.steps), arch=state.arch['learned'])
    net = projected(net, state.arch['left'])
    after, metrics = method.step(key, within, train, val, net=net, tx=tx, hp=hp)
    arch = {**state.arch, 'learned': after.arch}
    return after.replace(step=state.step + 1, arch=arch), metrics

  def decode(key, state, *, net, hp):
    del key
    own = method.weights(state.arch['learned'], net=net, hp=hp)
    chosen = project(own, state.arch['left'])
    # Rounded, so that which of a node's edges comes first is no matter of rounding.
    table = jax.tree.map(lambda x, y: jnp.maximum(x.round(5), FALLBACK * y), chosen, own)
    return alphas.decode(net.space, table, hp)

  return types.SimpleNamespace(weights=weights, step=step, decode=decode, SPARSE=method.SPARSE)


def begin(state, space, tx):
  """The SearchState of `of` before its first decision; the weights' optimizer starts anew."""
  left = jnp.ones((len(space.edges), len(space.ops)))
  arch = {
    'learned': state.arch,
    'left': dict.fromkeys(space.kinds, left),
    'decided': jnp.zeros((), jnp.int32),
  }
  return state.replace(arch=arch, weight_opt=tx.weights.init(state.params))


def project(weights, left):
  """Weights {kind: [E, O]} of what is left; the last operation of an edge has all of its weight."""

  def of_kind(table, left):
    alone = left.sum(1, keepdims=True) == 1
    return left * jnp.where(alone, table.sum(1, keepdims=True), table)

  return jax.tree.map(of_kind, weights, left)


def projected(net, left):
  """The supernet that sees all weights as `project` makes them."""

  def through(function):
    def run(params, stats, weights, *args, **kwargs):
      return function(params, stats, project(weights, left), *args, **kwargs)

    return run

  return net._replace(apply=through(net.apply), loss=through(net.loss))


def tuning(config, space):
  """The config of the tuning: config.search has its epochs and learning rates."""
  changed, search = config.copy_and_resolve_references(), config.search
  lr = search.lr * LR_SHARE
  epochs = config.method.perturbation.finetune_epochs * (decisions(space) - 1) + 1
  changed.search.update(dict(lr=lr, lr_end=min(search.lr_end, lr), lr_warmup=0, epochs=epochs))
  return changed


def decisions(space):
  """How many there are: one an edge, and one a node that has more edges than it keeps."""
  return len(space.edges) + len(_crowded(space))


def due(epoch, config, space):
  """How many decisions are made before an epoch (counted from 0) is trained. config: `tuning`'s."""
  interval, last = config.method.perturbation.finetune_epochs, config.search.epochs - 1
  return decisions(space) if epoch == last else epoch // interval + 1


def before_epoch(config, keys, source, net, method, arch_half):
  """(epoch, state) -> the state after all decisions that are due. config: `tuning`'s.

  keys: (of the order of edges, of the source); method: `of`'s; arch_half: indices of the
  architecture's examples. All decisions are measured by one compiled evaluation.
  """
  space, measure = net.space, _make_measure(config, keys[1], source, net, method, arch_half)
  edges, nodes = _orders(keys[0], space)

  def decide(state):
    number = int(state.arch['decided'])
    for kind in space.kinds:
      if number < len(space.edges):
        row = edges[kind][number]
        weights = method.weights(state.arch, net=net, hp=config.method)[kind][row]
        kept = _best_operation(measure, state, space, kind, row, np.asarray(weights))
      else:
        kept = _best_edges(measure, state, space, kind, nodes[kind][number - len(space.edges)])
      state = _with_arch(state, left={**state.arch['left'], kind: kept})
    return _with_arch(state, decided=jnp.int32(number + 1))

  def run(epoch, state):
    while int(state.arch['decided']) < due(epoch, config, space):
      state = decide(state)
    return state

  return run


def _make_measure(config, data_key, source, net, method, arch_half):
  """(state, masks) -> how much worse the supernet is under each of the masks {kind: [E, O]}, [N].

  The negative accuracy, or the loss, as config.method.perturbation.criterion says.
  """
  data_key, batch = parallel.replicate(data_key), config.search.batch
  whole = arch_half[: len(arch_half) // batch * batch]
  part = jax.process_index(), jax.process_count()

  def evaluate(key, state_and_mask, batch):
    state, mask = state_and_mask
    images, labels = show(source, key, batch)
    weights = method.weights(state.arch, net=net, hp=config.method)
    dropout = (key, 0.0) if config.method.skip_dropout else None
    masked = jax.tree.map(jnp.multiply, weights, mask)
    arguments = state.params, state.batch_stats, masked, images, labels
    loss, (_, logits) = net.loss(*arguments, dropout=dropout)
    right, known = lax.psum(objective.count(logits, labels), parallel.AXIS)
    return jnp.stack([right, known, parallel.mean(loss)])

  run = parallel.pmap_step(evaluate, batches=1, donate=False)

  def measure(state, masks):
    masks = [parallel.replicate(mask) for mask in masks]
    seen = [
      [run(data_key, (state, mask), arrays) for mask in masks]
      for arrays in map(parallel.shard, batches.eval_batches(source.read, whole, batch, part=part))
    ]
    right, known, loss = np.sum(np.array(seen, np.float64), axis=0).T
    criterion = config.method.perturbation.criterion
    return loss / len(seen) if criterion == 'loss' else -right / known

  return measure


def _best_operation(measure, state, space, kind, row, weights):
  """What is left of a kind's table [E, O] once an edge has chosen. weights: [O], of the edge."""
  drops_edges = bool(_crowded(space))
  columns = [
    column
    for column, op in enumerate(space.ops)
    if weights[column] > 0 and not (op == 'none' and drops_edges)
  ]
  harm = measure(state, [_without(space, kind, row, column) for column in columns])
  best = columns[harm.argmax()]
  told = _told([space.ops[column] for column in columns], harm)
  edge, op = space.edges[row], space.ops[best]
  logging.info('Edge %d-%d of the %s cell keeps %s; without %s', *edge, kind, op, told)
  left = np.array(state.arch['left'][kind])
  left[row] = np.arange(len(space.ops)) == best
  return left


def _best_edges(measure, state, space, kind, rows):
  """What is left of a kind's table [E, O] once a node has chosen among its edges."""
  harm = measure(state, [_without(space, kind, row, slice(None)) for row in rows])
  dropped = np.argsort(-harm, kind='stable')[KEPT:]
  told = _told(['{}-{}'.format(*space.edges[row]) for row in rows], harm)
  logging.info('A node of the %s cell drops %d edges; without %s', kind, len(dropped), told)
  left = np.array(state.arch['left'][kind])
  left[np.array(rows)[dropped]] = 0
  return left


def _told(names, harm):
  return ', '.join(f'{name}: {abs(value):.4f}' for name, value in zip(names, harm, strict=True))


def _without(space, kind, row, columns):
  """A mask {kind: [E, O]} of ones with a zero for one operation of an edge, or for all."""
  mask = {k: np.ones((len(space.edges), len(space.ops)), np.float32) for k in space.kinds}
  mask[kind][row, columns] = 0
  return mask


def _orders(key, space):
  """In which order the edges and then the crowded nodes of each kind decide, for each kind."""
  crowded, orders = _crowded(space), ({}, {})
  for number, kind in enumerate(space.kinds):
    edges_key, nodes_key = jax.random.split(jax.random.fold_in(key, number))
    orders[0][kind] = jax.random.permutation(edges_key, len(space.edges)).tolist()
    nodes = jax.random.permutation(nodes_key, len(crowded)).tolist()
    orders[1][kind] = [crowded[node] for node in nodes]
  return orders


def _crowded(space):
  """Rows of the edges into each node that has more than it keeps."""
  return [rows for rows in space.genes if len(rows) > KEPT]


def _with_arch(state, **changes):
  return state.replace(arch={**state.arch, **parallel.replicate(changes)})
