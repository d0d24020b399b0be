"""Operations on images [B, H, W, C] that cells are built of, padded as in the official code."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
from jax import lax

from unrealnas_jax.depthwise import own_kernel

MOMENTUM = 0.9  # of the running statistics; PyTorch calls the same thing 0.1
EPSILON = 1e-5
MANY_VALUES = 1024  # of a channel in a batch


def conv_init(draw, shape, *leading):
  """PyTorch's default for weights, U(+-1/sqrt(fan_in)), by draw(shape) from U(-1, 1).

  shape: [kh, kw, C_in, C_out], depthwise [kh, kw, C] or linear [C_in, C_out]; leading axes hold
  independent layers. Source: Kaiming-uniform with a = sqrt(5).
  """
  return draw((*leading, *shape)) / math.sqrt(math.prod(shape[:-1]))


def one_draw(key, init):
  """init(draw), all its random numbers drawn at once; draw(shape) gives U(-1, 1).

  XLA compiles each call of a random generator anew, and a supernet makes hundreds.
  """
  sizes = []

  def measure(shape):
    sizes.append(math.prod(shape))
    return jnp.zeros(shape)

  jax.eval_shape(lambda: init(measure))
  numbers = jax.random.uniform(key, (sum(sizes),), minval=-1)
  pieces = iter(jnp.split(numbers, list(itertools.accumulate(sizes))[:-1]))
  return init(lambda shape: next(pieces).reshape(shape))


def alternate_pixels(x):
  """The pixels at even rows and columns, and those at odd ones, both of half the size (rounded up).

  Odd sizes get a row or column of zeros, as in UnNAS; the official DARTS code refuses them.
  x: [B, H, W, C] -> two of [B, ceil(H / 2), ceil(W / 2), C]
  """
  x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0)))
  return x[:, ::2, ::2], x[:, 1::2, 1::2]


def max_pool(x, stride, twice=False):
  """Maximum of 3x3 pixels, padding never wins. x: [B, H, W, C] -> [B, ceil(H / stride), ..., C].

  Rows first, then columns; in each the gradient is split evenly between equal maxima (PyTorch gives
  all of it to the first of them). twice: as in layers.Mode; of three equal maxima one gets half.
  """
  max_of_three = _max_of_three.__wrapped__ if twice else _max_of_three
  for axis in (1, 2):
    x = max_of_three(x, axis, stride)
  return x


def avg_pool(x, stride):
  """Mean of 3x3 pixels, padding not counted. x: [B, H, W, C] -> [B, ceil(H / stride), ..., C]."""
  count = jnp.ones((1, *x.shape[1:3], 1), x.dtype)
  for axis in (1, 2):
    x, count = (sum(_neighbours(image, axis, stride, 0)) for image in (x, count))
  return x / count


def mean_pool(x, window, strides):
  """Means of windows that lie inside of the image. x: [B, H, W, C] -> [B, H', W', C].

  Sums of slices, since the gradient of a reduction of windows is slow on CPU.
  """
  for axis, size, stride in zip((1, 2), window, strides, strict=True):
    last = x.shape[axis] - size
    x = sum(lax.slice_in_dim(x, n, last + n + 1, stride, axis) for n in range(size)) / size
  return x


def max_of_blocks(x):
  """Maximum of each 2x2 pixels. x: [B, H, W, C] -> [B, ceil(H / 2), ceil(W / 2), C]."""
  return functools.reduce(jnp.maximum, _corners(x, -jnp.inf))


def mean_of_blocks(x):
  """Mean of each 2x2 pixels, padding not counted. Shapes as in max_of_blocks."""
  count = _corners(jnp.ones((1, *x.shape[1:3], 1), x.dtype), 0)
  return sum(_corners(x, 0)) / sum(count)


def _corners(x, padding):
  odd = ((0, 0), (0, x.shape[1] % 2), (0, x.shape[2] % 2), (0, 0))
  x = jnp.pad(x, odd, constant_values=padding)
  return [x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)]


def shuffle_channels(x, groups):
  """Takes channels from each of some equal groups in turn. x: [..., C] -> [..., C].

  Shuffled with C / groups groups they are as before.
  """
  *pixels, channels = x.shape
  return x.reshape(*pixels, groups, channels // groups).swapaxes(-1, -2).reshape(x.shape)


def drop_values(x, key, rate, axis_name=None):
  """Sets values to 0 with probability `rate`, and scales the others so that the mean stays.

  x: [B, H, W, C]; rate: [] in [0, 1). What is dropped depends on an example's place in the batch of
  all devices along axis_name, so that it is the same on any number of them.
  """
  place = jnp.arange(len(x)) + (0 if axis_name is None else lax.axis_index(axis_name) * len(x))
  draw = jax.vmap(lambda n: jax.random.uniform(jax.random.fold_in(key, n), (x[0].size,)))(place)
  keep = (draw.reshape(x.shape) >= rate).astype(x.dtype)
  return x * keep / jnp.asarray(1 - rate, x.dtype)


# Neither is lax.reduce_window, whose gradient for the maximum is a slow select-and-scatter on CPU.
# The maximum of shifted images differentiated by JAX is quicker, but still a chain of selections
# that a profile of the search step showed; here it is a count of the winners and one sum.
@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _max_of_three(x, axis, stride):
  return functools.reduce(jnp.maximum, _neighbours(x, axis, stride, -jnp.inf))


def _max_of_three_fwd(x, axis, stride):
  return _max_of_three.__wrapped__(x, axis, stride), x


def _max_of_three_bwd(axis, stride, x, g):
  return (_share(x, g, axis, stride),)


@functools.partial(own_kernel, static=(2, 3))
def _share(x, g, axis, stride):
  # All comparisons are between values read from memory: x fused into what made it could be computed
  # twice with different rounding, and no pixel would equal its maximum.
  x = lax.optimization_barrier(x)
  before = _neighbours(x, axis, stride, -jnp.inf)
  y = functools.reduce(jnp.maximum, before)
  winners = sum((image == y).astype(g.dtype) for image in before)
  # Pixel n is seen by the outputs n - 1, n and n + 1; with a stride those in between do not exist.
  seen_by = [
    _neighbours(_spread(image, axis, stride, x.shape[axis], fill), axis, 1, fill)
    for image, fill in ((y, jnp.inf), (g / winners, 0))
  ]
  # Not jnp.where: it is a call of its own that would not be fused either.
  return sum(
    lax.select(x == top, share, jnp.zeros_like(share)) for top, share in zip(*seen_by, strict=True)
  )


_max_of_three.defvjp(_max_of_three_fwd, _max_of_three_bwd)


def _neighbours(x, axis, stride, padding):
  """What lies before, at and after every stride-th place along an axis."""
  padded = _pad_axis(x, axis, (1, 1, 0), padding)
  size = x.shape[axis]
  return [lax.slice_in_dim(padded, n, n + size, stride, axis) for n in range(3)]


def _spread(x, axis, stride, size, padding):
  """Puts values stride places apart along an axis of some size."""
  end = size - (stride * (x.shape[axis] - 1) + 1)
  return x if stride == 1 else _pad_axis(x, axis, (0, end, stride - 1), padding)


def _pad_axis(x, axis, config, padding):
  configs = [(0, 0, 0)] * x.ndim
  configs[axis] = config
  return lax.pad(x, jnp.asarray(padding, x.dtype), configs)


# jit: layers of equal shape are traced once, a third of the time to trace a network
@functools.partial(jax.jit, static_argnames=('train', 'axis_name', 'again', 'twice'))
def batch_norm(
  x, stats, train, scale=None, bias=None, axis_name=None, again=False, twice=False
):  # fmt: skip
  """Normalises channels, in training by the batch of all devices; returns (y, seen).

  x: [..., C], stats: {'mean': [C], 'var': [C]} float32, scale and bias: [C] or None.
  seen: mean and unbiased variance of the batch in training, which `running` takes up, else stats.
  axis_name: the axis of the devices that a batch is spread over, None for one device.
  again: stats are what was seen of this very batch in training; nothing is measured anew.
  twice: as in layers.Mode.
  Statistics are float32 whatever the dtype of x, which y keeps. As in PyTorch the batch is divided
  by its biased variance while the running statistics keep the unbiased one.
  """
  scale = jnp.ones(x.shape[-1]) if scale is None else scale.astype(jnp.float32)
  moments, seen = stats, stats
  if train and again:
    moments = {'mean': stats['mean'], 'var': stats['var'] / _correction(x, axis_name)}
  elif train:
    # The rule of _normed knows how the moments depend on x.
    moments = _batch_moments(x if twice else lax.stop_gradient(x), axis_name)
    seen = {'mean': moments['mean'], 'var': moments['var'] * _correction(x, axis_name)}
  normed = _normed if train and not twice else _normed.__wrapped__
  y = normed(x, scale, moments, axis_name)
  y = y if bias is None else y + _over_pixels(bias.astype(jnp.float32), x)
  return y.astype(x.dtype), seen


def running(stats, seen):
  """Running statistics moved towards what was seen; the same to the bit if seen is stats.

  Both are trees of the same form.
  """
  return jax.tree.map(lambda old, new: old + (1 - MOMENTUM) * (new - old), stats, seen)


# The gradient is written by hand so that it reads g and x once for two sums and once for dx, with
# no centred or broadcast copy of either: what JAX makes of the formulas took twice the passes.
@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normed(x, scale, moments, axis_name):
  """(x - mean) scale / sigma; as if its moments, those of the batch, were computed here."""
  factor = lax.rsqrt(moments['var'] + EPSILON) * scale
  centred = x.astype(jnp.float32) - _over_pixels(moments['mean'], x)
  return centred * _over_pixels(factor, x)


def _normed_fwd(x, scale, moments, axis_name):
  return _normed.__wrapped__(x, scale, moments, axis_name), (x, scale, moments)


def _normed_bwd(axis_name, residuals, g):
  x, scale, moments = residuals
  x32, mean, axes = x.astype(jnp.float32), moments['mean'], tuple(range(x.ndim - 1))
  factor = lax.rsqrt(moments['var'] + EPSILON)
  shift = jnp.mean(g, axes)
  if _few(x):
    slope = jnp.mean(g * (x32 - _over_pixels(mean, x)), axes)
  else:
    slope = jnp.mean(g * x32, axes) - mean * shift
  dscale = slope * factor * (x.size // x.shape[-1])
  if axis_name is not None:
    shift, slope = lax.pmean((shift, slope), axis_name)
  steep, flat = factor * scale, factor**3 * scale * slope
  level = flat * mean - steep * shift
  dx = _over_pixels(steep, x) * g - _over_pixels(flat, x) * x32 + _over_pixels(level, x)
  return dx.astype(x.dtype), dscale, jax.tree.map(jnp.zeros_like, moments)


_normed.defvjp(_normed_fwd, _normed_bwd)


def _few(x):
  return x.size // x.shape[-1] < MANY_VALUES


def _correction(x, axis_name):
  """What makes the biased variance of a channel the unbiased one."""
  count = x.size // x.shape[-1] * (1 if axis_name is None else lax.axis_size(axis_name))
  return count / max(count - 1, 1)


def _batch_moments(x, axis_name):
  # One pass over memory. E[x^2] - E[x]^2 loses its digits where a channel has few values that are
  # close to each other; there they count from one of them, the middle one. With many values that
  # would cost a pass over memory for nothing. Moments do not depend on the origin, so it needs no
  # gradient.
  few, x = _few(x), x.astype(jnp.float32)
  middle = x[tuple(size // 2 for size in x.shape[:-1])]
  origin = lax.stop_gradient(middle) if few else jnp.zeros_like(middle)
  shifted = x - _over_pixels(origin, x) if few else x
  axes = tuple(range(x.ndim - 1))
  shift, square = jnp.mean(shifted, axes), jnp.mean(jnp.square(shifted), axes)
  mean, var = origin + shift, jnp.maximum(square - jnp.square(shift), 0)
  if axis_name is None:
    return {'mean': mean, 'var': var}
  everywhere = lax.pmean(mean, axis_name)
  var = lax.pmean(var + jnp.square(mean - everywhere), axis_name)
  return {'mean': everywhere, 'var': var}


def _over_pixels(vector, x):
  return jnp.expand_dims(vector, range(x.ndim - 1))
