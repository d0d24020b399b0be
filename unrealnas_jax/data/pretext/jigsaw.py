"""Jigsaw: in which order the tiles of an image lie. Noroozi, Favaro 2016, as in UnNAS."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from unrealnas_jax.data.procedural.painted import total
from unrealnas_jax.data.source import Source, view_keys

MOST = 1000  # permutations that are classes
GREY = 0.3  # part of the images that lose their colours, which alone would tell neighbours
LUMINANCE = 0.2125, 0.7154, 0.0721  # of red, green and blue (ITU-R BT.709)
HUNDREDTHS = 76  # side of a tile, of the side of its patch


def make(config, source: Source) -> Source:
  """The images of a source as tiles [B, grid^2, h, w, C]; the label is the number of their order.

  source.grid: an image is cut into grid x grid patches, and a tile of 0.76 of its height and width
  out of a random place of each, so that edges do not tell neighbours. Each tile is standardised by
  itself. In training an image is cut and ordered otherwise each time it is read.
  Raises ValueError: the images are too small.
  """
  grid, (height, width, channels) = config.source.grid, source.shape
  patch = height // grid, width // grid
  tile = tuple(side * HUNDREDTHS // 100 for side in patch)
  if min(tile) < 1:
    raise ValueError(
      f"source.grid = {grid}; allowed with source.pretext = 'jigsaw': at least 2 pixels a patch, "
      f'of images of {height} x {width} pixels'
    )
  # At place p lies tile orders[label, p]: officially tile n goes to place permutation[n].
  orders = jnp.asarray(np.argsort(permutations(grid), axis=1))

  def one(key, image):
    draws = jax.random.bits(key, (2 + 2 * grid**2,))
    label = draws[0] % len(orders)
    if channels == 3:
      image = jnp.where(draws[1] < GREY * 2**32, grey(image, source.colours), image)
    shifts = draws[2:].reshape(2, -1)

    def cut(number):
      image_part = image
      for axis, place in enumerate((number // grid, number % grid)):
        start = place * patch[axis] + shifts[axis, number] % (patch[axis] - tile[axis] + 1)
        taken = start.astype(jnp.int32) + jnp.arange(tile[axis])
        image_part = jnp.take(image_part, taken, axis=axis, mode='clip')
      return standardise(image_part)

    return jax.vmap(cut)(orders[label]), label.astype(jnp.int32)

  def task(key, batch, images):
    return jax.vmap(one)(view_keys(key, batch), images)

  return source._replace(classes=len(orders), shape=(*tile, channels), task=task)


@functools.cache
def permutations(grid: int) -> np.ndarray:
  """Permutations [P, grid^2] that differ in many places: all 24 of 4 tiles, 1,000 of those of 9.

  The first is the identity, each further one differs in as many places as can be from the nearest
  of those before (Noroozi, Favaro 2016); of equals it is the first in order of the alphabet. UnNAS
  has the same numbers of them, and others, since its first one was drawn.
  """
  everything = np.array(list(itertools.permutations(range(grid**2))), np.uint8)
  columns = np.ascontiguousarray(everything.T)
  nearest, chosen = np.full(len(everything), 255, np.uint8), [0]
  while len(chosen) < min(MOST, len(everything)):
    differ = (columns != columns[:, chosen[-1:]]).sum(0, dtype=np.uint8)
    np.minimum(nearest, differ, out=nearest)
    chosen.append(int(nearest.argmax()))
  return everything[chosen].astype(np.int32)


def grey(image: jax.Array, colours: tuple) -> jax.Array:
  """image: [H, W, 3], standardised by colours: the same with red, green and blue alike."""
  mean, std = (jnp.broadcast_to(jnp.float32(x), (3,))[None, None] for x in colours)
  light = ((image * std + mean) * jnp.array(LUMINANCE)[None, None]).sum(-1, keepdims=True)
  return (light - mean) / std


def standardise(tile):
  """tile: [h, w, C] with mean 0 and variance 1 over all its values; 0 if they are all the same."""
  tile = tile - total(total(total(tile))) / tile.size
  variance = total(total(total(jnp.square(tile)))) / tile.size
  return tile * lax.rsqrt(jnp.maximum(variance, 1e-12))
