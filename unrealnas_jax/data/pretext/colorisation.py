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
  centres, table = bins()

  def task(key, batch, images):
    del key, batch  # nothing is random
    pixels = images * std.reshape(1, 1, 1, 3) + mean.reshape(1, 1, 1, 3)
    lab = to_lab(jnp.clip(pixels, 0, 1))
    rows, columns = (_cell(lab[..., axis]) for axis in (1, 2))
    lightness = (lab[..., :1] / 100 - mean.mean()) / std.mean()
    return lightness, jnp.asarray(table)[rows, columns]

  return source._replace(classes=len(centres), shape=(height, width, 1), task=task)


@functools.cache
def bins() -> tuple[np.ndarray, np.ndarray]:
  """(a and b of the middle of each bin [K, 2], number of the bin of each place of the grid).

  The bins are the places of a grid of step 10 that a colour of sRGB lies nearest to. Zhang et al.
  and UnNAS have 313 in a file; no definition of it is published, and some lie outside of sRGB, so
  that no pixel can have them. Whatever lies beyond the bins belongs to the nearest one.
  """
  # A line of equal a and b leaves the cube of colours through one of its faces, so these show all.
  side = np.arange(256) / 255
  x, y = (x.ravel() for x in np.meshgrid(side, side))
  faces = [
    np.insert(np.stack([x, y], axis=1), axis, value, axis=1)
    for axis in range(3)
    for value in (0, 1)
  ]
  lab = np.asarray(to_lab(jnp.float32(np.concatenate(faces))))
  cells = np.unique(np.round(lab[:, 1:] / STEP), axis=0).astype(int)
  grid = np.stack(np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1], axis=-1)
  distances = np.square(grid[:, :, None] - cells[None, None]).sum(-1)
  return STEP * cells, distances.argmin(-1).astype(np.int32)


def to_lab(rgb: jax.Array) -> jax.Array:
  """CIE L*a*b* (D65) [..., 3] of sRGB colours [..., 3] from 0 to 1; L from 0 to 100."""
  linear = jnp.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
  # Written out, since TPUs would round the factors of a matrix product to 8 bits.
  xyz = [sum(weight * linear[..., n] for n, weight in enumerate(row)) for row in TO_XYZ]
  x, y, z = (jnp.where(t > (6 / 29) ** 3, jnp.cbrt(t), t * (29 / 6) ** 2 / 3 + 4 / 29) for t in xyz)
  return jnp.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _cell(values):
  """Places of the grid, 0 to 2 * REACH, that values of a or b lie nearest to."""
  return jnp.clip(jnp.round(values / STEP).astype(jnp.int32) + REACH, 0, 2 * REACH)
