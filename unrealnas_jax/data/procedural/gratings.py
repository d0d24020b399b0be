"""Oriented gratings: stripes, a class being their direction, their width and how sharp they are."""

import functools

import jax
import jax.numpy as jnp

from unrealnas_jax.data.procedural import painted
from unrealnas_jax.data.procedural.painted import between, between_log, pixels, spread, unit

TURN, STRETCH = 0.05, 0.05  # how far an image is from its class: radians, part of the period


def paint(world, label, key, shape):
  """Stripes between two colours.

  class: direction 0 to pi, period from 4 pixels to half the image, from a sine to hard stripes
  image: phase, two colours, a turn and a stretch that are small against the steps between classes
  """
  direction, period, sharpness = spread(world, label, 3)
  draws = unit(jax.random.bits(key, (3 + 2 * shape[-1],)))
  angle = jnp.pi * direction + between(draws[1], -TURN, TURN)
  longest = max(4.0, min(shape[:2]) / 2)
  period = between_log(period, 4.0, longest) * between(draws[2], 1 - STRETCH, 1 + STRETCH)
  y, x = pixels(shape)
  across = (x * jnp.cos(angle) + y * jnp.sin(angle)) * (min(shape[:2]) / 2)
  wave = jnp.sin(2 * jnp.pi * (across / period + draws[0]))
  sharpness = between_log(sharpness, 0.5, 8.0)
  wave = jnp.tanh(sharpness * wave) / jnp.tanh(sharpness)
  first, second = draws[3:].reshape(2, 1, 1, -1)
  return first + (second - first) * (0.5 + 0.5 * wave)[..., None]


make = functools.partial(painted.make, 'gratings', paint)
