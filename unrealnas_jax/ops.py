"""Operations on images [B, H, W, C] that cells are built of, padded as in the official code."""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

MOMENTUM = 0.9  # of the running statistics; PyTorch calls the same thing 0.1
EPSILON = 1e-5


def conv_init(key, shape, dtype=jnp.float32):
  """PyTorch's default for weights, U(+-1/sqrt(fan_in)).

  shape: [kh, kw, C_in, C_out], depthwise [kh, kw, C] or linear [C_in, C_out].
  Source: Kaiming-uniform with a = sqrt(5), protocols A11.7.
  """
  bound = 1 / math.sqrt(math.prod(shape[:-1]))
  return jax.random.uniform(key, shape, dtype, -bound, bound)


def alternate_pixels(x):
  """The pixels at even rows and columns, and those at odd ones, both of half the size (rounded up).

  Odd sizes get a row or column of zeros, as in UnNAS; the official DARTS code refuses them.
  x: [B, H, W, C] -> two of [B, ceil(H / 2), ceil(W / 2), C]
  """
  x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))
  return x[:, ::2, ::2], x[:, 1::2, 1::2]


def max_pool(x, stride):
  """Maximum of 3x3 pixels, padding never wins. x: [B, H, W, C] -> [B, ceil(H / stride), ..., C]."""
  return _pool(x, stride, -jnp.inf, jnp.maximum)


def avg_pool(x, stride):
  """Mean of 3x3 pixels, padding not counted. x: [B, H, W, C] -> [B, ceil(H / stride), ..., C]."""
  count = _pool(jnp.ones((1, *x.shape[1:3], 1), x.dtype), stride, 0, jnp.add)
  return _pool(x, stride, 0, jnp.add) / count


# jit: layers of equal shape are traced once, a third of the time to trace a network
@functools.partial(jax.jit, static_argnames=('train', 'axis_name'))
def batch_norm(x, stats, train, scale=None, bias=None, axis_name=None):
  """Normalises channels, in training by the batch of all devices; returns (y, new stats).

  x: [..., C], stats: {'mean': [C], 'var': [C]} float32, scale and bias: [C] or None.
  axis_name: the axis of the devices that a batch is spread over, None for one device.
  Statistics are float32 whatever the dtype of x, which y keeps. As in PyTorch the batch is divided
  by its biased variance while the running statistics keep the unbiased one.
  """
  x32 = x.astype(jnp.float32)
  mean, var = stats['mean'], stats['var']
  if train:
    mean, var, count = _batch_moments(x32, axis_name)
    seen = {'mean': mean, 'var': var * (count / max(count - 1, 1))}
    stats = {name: MOMENTUM * stats[name] + (1 - MOMENTUM) * seen[name] for name in ('mean', 'var')}
  factor = lax.rsqrt(var + EPSILON)
  factor = factor if scale is None else factor * scale.astype(jnp.float32)
  y = (x32 - _over_pixels(mean, x)) * _over_pixels(factor, x)
  y = y if bias is None else y + _over_pixels(bias.astype(jnp.float32), x)
  return y.astype(x.dtype), stats


def _batch_moments(x, axis_name):
  # One pass over memory. Values count from one of them, the middle one: E[x^2] - E[x]^2 around zero
  # loses its digits where the mean is large against the deviation, or a channel has few values.
  # Moments do not depend on the origin, so it needs no gradient.
  origin = lax.stop_gradient(x[tuple(size // 2 for size in x.shape[:-1])])
  shifted = x - _over_pixels(origin, x)
  axes = tuple(range(x.ndim - 1))
  shift, square = jnp.mean(shifted, axes), jnp.mean(jnp.square(shifted), axes)
  mean, var = origin + shift, jnp.maximum(square - jnp.square(shift), 0)
  count = x.size // x.shape[-1]
  if axis_name is None:
    return mean, var, count
  everywhere = lax.pmean(mean, axis_name)
  var = lax.pmean(var + jnp.square(mean - everywhere), axis_name)
  return everywhere, var, count * lax.axis_size(axis_name)


def _over_pixels(vector, x):
  return jnp.expand_dims(vector, range(x.ndim - 1))


def _pool(x, stride, padding, combine):
  # One direction after the other. Shifted images and not lax.reduce_window, whose gradient for the
  # maximum is 5 times slower on CPU (select-and-scatter 7.4 ms against 1.6 ms for 1 MB).
  for axis in (1, 2):
    widths = [(0, 0)] * 4
    widths[axis] = (1, 1)
    padded = jnp.pad(x, widths, constant_values=padding)
    size = x.shape[axis]
    shifted = [lax.slice_in_dim(padded, n, n + size, stride, axis) for n in range(3)]
    x = functools.reduce(combine, shifted)
  return x
