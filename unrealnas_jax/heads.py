"""Heads of the supernets: from what the last cell gives to logits, one set an image or a pixel.

Source: Liu et al. 2020, UnNAS, pycls/models/common.py.
"""

import math

import jax.numpy as jnp
import numpy as np

from unrealnas_jax import ops


def init(draw, features, classes, tiles):
  """{'kernel', 'bias'} of a linear classifier; draw: as in ops.conv_init; the rest as in apply."""
  width = features * tiles
  return {
    'kernel': ops.conv_init(draw, (width, classes)),
    'bias': draw((classes,)) / math.sqrt(width),
  }


def apply(features, params, tiles=1, size=None):
  """features [B * tiles, h, w, F] -> logits float32 [B, K], or [B, H, W, K] where a size is given.

  tiles: so many images in a row are one example, classified by the means of all, side by side
  size: (H, W) of the images, whose pixels are classified: each place of the features by itself,
    spread to all pixels
  """
  features = features.astype(jnp.float32)
  if size is None:
    features = features.mean((1, 2)).reshape(len(features) // tiles, -1)
  bias = jnp.expand_dims(params['bias'], range(features.ndim - 1))
  logits = features @ params['kernel'] + bias
  return logits if size is None else spread(logits, size)


def spread(x, size):
  """x [B, h, w, K] as [B, H, W, K], bilinear, where the corners of both lie on each other."""
  rows, columns = (_weights(*sides) for sides in zip(size, x.shape[1:3], strict=True))
  x = jnp.einsum('Hh,bhwk->bHwk', rows, x, precision='highest')
  return jnp.einsum('Ww,bHwk->bHWk', columns, x, precision='highest')


def _weights(large, small):
  """[large, small]: what each place of a row of `small` adds to each of `large`."""
  places = np.linspace(0, small - 1, large)
  distances = np.abs(places[:, None] - np.arange(small)[None])
  return jnp.float32(np.maximum(1 - distances, 0))
