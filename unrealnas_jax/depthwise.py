"""Depthwise convolution, lowered in the form that is quick on the platform.

On TPU and GPU it is one grouped convolution. XLA's CPU backend runs grouped convolutions about 40
times slower than the same thing written as a sum of shifted images, so there it is written so, and
its three passes (output, input gradient, kernel gradient) by hand. Measured on 2 cores of an AMD
EPYC (AVX-512), float32, x [16, 32, 32, 16], 5x5 kernel, milliseconds:

  output             grouped 20        shifted sum 0.4
  input gradient     grouped 17        autodiff of the shifted sum 2.0    flipped kernel 0.4
  kernel gradient    grouped 3.4-5.1   one sum a tap 2.5-4.4              all taps in one reduce 0.9

The kernel gradient is one variadic reduce over all taps, so that both images are read once and not
once a tap. Each pass is a call that XLA may not inline: fused with what comes before or after, a
chain of convolutions is recomputed for every tap, and kernels that are slices of a stack of kernels
are indexed anew for every pixel (7 ms instead of 1.2 ms for the input gradients of four kernels).
optimization_barrier does not help there, XLA drops it before it fuses.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata


def _own_kernel(function, static):
  """Runs function, compiled by itself: XLA neither fuses nor inlines it."""
  compiled = jax.jit(function, static_argnums=static)

  def call(*arguments):
    with set_xla_metadata(inlineable='false'):
      return compiled(*arguments)

  return call


@functools.partial(jax.jit, static_argnames=('stride', 'dilation'))
def depthwise_conv(x, kernel, stride=1, dilation=1):
  """Convolves each channel with its own kernel, zero padding dilation * (k - 1) // 2 on each side.

  x: [B, H, W, C], kernel: [kh, kw, C] -> [B, ceil(H / stride), ceil(W / stride), C] for odd kernels
  """
  if jax.default_backend() == 'cpu':
    return shifted_conv(x, kernel, stride, dilation)
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


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def shifted_conv(x, kernel, stride, dilation):
  """The form for CPU: one shifted image a tap, summed in float32."""
  ph, pw = _padding(kernel, dilation)
  return _shifted_sum(_pad(x, (ph, ph), (pw, pw)), kernel, stride, dilation)


def _shifted_conv_fwd(x, kernel, stride, dilation):
  return shifted_conv.__wrapped__(x, kernel, stride, dilation), (x, kernel)


def _shifted_conv_bwd(stride, dilation, residuals, g):
  x, kernel = residuals
  (height, width), (ph, pw) = x.shape[1:3], _padding(kernel, dilation)
  # The transpose of a strided convolution: stride - 1 zeros between pixels of g, flipped kernel.
  rows, columns = ((n - 1) * stride + 1 for n in g.shape[1:3])
  spread = _pad(g, (ph, height + ph - rows), (pw, width + pw - columns), stride - 1)
  dx = _shifted_sum(spread, kernel[::-1, ::-1], 1, dilation)
  padded = _pad(x, (ph, ph), (pw, pw))
  return dx, _kernel_gradient(padded, g, kernel, stride, dilation).astype(kernel.dtype)


shifted_conv.defvjp(_shifted_conv_fwd, _shifted_conv_bwd)


@functools.partial(_own_kernel, static=(2, 3))
def _shifted_sum(padded, kernel, stride, dilation):
  taps = _shifted_images(padded, kernel, stride, dilation)
  weights = kernel.astype(jnp.float32).reshape(-1, 1, 1, 1, kernel.shape[-1])
  total = sum(tap.astype(jnp.float32) * weight for tap, weight in zip(taps, weights, strict=True))
  return total.astype(padded.dtype)


@functools.partial(_own_kernel, static=(3, 4))
def _kernel_gradient(padded, g, kernel, stride, dilation):
  taps = _shifted_images(padded, kernel, stride, dilation)
  products = [(tap * g).astype(jnp.float32) for tap in taps]
  sums = lax.reduce(products, [jnp.float32(0)] * len(products), _add_all, (0, 1, 2))
  return jnp.stack(sums).reshape(kernel.shape)


def _shifted_images(padded, kernel, stride, dilation):
  # [B, H', W', C] for each tap: the pixel that the tap sees from every output pixel.
  kh, kw, _ = kernel.shape
  height, width = (n - dilation * (k - 1) for n, k in zip(padded.shape[1:3], (kh, kw), strict=True))
  return [
    padded[:, i : i + height : stride, j : j + width : stride]
    for i in range(0, dilation * kh, dilation)
    for j in range(0, dilation * kw, dilation)
  ]


def _pad(x, rows, columns, between=0):
  config = ((0, 0, 0), (*rows, between), (*columns, between), (0, 0, 0))
  return lax.pad(x, jnp.zeros((), x.dtype), config)


def _padding(kernel, dilation):
  return tuple(dilation * (size - 1) // 2 for size in kernel.shape[:2])


def _add_all(left, right):
  return [a + b for a, b in zip(left, right, strict=True)]
