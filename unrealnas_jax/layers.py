"""Layers of the supernet as pure functions: (x, params, stats, mode) -> (y, seen).

seen: the statistics of the batch in training, for ops.running; else stats.
Norms have a scale and a bias only where the layer was made `affine`. Where layers take a weight,
[], y is multiplied by it; its gradient costs nothing there, for the norm's own needs the same sum.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from unrealnas_jax import ops
from unrealnas_jax.dense import conv, product
from unrealnas_jax.depthwise import depthwise_conv


class Mode(NamedTuple):
  """How layers compute: by the batch's statistics or the running ones, averaged over which axis.

  plain: loops are written out and nothing is computed twice. Slow to compile and large in memory;
  it is what the quick form is checked against, and what XLA can count the operations of.
  twice: no operation has a rule of its own for its gradient, so that jax.jvp can be taken of the
  gradient with respect to the mixing weights; slower.
  again: stats are what was seen of the same batch before.
  learns: [] bool, only known while the program runs: False saves the gradients of the kernels of
  convolutions, which are zeros then, in the quick form on a CPU; it goes with neither of the other
  two. None: they are what JAX is asked for.
  """

  train: bool
  axis_name: str | None
  plain: bool = False
  twice: bool = False
  again: bool = False
  learns: Any = None


def init_stats(channels, *leading):
  """Running statistics of a norm, with leading axes where layers are stacked."""
  shape = (*leading, channels)
  return {'mean': jnp.zeros(shape), 'var': jnp.ones(shape)}


def init_norm(channels, affine, *leading):
  """(params, stats) of norm."""
  shape = (*leading, channels)
  params = {'scale': jnp.ones(shape), 'bias': jnp.zeros(shape)} if affine else {}
  return params, init_stats(channels, *leading)


def norm(x, params, stats, mode, weight=None):
  """Batch norm, with the scale and bias among the params if there are any."""
  scale, bias = params.get('scale'), params.get('bias')
  if weight is not None:
    scale = weight * (jnp.ones(x.shape[-1:]) if scale is None else scale)
    bias = None if bias is None else weight * bias
  options = mode.axis_name, mode.again, mode.twice
  return ops.batch_norm(x, stats, mode.train, scale, bias, *options)


def pointwise(x, kernel, mode):
  """1x1 convolution. x: [..., C_in], kernel: [C_in, C_out]."""
  return product(x, kernel.astype(x.dtype), mode.learns)


def init_relu_conv(draw, size, channels_in, channels, affine, *leading):
  """(params, stats) of relu_conv; size: of its kernel; draw: as in ops.conv_init, also below."""
  kernel = ops.conv_init(draw, (size, size, channels_in, channels), *leading)
  params, stats = init_norm(channels, affine, *leading)
  return {'kernel': kernel, **params}, stats


def relu_conv(x, params, stats, mode, strides=(1, 1), weight=None):
  """ReLU, convolution, norm."""
  y = conv(jax.nn.relu(x), params['kernel'].astype(x.dtype), strides, learns=mode.learns)
  return norm(y, params, stats, mode, weight)


def init_factorized_reduce(draw, channels_in, channels, affine, *leading):
  """(params, stats) of factorized_reduce."""
  sizes = {'even': channels // 2, 'odd': channels - channels // 2}
  kernels = {
    name: ops.conv_init(draw, (channels_in, size), *leading) for name, size in sizes.items()
  }
  params, stats = init_norm(channels, affine, *leading)
  return kernels | params, stats


def factorized_reduce(x, params, stats, mode, weight=None):
  """Halves height and width: one 1x1 convolution on even pixels, one on odd ones, norm."""
  even, odd = ops.alternate_pixels(jax.nn.relu(x))
  halves = pointwise(even, params['even'], mode), pointwise(odd, params['odd'], mode)
  return norm(jnp.concatenate(halves, axis=-1), params, stats, mode, weight)


def init_separable(draw, kernel, channels, affine, *leading):
  """(params, stats) of separable."""
  kernels = {
    'depthwise': ops.conv_init(draw, (kernel, kernel, channels), *leading),
    'pointwise': ops.conv_init(draw, (channels, channels), *leading),
  }
  params, stats = init_norm(channels, affine, *leading)
  return kernels | params, stats


def separable(x, params, stats, mode, stride, dilation, weight=None):
  """ReLU, depthwise convolution, 1x1 convolution, norm."""
  written_out = mode.twice or mode.plain
  y = depthwise_conv(
    jax.nn.relu(x), params['depthwise'], stride, dilation, written_out, mode.learns
  )
  return norm(pointwise(y, params['pointwise'], mode), params, stats, mode, weight)
