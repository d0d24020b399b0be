"""All candidate operations of all edges of one cell, mixed by weights.

What decides the speed on a CPU is here. Run time: pools with their norms and the identity depend on
the source alone and are computed once a source, not once an edge. Compile time: XLA compiles a
loop's body once but every call anew, so the edges of a cell are a loop and not 14 copies. Memory:
a loop differentiated by JAX keeps all that its body computes; the backward pass here recomputes an
edge from its source instead, so that a cell keeps nothing but its states.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import custom_derivatives, lax

from unrealnas_jax import layers, ops
from unrealnas_jax.depthwise import sums

# Layers (kernel size, dilation) of each candidate that convolves channel by channel.
SEPARABLE = {
  'sep_conv_3x3': ((3, 1), (3, 1)),
  'sep_conv_5x5': ((5, 1), (5, 1)),
  'dil_conv_3x3': ((3, 2),),
  'dil_conv_5x5': ((5, 2),),
}
DENSE = {'nor_conv_1x1': 1, 'nor_conv_3x3': 3}  # kernel size
POOLS = {'max_pool_3x3': ops.max_pool, 'avg_pool_3x3': ops.avg_pool}
POOLS_TWICE = POOLS | {'max_pool_3x3': functools.partial(ops.max_pool, twice=True)}


class Form(NamedTuple):
  """What the edges of a cell are made of.

  ops: names of the O candidates, the columns of mixing weights.
  pool_norm: a norm follows pools. affine: norms have a scale and a bias, each edge its own.
  partial: only the first of so many equal parts of the channels goes through the candidates, the
    others pass by, multiplied by the sum of the edge's weights; 1 = all channels.
  sparse: a candidate whose weight is exactly 0 is not computed and learns nothing, its weight
    included. Otherwise all are, and a zero has a gradient like any weight.
  skip_dropout: identities drop values, independently on each edge.
  """

  ops: tuple[str, ...]
  pool_norm: bool = True
  affine: bool = False
  partial: int = 1
  sparse: bool = False
  skip_dropout: bool = False


def init(draw, form, channels, stride, sources, *leading):
  """(params, stats) of the mixed operations of edges, arrays with leading axes for the edges.

  channels: of the states. params: {op: layers} of what each edge computes for itself; stats:
  {'edges': the same, 'pools': {op: statistics stacked by source}}.
  """
  channels, affine = channels // form.partial, form.affine
  pairs, pools = {}, {}
  for op in form.ops:
    if op in SEPARABLE:
      sizes = [size for size, _ in SEPARABLE[op]]
      pairs[op] = [layers.init_separable(draw, n, channels, affine, *leading) for n in sizes]
    elif op in DENSE:
      pairs[op] = [layers.init_relu_conv(draw, DENSE[op], *2 * (channels,), affine, *leading)]
    elif op == 'skip_connect' and stride == 2:
      pairs[op] = [layers.init_factorized_reduce(draw, *2 * (channels,), affine, *leading)]
    elif op == 'skip_connect' and form.skip_dropout:
      pairs[op] = []
    elif op in POOLS and form.pool_norm and affine:
      pairs[op] = [layers.init_norm(channels, affine, *leading)]
    elif op in POOLS and form.pool_norm:
      pools[op] = layers.init_stats(channels, sources)
  params, stats = ({op: [p[n] for p in pair] for op, pair in pairs.items()} for n in (0, 1))
  return params, {'edges': stats, 'pools': pools}


def walk(form, mode, edges, bank, params, stats, weights, dropout=None, first=0):
  """Completes the states of a cell, one after the other, from the states before them.

  edges: pairs (source, destination) of states, sorted by destination, then by source.
  bank: [S, B, H, W, C], all states; a state starts with what it was given (inputs, or what flowed
    in from elsewhere), gets the mixed operations of its incoming edges added, and then has its
    channels shuffled if they are partial.
  weights: [E, O]; params and stats stacked likewise; dropout: (key, rate) for form.skip_dropout.
  first: number of the first state, those before are left alone and nothing flows out of them; in
    plain form an int.
  -> (bank, seen), as layers have it
  """
  arguments = bank, params, stats, weights, dropout, first
  if mode.plain:
    return _walk(_plain_loop, np.asarray, form, mode, edges, *arguments)
  return _quick_walk(form, mode, edges, *arguments)


def _walk(loop, table, form, mode, edges, bank, params, stats, weights, dropout, first):
  sources, starts, ends = map(table, _order(edges, len(bank)))
  shared = _shared_weights(edges, weights, len(bank))

  def one_edge(e, carry):
    bank, total, stats = carry
    y, seen = own_operations(
      *(form, mode, _part(form, _row(bank, sources[e])), _at(params, e), _at(stats['edges'], e)),
      *(weights[e], 1, part_of_dropout(dropout, e)),
    )
    return bank, total + y, {**stats, 'edges': _put(stats['edges'], e, seen)}

  def one_state(n, carry):
    bank, stats = carry
    carry = bank, _part(form, _row(bank, n)), stats
    _, total, stats = loop(starts[first, n], ends[n], one_edge, carry)
    state = _shuffle(form, _with_part(form, _row(bank, n), total))
    bank = _with_row(bank, n, state)
    y, seen = shared_operations(form, mode, state, _at(stats['pools'], n), shared[:, n], 1)
    return bank + y, {**stats, 'pools': _put(stats['pools'], n, seen)}

  return loop(first, len(bank), one_state, (bank, stats))


def _plain_loop(start, stop, body, carry):
  for number in range(start, stop):
    carry = body(number, carry)
  return carry


_looped = jax.jit(functools.partial(_walk, lax.fori_loop, jnp.asarray), static_argnums=(0, 1, 2))
_quick_walk = jax.custom_vjp(_looped, nondiff_argnums=(0, 1, 2))


def _walk_fwd(form, mode, edges, bank, params, stats, weights, dropout, first):
  # The gradients of kernels are half of the way back, and an architecture step needs none of them:
  # what is differentiated is a residual of its own, so that the way back can leave out the rest.
  learned = any(leaf.perturbed for leaf in jax.tree.leaves(params, is_leaf=_is_primal))
  variables = _values((bank, params, stats, weights, dropout, first))
  bank, seen = _looped(form, mode, edges, *variables)
  _, params, _, *others = variables
  return (bank, seen), (bank, params, (params,) if learned else (), seen, *others)


def _walk_bwd(form, mode, edges, residuals, gradients):
  return _walk_back(form, mode, edges, residuals, gradients[0])


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _walk_back(form, mode, edges, residuals, dbank):
  # Edges and pools are computed again from the finished states, by the statistics seen before.
  # Rules that jax.vjp has followed are in nobody's way.
  mode = mode._replace(twice=False, again=True)
  bank, params, learned, stats, weights, dropout, first = residuals
  sources, starts, ends = map(jnp.asarray, _order(edges, len(bank)))
  shared, shared_vjp = jax.vjp(lambda w: _shared_weights(edges, w, len(bank)), weights)

  def one_edge(e, carry):
    dbank, total, dweights, dlearned = carry

    def run(x, weights, *learned):
      fixed = () if learned else (_at(params, e),)
      arguments = *learned, *fixed, _at(stats['edges'], e), weights, 1
      arguments = *arguments, part_of_dropout(dropout, e)
      return own_operations(form, mode, _part(form, x), *arguments)[0]

    source = sources[e]
    _, vjp = jax.vjp(run, _row(bank, source), weights[e], *_at(learned, e))
    dx, dw, *dp = vjp(total)
    dbank = _with_row(dbank, source, _row(dbank, source) + dx)
    return dbank, total, _with_row(dweights, e, dw), _put(dlearned, e, tuple(dp))

  def one_state(back, carry):
    dbank, dshared, dweights, dlearned = carry
    n = len(bank) - 1 - back

    def run(x, weights):
      return shared_operations(form, mode, x, _at(stats['pools'], n), weights, 1)[0]

    _, vjp = jax.vjp(run, _row(bank, n), shared[:, n])
    dx, dw = vjp(dbank)
    # All that the finished state flows into is known by now.
    total = _shuffle(form, _row(dbank, n) + dx, back=True)
    carry = _with_row(dbank, n, total), _part(form, total), dweights, dlearned
    carry = lax.fori_loop(starts[first, n], ends[n], one_edge, carry)
    dbank, _, dweights, dlearned = carry
    return dbank, dshared.at[:, n].set(dw), dweights, dlearned

  carry = dbank, *_zeros((shared, weights, learned))
  carry = lax.fori_loop(0, len(bank) - first, one_state, carry)
  dbank, dshared, dweights, dlearned = carry
  dparams = dlearned[0] if learned else _zeros(params)
  return dbank, dparams, _zeros(stats), dweights + shared_vjp(dshared)[0], None, None


_quick_walk.defvjp(_walk_fwd, _walk_bwd, symbolic_zeros=True)


def reduce_inputs(form, mode, inputs, params, stats, weights):
  """Mixed operations of stride 2 on all edges from the inputs of a cell to all its nodes.

  inputs: [I, B, H, W, C], weights: [I, N, O], params and stats stacked likewise
  -> (nodes [N, B, H', W', C], seen), H' = ceil(H / 2); not shuffled, `walk` does that
  """

  def source(_, variables):
    x, params, stats, weights = variables
    shared, pools = shared_operations(form, mode, x, stats['pools'], weights, 2)

    def edge(_, variables):
      # Without a barrier JAX takes what depends on x alone, every tap's image, out of the loop.
      image, variables = lax.optimization_barrier((x, variables))
      return None, own_operations(form, mode, _part(form, image), *variables, 2)

    # What an edge computes is computed again on the way back.
    edge = edge if mode.plain else jax.checkpoint(edge, prevent_cse=False)
    variables = params, stats['edges'], weights
    _, (own, edges) = lax.scan(edge, None, variables, unroll=mode.plain)
    nodes = _with_part(form, shared, _part(form, shared) + own)
    return None, (nodes, {'edges': edges, 'pools': pools})

  variables = inputs, params, stats, weights
  _, (nodes, stats) = lax.scan(source, None, variables, unroll=mode.plain)
  return nodes.sum(0), stats


def own_operations(form, mode, x, params, stats, weights, stride, dropout=None):
  """Mix of what an edge computes for itself. x: [B, H, W, C], weights: [O] -> (y, seen)."""
  total, seen = jnp.zeros_like(x[:, ::stride, ::stride]), {}
  for op in params:

    def run(x, params, stats, weight, op=op):
      return _own_operation(op, x, params, stats, weight, mode, stride, dropout)

    def leave_out(x, params, stats, weight):
      return jnp.zeros_like(x[:, ::stride, ::stride]), stats

    arguments = x, params[op], stats[op], weights[form.ops.index(op)]
    if form.sparse:
      y, seen[op] = lax.cond(arguments[-1] != 0, run, leave_out, *arguments)
    else:
      y, seen[op] = run(*arguments)
    total = total + y
  return total, seen


def _own_operation(op, x, params, stats, weight, mode, stride, dropout):
  if op == 'skip_connect' and stride == 1:
    x = ops.drop_values(x, *dropout, mode.axis_name) if mode.train else x
    return x * weight.astype(x.dtype), []
  if op in SEPARABLE:
    seen, last = [], len(params) - 1
    for n, (_, dilation) in enumerate(SEPARABLE[op]):
      arguments = mode, stride if n == 0 else 1, dilation, weight if n == last else None
      x, found = layers.separable(x, params[n], stats[n], *arguments)
      seen.append(found)
    return x, seen
  if op in POOLS:
    y, found = layers.norm(_pool(op, x, stride, mode), params[0], stats[0], mode, weight)
  else:
    layer = layers.factorized_reduce if op == 'skip_connect' else layers.relu_conv
    y, found = layer(x, params[0], stats[0], mode, weight=weight)
  return y, [found]


def shared_operations(form, mode, x, stats, weights, stride):
  """Mixes of what depends on the source alone, one mix a destination.

  x: [B, H, W, C], weights: [D, O] -> ([D, B, H', W', C], seen)
  """
  part, mixes = _part(form, x), _mixes.__wrapped__ if mode.twice else _mixes
  images, columns, seen = [], [], {}
  for column, op in enumerate(form.ops):
    if op in POOLS and not (form.pool_norm and form.affine):
      y = _pool(op, part, stride, mode)
      if form.pool_norm:
        y, seen[op] = layers.norm(y, {}, stats[op], mode)
    elif op == 'skip_connect' and stride == 1 and not form.skip_dropout:
      y = part
    else:
      continue
    images.append(y)
    columns.append(column)
  y = jnp.zeros((len(weights), *part[:, ::stride, ::stride].shape), x.dtype)
  y = mixes(weights[:, np.array(columns)], images) if images else y
  if form.partial > 1:
    rest = x[..., part.shape[-1] :]
    rest = rest if stride == 1 else ops.max_of_blocks(rest)
    y = jnp.concatenate([y, mixes(weights.sum(-1, keepdims=True), [rest])], axis=-1)
  return y, seen


def _pool(op, x, stride, mode):
  return (POOLS_TWICE if mode.twice else POOLS)[op](x, stride)


def _part(form, x):
  """The channels that go through the candidates."""
  return x[..., : x.shape[-1] // form.partial]


def _with_part(form, x, part):
  """x with other values in `_part`."""
  return part if form.partial == 1 else x.at[..., : part.shape[-1]].set(part)


def _shuffle(form, x, back=False):
  """Deals the channels out among the parts, or takes them back to where they were."""
  parts = form.partial
  if parts == 1:
    return x
  return ops.shuffle_channels(x, x.shape[-1] // parts if back else parts)


def begin(form, inputs, nodes):
  """The bank that `walk` is given of the inputs of a cell, [I, B, H, W, C]; its nodes are zeros.

  `walk` shuffles each state, so inputs are taken back first and come out as they are.
  """
  return jnp.pad(_shuffle(form, inputs, back=True), [(0, nodes)] + [(0, 0)] * 4)


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
  """Tables: source [E] of each edge, and the edges that lead to a state from `first` or later ones.

  These are the edges from starts[first, state] on, and before ends[state].
  """
  sources, destinations = np.array(edges).T
  numbers = np.arange(states)
  sorted_by, first = destinations * states + sources, numbers[:, None]
  starts = np.searchsorted(sorted_by, numbers * states + first)
  return sources, starts, np.searchsorted(destinations, numbers, 'right')


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


def part_of_dropout(dropout, number):
  """The (key, rate) of a cell or an edge of some number; None without dropout."""
  return dropout and (jax.random.fold_in(dropout[0], number), dropout[1])


# An index in brackets is taken for one that may be negative or out of bounds; in a loop that costs
# kernels, and a second pass over what is put.
def _at(tree, index):
  return jax.tree.map(lambda leaf: _row(leaf, index), tree)


def _put(tree, index, values):
  return jax.tree.map(lambda leaf, value: _with_row(leaf, index, value), tree, values)


def _row(leaf, index):
  start, size = (index, *[0] * (leaf.ndim - 1)), (1, *leaf.shape[1:])
  return lax.dynamic_slice(leaf, start, size, allow_negative_indices=False)[0]


def _with_row(leaf, index, value):
  start = index, *[0] * (leaf.ndim - 1)
  return lax.dynamic_update_slice(leaf, value[None], start, allow_negative_indices=False)
