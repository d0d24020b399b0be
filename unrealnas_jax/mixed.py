"""All candidate operations of an edge, mixed by weights.

Pools with their norms and the identity depend on the source alone: they are computed once a source,
not once an edge, for all states that it flows into.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from unrealnas_jax import layers, ops

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


def shared_operations(form, mode, state, stats, weights, stride):
  """Mixes of what depends on the source alone, one mix a destination.

  state: as `split` has it, weights: [D, O] -> (its mixes, each [D, B, H', W', C], seen)
  """
  first, *rest = state
  images, columns, seen = [], [], {}
  for column, op in enumerate(form.ops):
    if op in POOLS and not (form.pool_norm and form.affine):
      y = _pool(op, first, stride, mode)
      if form.pool_norm:
        y, seen[op] = layers.norm(y, {}, stats[op], mode)
    elif op == 'skip_connect' and stride == 1 and not form.skip_dropout:
      y = first
    else:
      continue
    images.append(y)
    columns.append(column)
  passing = [x if stride == 1 else ops.max_of_blocks(x) for x in rest]
  mixes = _mixes.__wrapped__ if mode.twice else _mixes
  y = jnp.zeros((len(weights), *first[:, ::stride, ::stride].shape), first.dtype)
  y = mixes(weights[:, np.array(columns)], images) if images else y
  return (y, *(mixes(weights.sum(-1, keepdims=True), [x]) for x in passing)), seen


def _pool(op, x, stride, mode):
  return (POOLS_TWICE if mode.twice else POOLS)[op](x, stride)


def split(form, x):
  """(the channels that go through the candidates, the others if there are any). x: [..., C]"""
  size = x.shape[-1] // form.partial
  return (x,) if form.partial == 1 else (x[..., :size], x[..., size:])


def join(state):
  """The channels of a state that is split."""
  return state[0] if len(state) == 1 else jnp.concatenate(state, axis=-1)


def shuffle(form, state, back=False):
  """Deals the channels out among the parts, or takes them back to where they were."""
  if form.partial == 1:
    return state
  x = join(state)
  groups = x.shape[-1] // form.partial if back else form.partial
  return split(form, ops.shuffle_channels(x, groups))


@jax.custom_vjp
def _mixes(weights, images):
  """One mix a destination. weights: [D, K], images: K of [B, H, W, C] -> [D, B, H, W, C]."""
  shape = (-1, 1, 1, 1, 1)
  columns = weights.astype(images[0].dtype).T
  return sum(w.reshape(shape) * image[None] for w, image in zip(columns, images, strict=True))


def _mixes_bwd(residuals, g):
  # On CPU each is one pass of vectorised code over memory. The reductions that JAX makes of it took
  # twice as long, and so did one over all products at once, whose code is scalar; a product with
  # all images side by side would copy them.
  weights, images = residuals
  columns, rows = weights.astype(g.dtype).T, g.reshape(len(g), -1)
  dimages = [sum(w * row for w, row in zip(column, g, strict=True)) for column in columns]
  exactly = {'precision': 'highest', 'preferred_element_type': jnp.float32}
  products = [jnp.dot(rows, image.reshape(-1), **exactly) for image in images]
  return jnp.stack(products, axis=1), dimages


_mixes.defvjp(lambda weights, images: (_mixes(weights, images), (weights, images)), _mixes_bwd)
