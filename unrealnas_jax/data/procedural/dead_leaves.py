"""Dead leaves: shapes that fall on each other, a class being their shape, direction and sizes.

Source: Lee, Mumford, Huang 2001, "Occlusion Models for Natural Images"; as a source to learn from:
Baradad et al. 2021, "Learning to See by Looking at Noise".
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from unrealnas_jax.data.procedural import painted
from unrealnas_jax.data.procedural.painted import between, between_log, pixels, spread, unit

LEAVES = 64
TURN = 0.3  # radians


def paint(world, label, key, shape):
  """Leaves a (|x| + |y|) + (1 - a) max(|x|, |y|) <= r on a ground, the later on top of the earlier.

  class: a, which makes the leaf a rectangle (0), an octagon (0.4), a diamond (1) and then a star of
    four points (2); the direction that leaves lie in; length over breadth, 1 to 5; the smallest
    radius, 0.15 to 0.6 of half the image
  image: place, colour and radius r of each leaf, radii up to 1 having the density r^-3; how far it
    lies from its direction, up to 0.3 radians
  """
  direction, form, stretch, size = spread(world, label, 4)
  form, stretch = between(form, 0.0, 2.0), between_log(stretch, 1.0, 5.0)
  smallest = between_log(size, 0.15, 0.6)
  draws = unit(jax.random.bits(key, (4 + shape[-1], LEAVES)))
  top, left = between(draws[:2], -1.2, 1.2)
  angle = jnp.pi * direction + between(draws[2], -TURN, TURN)
  axes = jnp.stack([jnp.cos(angle), jnp.sin(angle)]) / radii(draws[3], smallest)[None]
  colours = draws[4:].T
  y, x = pixels(shape)

  def drop(image, leaf):
    top, left, (cos, sin), colour = leaf
    along = jnp.abs((x - left) * cos + (y - top) * sin) / jnp.sqrt(stretch)
    aside = jnp.abs((y - top) * cos - (x - left) * sin) * jnp.sqrt(stretch)
    inside = form * (along + aside) + (1 - form) * jnp.maximum(along, aside) <= 1
    return jnp.where(inside[..., None], colour[None, None], image), None

  ground = jnp.broadcast_to(colours[:1, None], shape)
  return lax.scan(drop, ground, (top[1:], left[1:], axes.T[1:], colours[1:]))[0]


def radii(numbers, smallest):
  """Numbers from 0 to 1 as radii from 1 down to the smallest, whose density is r^-3 for uniform
  ones: the inverse of its distribution function."""
  return lax.rsqrt(between(numbers, 1.0, smallest**-2))


make = functools.partial(painted.make, 'dead_leaves', paint)
