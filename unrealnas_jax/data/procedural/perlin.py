"""Perlin noise: octaves of smooth random fields, a class being their sizes and weights.

Source: Perlin 1985, "An Image Synthesizer", with the fade of Perlin 2002, "Improving Noise".
"""

import functools
import itertools

import jax
import jax.numpy as jnp

from unrealnas_jax.data.procedural import painted
from unrealnas_jax.data.procedural.painted import between, between_log, spread, standardise, unit

OCTAVES = 3


def paint(world, label, key, shape):
  """Clouds, ridges and veins through a random map of colours.

  class: cells an image in the first octave, 1.5 to 5; their length over height, 1/3 to 3; weight of
    an octave over the one before, 0.3 to 1; how folded the noise is, from n to |n|
  image: gradients and place of the lattice, three colours
  """
  cells, stretch, weight, fold = spread(world, label, 4)
  cells, weight = between_log(cells, 1.5, 5.0), between(weight, 0.3, 1.0)
  stretch = between_log(stretch, 3**-0.5, 3**0.5)
  most = max(1.0, min(shape[:2]) / 4)  # cells an image, of four pixels each
  lattice = int(most * max(shape[:2]) / min(shape[:2])) + 3
  draws = unit(jax.random.bits(key, (OCTAVES * 2 * (lattice**2 + 1) + 3 * shape[-1],)))
  places, gradients, colours = jnp.split(draws, [OCTAVES * 2, OCTAVES * 2 * (lattice**2 + 1)])
  places = places.reshape(OCTAVES, 2)
  gradients = between(gradients, -1.0, 1.0).reshape(OCTAVES, 2, lattice, lattice)
  frequency = cells * 2.0 ** jnp.arange(OCTAVES)[:, None] * jnp.stack([stretch, 1 / stretch])[None]
  frequency = jnp.minimum(frequency, most) / min(shape[:2])
  noise = jax.vmap(functools.partial(gradient_noise, shape))(gradients, places, frequency)
  noise += fold * (jnp.abs(noise) - noise)
  field = sum(weight**octave * noise[octave] for octave in range(OCTAVES))
  wave = 0.5 + 0.5 * jnp.sin(standardise(field[..., None]))
  first, second, third = colours.reshape(3, 1, 1, -1)
  return (1 - wave) ** 2 * first + 2 * wave * (1 - wave) * second + wave**2 * third


def gradient_noise(shape, gradients, place, frequency):
  """Perlin's noise [H, W], 0 at lattice points.

  gradients: [2, L, L], at the points 0..L - 1 of the lattice; place: [2], where pixel 0 lies in its
  cell; frequency: [2], cells a pixel down and across
  """
  y, x = (place[axis] + frequency[axis] * jnp.arange(shape[axis]) for axis in (0, 1))
  noise = 0.0
  for lower, right in itertools.product((0, 1), repeat=2):
    top, left = jnp.floor(y).astype(jnp.int32) + lower, jnp.floor(x).astype(jnp.int32) + right
    slopes = jnp.take(jnp.take(gradients, top, axis=1), left, axis=2)
    down, across = (y - top)[:, None], (x - left)[None]
    noise += fade(down) * fade(across) * (slopes[0] * down + slopes[1] * across)
  return noise


def fade(offset):
  """How much a lattice point counts at a distance: 1 at 0, 0 from 1 on, smooth to second order."""
  near = jnp.maximum(1 - jnp.abs(offset), 0)
  return near**3 * (near * (6 * near - 15) + 10)


make = functools.partial(painted.make, 'perlin', paint)
