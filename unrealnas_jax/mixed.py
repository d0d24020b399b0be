"""All candidate operations of all edges of one cell, mixed by weights.

What decides the speed on a CPU is here. Run time: pools with their norms and the identity depend on
the source alone and are computed once a source, not once an edge. Compile time: XLA compiles a
loop's body once but every call anew, so the edges of a cell are a loop and not 14 copies. Memory:
a loop differentiated by JAX keeps all that its body computes; the backward pass here recomputes an
edge from its source instead, so that a cell keeps nothing but its states.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import custom_derivatives, lax

from unrealnas_jax import layers, ops
from unrealnas_jax.depthwise import sums

# Layers (kernel size, dilation) of each candidate that convolves.
CONVOLUTIONS = {
  'sep_conv_3x3': ((3, 1), (3, 1)),
  'sep_conv_5x5': ((5, 1), (5, 1)),
  'dil_conv_3x3': ((3, 2),),
  'dil_conv_5x5': ((5, 2),),
}
POOLS = {'max_pool_3x3': ops.max_pool, 'avg_pool_3x3': ops.avg_pool}
POOLS_TWICE = POOLS | {'max_pool_3x3': functools.partial(ops.max_pool, twice=True)}


def init(draw, candidates, channels, stride, sources, *leading):
  """(params, stats) of the mixed operations of edges, arrays with leading axes for the edges.

  params: {op: layers} of what each edge computes for itself; stats: {'edges': the same,
  'pools': {op: statistics stacked by source}}.
  """
  pairs = {}
  for op in candidates:
    if op in CONVOLUTIONS:
      pairs[op] = [
        layers.init_separable(draw, kernel, channels, *leading) for kernel, _ in CONVOLUTIONS[op]
      ]
    elif op == 'skip_connect' and stride == 2:
      pairs[op] = [layers.init_factorized_reduce(draw, channels, channels, *leading)]
  params, stats = ({op: [p[n] for p in pair] for op, pair in pairs.items()} for n in (0, 1))
  pools = {op: layers.init_stats(channels, sources) for op in candidates if op in POOLS}
  return params, {'edges': stats, 'pools': pools}


def walk(candidates, mode, edges, bank, params, stats, weights):
  """Completes the states of a cell, one after the other, from the states before them.

  edges: pairs (source, destination) of states, sorted by destination.
  bank: [S, B, H, W, C], all states; a state starts with what it was given (inputs, or what flowed
    in from elsewhere) and gets the mixed operations of its incoming edges added.
  weights: [E, O]; params and stats stacked likewise -> (bank, new stats)
  """
  if mode.plain:
    return _walk(_plain_loop, np.asarray, candidates, mode, edges, bank, params, stats, weights)
  return _quick_walk(candidates, mode, edges, bank, params, stats, weights)


def _walk(loop, table, candidates, mode, edges, bank, params, stats, weights):
  sources, starts = map(table, _order(edges, len(bank)))
  shared = _shared_weights(edges, weights, len(bank))

  def one_edge(e, carry):
    bank, total, stats = carry
    y, seen = own_operations(
      candidates, mode, bank[sources[e]], _at(params, e), _at(stats['edges'], e), weights[e], 1
    )
    return bank, total + y, {**stats, 'edges': _put(stats['edges'], e, seen)}

  def one_state(n, carry):
    bank, stats = carry
    carry = bank, bank[n], stats
    _, total, stats = loop(starts[n], starts[n + 1], one_edge, carry)
    bank = bank.at[n].set(total)
    y, seen = shared_operations(candidates, mode, total, _at(stats['pools'], n), shared[:, n], 1)
    return bank + y, {**stats, 'pools': _put(stats['pools'], n, seen)}

  return loop(0, len(bank), one_state, (bank, stats))


def _plain_loop(start, stop, body, carry):
  for number in range(start, stop):
    carry = body(number, carry)
  return carry


_looped = functools.partial(_walk, lax.fori_loop, jnp.asarray)
_quick_walk = jax.custom_vjp(_looped, nondiff_argnums=(0, 1, 2))


def _walk_fwd(candidates, mode, edges, bank, params, stats, weights):
  # The gradients of kernels are half of the way back, and an architecture step needs none of them:
  # what is differentiated is a residual of its own, so that the way back can leave out the rest.
  learned = any(leaf.perturbed for leaf in jax.tree.leaves(params, is_leaf=_is_primal))
  bank, params, stats, weights = _values((bank, params, stats, weights))
  result = _looped(candidates, mode, edges, bank, params, stats, weights)
  return result, (result[0], params, (params,) if learned else (), stats, weights)


def _walk_bwd(candidates, mode, edges, residuals, gradients):
  # Edges and pools are computed again from the finished states.
  mode = mode._replace(twice=False)  # rules that jax.vjp has followed are in nobody's way
  bank, params, learned, stats, weights = residuals
  sources, starts = map(jnp.asarray, _order(edges, len(bank)))
  shared, shared_vjp = jax.vjp(lambda w: _shared_weights(edges, w, len(bank)), weights)

  def one_edge(e, carry):
    dbank, total, dweights, dlearned = carry

    def run(x, weights, *learned):
      fixed = () if learned else (_at(params, e),)
      edge_stats = _at(stats['edges'], e)
      return own_operations(candidates, mode, x, *learned, *fixed, edge_stats, weights, 1)[0]

    _, vjp = jax.vjp(run, bank[sources[e]], weights[e], *_at(learned, e))
    dx, dw, *dp = vjp(total)
    dlearned = _put(dlearned, e, tuple(dp))
    return dbank.at[sources[e]].add(dx), total, dweights.at[e].set(dw), dlearned

  def one_state(back, carry):
    dbank, dshared, dweights, dlearned = carry
    n = len(bank) - 1 - back

    def run(x, weights):
      return shared_operations(candidates, mode, x, _at(stats['pools'], n), weights, 1)[0]

    _, vjp = jax.vjp(run, bank[n], shared[:, n])
    dx, dw = vjp(dbank)
    total = dbank[n] + dx  # all that the finished state flows into is known by now
    carry = dbank.at[n].set(total), total, dweights, dlearned
    dbank, _, dweights, dlearned = lax.fori_loop(starts[n], starts[n + 1], one_edge, carry)
    return dbank, dshared.at[:, n].set(dw), dweights, dlearned

  carry = gradients[0], *_zeros((shared, weights, learned))
  dbank, dshared, dweights, dlearned = lax.fori_loop(0, len(bank), one_state, carry)
  dparams = dlearned[0] if learned else _zeros(params)
  return dbank, dparams, _zeros(stats), dweights + shared_vjp(dshared)[0]


_quick_walk.defvjp(_walk_fwd, _walk_bwd, symbolic_zeros=True)


def reduce_inputs(candidates, mode, inputs, params, stats, weights):
  """Mixed operations of stride 2 on all edges from the inputs of a cell to all its nodes.

  inputs: [I, B, H, W, C], weights: [I, N, O], params and stats stacked likewise
  -> (nodes [N, B, H', W', C], new stats), H' = ceil(H / 2)
  """

  def source(_, variables):
    x, params, stats, weights = variables
    shared, pools = shared_operations(candidates, mode, x, stats['pools'], weights, 2)

    def edge(_, variables):
      return None, own_operations(candidates, mode, x, *variables, 2)

    # What an edge computes is computed again on the way back.
    edge = edge if mode.plain else jax.checkpoint(edge, prevent_cse=False)
    _, (own, edges) = lax.scan(edge, None, (params, stats['edges'], weights), unroll=mode.plain)
    return None, (shared + own, {'edges': edges, 'pools': pools})

  variables = inputs, params, stats, weights
  _, (nodes, stats) = lax.scan(source, None, variables, unroll=mode.plain)
  return nodes.sum(0), stats


def own_operations(candidates, mode, x, params, stats, weights, stride):
  """Mix of what an edge computes for itself. x: [B, H, W, C], weights: [O] -> (y, new stats)."""
  total, seen = jnp.zeros_like(x[:, ::stride, ::stride]), {}
  for op, op_params in params.items():
    y, seen[op] = _own_operation(op, x, op_params, stats[op], mode, stride)
    total = total + y * weights[candidates.index(op)].astype(y.dtype)
  return total, seen


def _own_operation(op, x, params, stats, mode, stride):
  if op == 'skip_connect':
    y, seen = layers.factorized_reduce(x, params[0], stats[0], mode)
    return y, [seen]
  new_stats = []
  for n, (_, dilation) in enumerate(CONVOLUTIONS[op]):
    x, seen = layers.separable(x, params[n], stats[n], mode, stride if n == 0 else 1, dilation)
    new_stats.append(seen)
  return x, new_stats


def shared_operations(candidates, mode, x, stats, weights, stride):
  """Mixes of what depends on the source alone, one mix a destination.

  x: [B, H, W, C], weights: [D, O] -> ([D, B, H', W', C], new stats)
  """
  pools, mixes = (POOLS_TWICE, _mixes.__wrapped__) if mode.twice else (POOLS, _mixes)
  images, columns, seen = [], [], {}
  for column, op in enumerate(candidates):
    if op in POOLS:
      y, seen[op] = layers.norm(pools[op](x, stride), stats[op], mode)
    elif op == 'skip_connect' and stride == 1:
      y = x
    else:
      continue
    images.append(y)
    columns.append(column)
  if not images:
    return jnp.zeros((len(weights), *x[:, ::stride, ::stride].shape), x.dtype), seen
  return mixes(weights[:, np.array(columns)], images), seen


@jax.custom_vjp
def _mixes(weights, images):
  """One mix a destination. weights: [D, K], images: K of [B, H, W, C] -> [D, B, H, W, C]."""
  shape = (-1, 1, 1, 1, 1)
  columns = weights.astype(images[0].dtype).T
  return sum(w.reshape(shape) * image[None] for w, image in zip(columns, images, strict=True))


def _mixes_bwd(residuals, g):
  # Written out so that each gradient is one pass over memory: in profiles on CPU the reductions of
  # 5-D arrays that JAX makes of it, and matrix products with their transposed copies, were slower.
  weights, images = residuals
  columns = weights.astype(g.dtype).T
  dimages = [sum(w * row for w, row in zip(column, g, strict=True)) for column in columns]
  products = [(row * image).astype(jnp.float32) for row in g for image in images]
  return sums(products).sum(-1).reshape(weights.shape), dimages


_mixes.defvjp(lambda weights, images: (_mixes(weights, images), (weights, images)), _mixes_bwd)


def _order(edges, states):
  # The source of each edge, and for each state the number of its first incoming edge.
  sources, destinations = np.array(edges).T
  return sources, np.searchsorted(destinations, np.arange(states + 1))


def _shared_weights(edges, weights, states):
  # [destination, source, O], zero where there is no edge.
  sources, destinations = np.array(edges).T
  dense = jnp.zeros((states, states, weights.shape[1]), weights.dtype)
  return dense.at[destinations, sources].set(weights)


def _is_primal(leaf):
  return isinstance(leaf, custom_derivatives.CustomVJPPrimal)


def _values(primals):
  return jax.tree.map(lambda primal: primal.value, primals, is_leaf=_is_primal)


def _zeros(tree):
  return jax.tree.map(jnp.zeros_like, tree)


def _at(tree, index):
  return jax.tree.map(lambda leaf: leaf[index], tree)


def _put(tree, index, values):
  return jax.tree.map(lambda leaf, value: leaf.at[index].set(value), tree, values)
