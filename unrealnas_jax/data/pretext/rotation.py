"""Rotation: by how many quarters an image was turned. Gidaris et al. 2018, as in UnNAS."""

import jax
import jax.numpy as jnp

from unrealnas_jax.data.source import Source, view_keys

QUARTERS = 4


def make(config, source: Source) -> Source:
  """The images of a source, each turned to the left by 0 to 3 quarters, which is its label.

  In training an image is turned otherwise each time it is read. UnNAS (pycls, prepare.py) has all
  four in the same batch.
  Raises ValueError: the images are not square.
  """
  del config
  height, width, _ = source.shape
  if height != width:
    raise ValueError(
      f"source.pretext = 'rotation'; allowed: with square images, not {height} x {width} pixels"
    )

  def task(key, batch, images):
    quarters = jax.vmap(lambda key: jax.random.bits(key) % QUARTERS)(view_keys(key, batch))
    return jax.vmap(turn)(images, quarters), quarters.astype(jnp.int32)

  return source._replace(classes=QUARTERS, task=task)


def turn(image: jax.Array, quarters: jax.Array) -> jax.Array:
  """image: [N, N, C], turned to the left as numpy.rot90 does; quarters: [], 0 to 3."""
  # Two choices, as all four turned images would have to be made to choose among them.
  half = jnp.where(quarters >= 2, image[::-1, ::-1], image)
  return jnp.where(quarters % 2 == 1, half.swapaxes(0, 1)[::-1], half)
