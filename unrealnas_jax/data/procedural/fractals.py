"""Fractals: attractors of iterated function systems, one system a class.

Source: Kataoka et al. 2020, "Pre-training without Natural Images" (FractalDB); maps by their
singular values as in Anderson and Farrell 2022, "Improving Fractal Pre-training"; colours that
follow the maps as in Draves and Reckase 2003, "The Fractal Flame Algorithm".
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from unrealnas_jax.data.procedural import painted
from unrealnas_jax.data.procedural.painted import between, unit

MAPS = 4
SYSTEM = 1 + 6 * MAPS  # numbers of a system that are not the same in all images of a class
CHAINS = 64  # points that move side by side
BURN_IN = 16  # steps in which a point comes to the attractor
LARGEST = 0.85  # singular value of a map
LEVELS = 255  # of a colour
JITTER = 0.04  # how far the numbers of an image's system are from those of its class
TURN = 0.3  # radians


def paint(world, label, key, shape):
  """Points of the attractor, framed so that all of it is seen, on a plain ground.

  class: the affine maps, as `system` says
  image: the numbers of the system a little off, a turn, the colours of the ground and of each map,
    and which points are drawn, 64 for each pixel of the image's smaller side
  """
  least, channels = min(shape[:2]), shape[-1]
  ends = np.cumsum((SYSTEM, (MAPS + 1) * channels, 1, (BURN_IN + least) * CHAINS))
  offs, colours, turn, choices = jnp.split(jax.random.bits(key, (ends[-1],)), ends[:-1])
  maps, shifts = system(jax.random.fold_in(world, label), unit(offs))
  colours = unit(colours).reshape(MAPS + 1, channels)
  choices = (choices % MAPS).reshape(-1, CHAINS)
  points, tints = chaos_game(choices, maps, shifts, colours[1:])
  turn = rotation(between(unit(turn), -TURN, TURN))[0]
  count, tint = splat(frame(points @ turn), tints, shape)
  cover = 1 - jnp.exp(-count / 2)
  ground = colours[:1, None]
  return ground + cover * (tint / jnp.maximum(count, 1) - ground)


def system(class_key, offs):
  """Affine maps x -> maps[i] @ x + shifts[i]: [MAPS, 2, 2] and [MAPS, 2].

  Each turns, stretches along the axes and turns again. Were all of one size and apart, the
  attractor would have the dimension that the class draws from 1.3 to 1.9.
  offs: [SYSTEM], 0 to 1, what makes the numbers of an image
  """
  draws = unit(jax.random.bits(class_key, (MAPS + SYSTEM,)))
  mirror = jnp.where(draws[:MAPS] < 0.5, -1, 1)
  draws = draws[MAPS:] + JITTER * (offs - 0.5)
  dimension = between(draws[0], 1.3, 1.9)
  draws = draws[1:].reshape(6, MAPS)
  first, second = rotation(2 * jnp.pi * draws[:2])
  size = MAPS ** (-1 / dimension) * jnp.exp(between(draws[2], -0.3, 0.3))
  stretch = jnp.exp(between(draws[3], -0.5, 0.5))
  scales = jnp.minimum(jnp.stack([size * stretch, size / stretch]), LARGEST)
  scales = jnp.stack([scales[0], mirror * scales[1]], axis=-1)
  maps = jnp.einsum('nij,nj,njk->nik', first, scales, second)
  return maps, between(draws[4:], -1.0, 1.0).T


def rotation(angle):
  """[..., 2, 2] of angles [...] in radians."""
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  return jnp.stack([jnp.stack([cos, -sin], -1), jnp.stack([sin, cos], -1)], -2)


def chaos_game(choices, maps, shifts, colours):
  """Points [N, M, 2] of the attractor, each moved by one map after another, and colours [N, M, C].

  choices: [BURN_IN + N, M], which map moves a point; colours: [MAPS, C], of which a point takes
  half at each step, and keeps half of its own
  """
  numbers = jnp.concatenate([maps.reshape(MAPS, 4), shifts, colours], axis=1).T

  def move(state, choice):
    (x, y), tint = state
    a, b, c, d, e, f, *colour = jnp.take(numbers, choice, axis=1)
    point = jnp.stack([a * x + b * y + e, c * x + d * y + f])
    tint = 0.5 * tint + 0.5 * jnp.stack(colour)
    return (point, tint), (point, tint)

  start = tuple(jnp.zeros((n, choices.shape[1])) for n in (2, colours.shape[1]))
  points, tints = lax.scan(move, start, choices)[1]
  return points[BURN_IN:].swapaxes(1, 2), tints[BURN_IN:].swapaxes(1, 2)


def frame(points):
  """points [N, M, 2], moved and scaled evenly to fill -0.95 to 0.95 along their longer side."""
  low, high = points.min((0, 1)), points.max((0, 1))
  middle, half = (low + high) / 2, (high - low).max() / 2
  return 0.95 * (points - middle[None, None]) / jnp.maximum(half, 1e-6)


def splat(points, tints, shape):
  """How many points lie on each pixel, [H, W, 1], and the sum of their colours, [H, W, C].

  points: [N, M, 2], -1 to 1 along the smaller side; tints: [N, M, C], 0 to 1
  """
  # Whole numbers, whose sum does not depend on the order that a device adds in.
  weights = jnp.concatenate([jnp.ones((*tints.shape[:2], 1)), tints], axis=-1)
  weights = jnp.round(LEVELS * weights).astype(jnp.int32)
  least = min(shape[:2])
  x, y = (
    jnp.floor((points[..., axis] * least + side) / 2).astype(jnp.int32)
    for axis, side in ((0, shape[1]), (1, shape[0]))
  )
  total = jnp.zeros((*shape[:2], weights.shape[-1]), jnp.int32).at[y, x].add(weights)
  return total[..., :1] / LEVELS, total[..., 1:] / LEVELS


make = functools.partial(painted.make, 'fractals', paint)
