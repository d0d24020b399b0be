"""Colorisation: which colour each pixel of a grey image had. Zhang et al. 2016, as in UnNAS.

UnNAS: the network sees the lightness alone, and every pixel has the same weight in the loss.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from unrealnas_jax.data.source import Source

STEP = 10  # of the grid of colours, in units of a and b of CIE L*a*b*
REACH = 11  # the grid goes from -REACH to REACH steps on both axes
# The bins, in steps: at each a from FIRST on, every b from LOWEST to HIGHEST; order: by a, then b.
# Numbers: pts_in_hull.npy of Zhang et al., in github.com/facebookresearch/unnas, pycls/datasets.
FIRST = -9
LOWEST = (5, 2, 0, -2, -3, -4, -5, -5, -6, -7, -8, -8, -9, -10, -10, -11, -11, -11, -11, -9)
HIGHEST = (9, 9, 9, 9, 10, 10, 10, 10, 10, 10, 9, 9, 9, 9, 8, 8, 8, 7, 7, 0)
# Linear red, green and blue of sRGB to X, Y, Z over those of white, D65 (IEC 61966-2-1).
TO_XYZ = (
  (0.4124564 / 0.95047, 0.3575761 / 0.95047, 0.1804375 / 0.95047),
  (0.2126729, 0.7151522, 0.0721750),
  (0.0193339 / 1.08883, 0.1191920 / 1.08883, 0.9503041 / 1.08883),
)


def make(config, source: Source) -> Source:
  """The lightness of the images of a source [B, H, W, 1]; labels [B, H, W], the bins of colours.

  Lightness is standardised by the average of the channels' means and standard deviations.
  Raises ValueError: the images have no three colours.
  """
  del config
  height, width, channels = source.shape
  if channels != 3:
    raise ValueError(
      f"source.pretext = 'colorisation'; allowed: with images of 3 channels, not {channels}"
    )
  mean, std = (np.broadcast_to(np.float32(x), 3) for x in source.colours)

  def task(key, batch, images):
    del key, batch  # nothing is random
    pixels = images * std.reshape(1, 1, 1, 3) + mean.reshape(1, 1, 1, 3)
    lab = to_lab(jnp.clip(pixels, 0, 1))
    lightness = (lab[..., :1] / 100 - mean.mean()) / std.mean()
    return lightness, nearest(lab[..., 1:])

  return source._replace(classes=len(bins()[0]), shape=(height, width, 1), task=task)


@functools.cache
def bins() -> tuple[np.ndarray, np.ndarray]:
  """(a and b of the middle of each bin [313, 2], number of the bin of each place of the grid).

  52 of the bins lie outside of sRGB, so that no pixel has them; without them the classes would not
  be those of UnNAS. A place that is no bin belongs to the nearest, the lowest number of several.
  """
  ranges = enumerate(zip(LOWEST, HIGHEST, strict=True), FIRST)
  cells = np.array([(a, b) for a, (low, high) in ranges for b in range(low, high + 1)])
  grid = np.stack(np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1], axis=-1)
  distances = np.square(grid[:, :, None] - cells[None, None]).sum(-1)
  return STEP * cells, distances.argmin(-1).astype(np.int32)


def nearest(ab: jax.Array) -> jax.Array:
  """Numbers [...] of the bins that a and b [..., 2] of colours of sRGB lie nearest to."""
  # The nearest place of the grid is a bin for every colour of sRGB, so that no other bin is nearer.
  # Halves go down: to the lower number, where two bins are equally near.
  places = jnp.ceil(ab / STEP - 0.5).astype(jnp.int32) + REACH
  places = jnp.clip(places, 0, 2 * REACH)
  return jnp.asarray(bins()[1])[places[..., 0], places[..., 1]]


def to_lab(rgb: jax.Array) -> jax.Array:
  """CIE L*a*b* (D65) [..., 3] of sRGB colours [..., 3] from 0 to 1; L from 0 to 100."""
  linear = jnp.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
  # Written out, since TPUs would round the factors of a matrix product to 8 bits.
  xyz = [sum(weight * linear[..., n] for n, weight in enumerate(row)) for row in TO_XYZ]
  x, y, z = (jnp.where(t > (6 / 29) ** 3, jnp.cbrt(t), t * (29 / 6) ** 2 / 3 + 4 / 29) for t in xyz)
  return jnp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
