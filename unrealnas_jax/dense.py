"""Convolution over all channels, lowered in the form that is quick on the platform.

A 1x1 convolution is a matrix product everywhere. Larger kernels are left to XLA on TPU and GPU; on
CPU they are a matrix product too, over the shifted images side by side, because XLA's kernel
gradient of a convolution is slow there inside a loop: a profile showed it on top of a retraining
step, and with products the step of the laptop scale fell from 0.70 s to 0.17 s on 2 cores.
"""

import jax
import jax.numpy as jnp
from jax import lax

from unrealnas_jax.depthwise import shifted_images


def conv(x, kernel, strides=(1, 1), padding=None, learns=None):
  """Convolution without bias. x: [B, H, W, C_in], kernel: [kh, kw, C_in, C_out].

  padding: pixels above and below, left and right; (k - 1) // 2 unless given.
  learns: as in layers.Mode.
  """
  kh, kw, channels, features = kernel.shape
  ph, pw = padding or ((kh - 1) // 2, (kw - 1) // 2)
  if (kh, kw, ph, pw) == (1, 1, 0, 0):
    return product(x[:, :: strides[0], :: strides[1]], kernel[0, 0], learns)
  if jax.default_backend() != 'cpu':
    return lax.conv_general_dilated(
      *(x, kernel, strides),
      padding=[(ph, ph), (pw, pw)],
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )
  padded = jnp.pad(x, ((0, 0), (ph, ph), (pw, pw), (0, 0)))
  patches = jnp.concatenate(shifted_images(padded, (kh, kw), strides), axis=-1)
  return product(patches, kernel.reshape(kh * kw * channels, features), learns)


def product(x, kernel, learns=None):
  """1x1 convolution. x: [..., C_in], kernel: [C_in, C_out] -> [..., C_out].

  Of two matrices: with more axes XLA copies a transposed x for the kernel's gradient.
  learns: as in layers.Mode.
  """
  rows = x.reshape(-1, x.shape[-1])
  y = jnp.dot(rows, kernel) if learns is None else _product(rows, kernel, learns)
  return y.reshape(*x.shape[:-1], -1)


@jax.custom_vjp
def _product(rows, kernel, learns):
  del learns  # the way back is given what this is given
  return jnp.dot(rows, kernel)


def _product_fwd(rows, kernel, learns):
  return jnp.dot(rows, kernel), (rows, kernel, learns)


def _product_bwd(residuals, g):
  rows, kernel, learns = residuals

  def gradient(rows, g):
    return lax.dot_general(rows, g, (((0,), (0,)), ((), ())))

  dkernel = lax.cond(learns, gradient, lambda *_: jnp.zeros_like(kernel), rows, g)
  return lax.dot_general(g, kernel, (((1,), (1,)), ((), ()))), dkernel, None


_product.defvjp(_product_fwd, _product_bwd)
