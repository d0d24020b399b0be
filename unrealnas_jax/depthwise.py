"""Depthwise convolution, lowered in the form that is quick on the platform.

On TPU and GPU it is one grouped convolution. XLA's CPU backend runs grouped convolutions many
times slower than the same thing written as a sum of shifted images, so there it is written so, and
its three passes (output, input gradient, kernel gradient) by hand. Measured on 2 cores of an AMD
EPYC (AVX-512), float32, x [16, 32, 32, 16], 5x5 kernel, milliseconds:

                     grouped   shifted sum, JAX's gradient   shifted sum, here
  output              15.3               0.25                      0.36
  input gradient      15.7               1.21                      0.22
  kernel gradient      2.7               2.49                      below

The kernel gradient goes through the rows of the images in a loop whose sums stay in the cache: XLA
makes scalar code of a reduction over all but the channels, which as one variadic reduce over the
taps took 2.8 ms of the processors' time on an AVX2 machine where the loop takes 0.7. Each pass is a
call that XLA may not inline: fused with what comes before or after, a chain of convolutions is
recomputed for every tap, and kernels that are slices of a stack of kernels are indexed anew for
every pixel. optimization_barrier does not help there, XLA drops it before it fuses.
"""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

from unrealnas_jax import repeat

IMAGES_AT_ONCE = 4  # of the kernel gradient, so that its sums are read and written less often


def own_kernel(function, static):
  """A function that XLA compiles by itself: neither fused nor inlined, its arguments in memory.

  static: positions of the arguments that are no arrays.
  """
  compiled = jax.jit(function, static_argnums=static)

  def call(*arguments):
    with set_xla_metadata(inlineable='false'):
      return compiled(*arguments)

  return call


@functools.partial(jax.jit, static_argnames=('stride', 'dilation', 'twice'))
def depthwise_conv(x, kernel, stride=1, dilation=1, twice=False, learns=None):
  """Convolves each channel with its own kernel, zero padding dilation * (k - 1) // 2 on each side.

  x: [B, H, W, C], kernel: [kh, kw, C] -> [B, ceil(H / stride), ceil(W / stride), C] for odd kernels
  twice, learns: as in layers.Mode
  """
  if jax.default_backend() == 'cpu':
    return shifted_conv(x, kernel, stride, dilation, twice, learns)
  return grouped_conv(x, kernel, stride, dilation)


def grouped_conv(x, kernel, stride, dilation):
  """The plain form: a convolution with as many groups as channels."""
  return lax.conv_general_dilated(
    x,
    kernel[:, :, None, :].astype(x.dtype),
    window_strides=(stride, stride),
    padding=[(p, p) for p in _padding(kernel, dilation)],
    rhs_dilation=(dilation, dilation),
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    feature_group_count=x.shape[-1],
  )


def shifted_conv(x, kernel, stride, dilation, twice=False, learns=None):
  """The form for CPU: one shifted image a tap, summed in float32.

  A stride is taken apart into convolutions without one, which need no image with holes; their
  results are added in the dtype of x.
  """
  unit_conv = _unit_conv.__wrapped__ if twice else _unit_conv
  (height, width), (ph, pw) = kernel.shape[:2], _padding(kernel, dilation)
  if stride == 1:
    return unit_conv(x, kernel, learns, dilation, ((ph, ph), (pw, pw)))
  if dilation % stride == ph % stride == pw % stride == 0:  # all taps meet the same pixels
    return shifted_conv(x[:, ::stride, ::stride], kernel, 1, dilation // stride, twice, learns)
  assert dilation == 1, 'a stride needs dilation 1 or a multiple of the stride'
  rows, columns = (-(-size // stride) - 1 for size in x.shape[1:3])
  padded = jnp.pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0)))
  total = 0
  for i, j in itertools.product(range(min(stride, height)), range(min(stride, width))):
    part = kernel[i::stride, j::stride]
    image = padded[:, i::stride, j::stride][:, : rows + part.shape[0], : columns + part.shape[1]]
    total = total + unit_conv(image, part, learns, 1, ((0, 0), (0, 0)))
  return total


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _unit_conv(x, kernel, learns, dilation, padding):
  del learns  # the way back is given what this is given
  return _shifted_sum(_pad(x, padding), kernel, dilation)


def _unit_conv_fwd(x, kernel, learns, dilation, padding):
  return _unit_conv.__wrapped__(x, kernel, learns, dilation, padding), (x, kernel, learns)


def _unit_conv_bwd(dilation, padding, residuals, g):
  x, kernel, learns = residuals
  full = [dilation * (size - 1) for size in kernel.shape[:2]]
  rest = [(n - low, n - high) for n, (low, high) in zip(full, padding, strict=True)]
  dx = _shifted_sum(_pad(g, rest), kernel[::-1, ::-1], dilation)
  # Padded out here, as for the output: there XLA sees that it is the same image.
  arguments = _pad(x, padding), g, kernel

  def gradient(*arguments):
    return _kernel_gradient(*arguments, dilation).astype(kernel.dtype)

  def zeros(*_):
    return jnp.zeros_like(kernel)

  return dx, repeat.choose(learns is None or learns, gradient, zeros, *arguments), None


_unit_conv.defvjp(_unit_conv_fwd, _unit_conv_bwd)


@functools.partial(own_kernel, static=(2,))
def _shifted_sum(padded, kernel, dilation):
  taps = shifted_images(padded, kernel.shape[:2], (1, 1), dilation)
  weights = kernel.astype(jnp.float32).reshape(-1, 1, 1, 1, kernel.shape[-1])
  total = sum(tap.astype(jnp.float32) * weight for tap, weight in zip(taps, weights, strict=True))
  return total.astype(padded.dtype)


@functools.partial(own_kernel, static=(3,))
def _kernel_gradient(padded, g, kernel, dilation):
  (batch, height, width, channels), (kh, kw, _) = g.shape, kernel.shape
  # Pixels and channels of a row side by side, for long vectors whatever the number of channels.
  rows, gradients = (x.reshape(*x.shape[:2], -1) for x in (padded, g))
  length, reach = width * channels, dilation * (kh - 1) + 1
  images = math.gcd(batch, IMAGES_AT_ONCE)

  def one_row(number, totals):
    # lax, since // looks at signs, in ten kernels for one
    image, row = lax.div(number, height) * images, lax.rem(number, height)

    def read(x, image, count):
      start, size = (image, row, 0), (1, count, x.shape[-1])
      found = lax.dynamic_slice(x, start, size, allow_negative_indices=False)
      return found[0].astype(jnp.float32)

    pairs = [
      (read(rows, image + n, reach)[::dilation], read(gradients, image + n, 1))
      for n in range(images)
    ]
    starts = range(0, dilation * channels * kw, dilation * channels)
    return [
      sum((x[:, start : start + length] * dy for x, dy in pairs), total)
      for start, total in zip(starts, totals, strict=True)
    ]

  totals = [jnp.zeros((kh, length))] * kw  # one a column of the kernel
  totals = lax.fori_loop(0, batch // images * height, one_row, totals)
  return jnp.stack(totals, axis=1).reshape(kh, kw, width, channels).sum(2)


def shifted_images(padded, size, strides, dilation=1):
  """For each tap of a kernel of some size, row by row, the image of the pixels that it meets.

  padded: [B, H, W, C], size: (kh, kw) -> kh * kw images [B, H', W', C]
  """
  height, width = (n - dilation * (k - 1) for n, k in zip(padded.shape[1:3], size, strict=True))
  return [
    padded[:, i : i + height : strides[0], j : j + width : strides[1]]
    for i in range(0, dilation * size[0], dilation)
    for j in range(0, dilation * size[1], dilation)
  ]


def _pad(x, padding):
  return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *((*p, 0) for p in padding), (0, 0, 0)))


def _padding(kernel, dilation):
  return tuple(dilation * (size - 1) // 2 for size in kernel.shape[:2])
