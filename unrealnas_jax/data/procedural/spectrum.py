"""Noise whose amplitudes fall as a power of the frequency, 1/f^a, a class being that spectrum.

Images of nature have such spectra with a near 1. As a source to learn from: Baradad, Wulff, Wang,
Isola, Torralba 2021, "Learning to See by Looking at Noise".
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from unrealnas_jax.data.procedural import painted
from unrealnas_jax.data.procedural.painted import between, between_log, spread


def paint(world, label, key, shape):
  """Random phases under a class's spectrum, in channels that are mixed at random.

  class: exponent a from 0.5 to 3, direction 0 to pi of the streaks, stretched 1 to 4 times
  image: amplitudes and phases, one field a channel, and the matrix that mixes channels to colours
  """
  exponent, direction, stretch = spread(world, label, 3)
  height, width, channels = shape
  fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
  fy, fx = np.float32(fy), np.float32(fx)
  cos, sin = jnp.cos(jnp.pi * direction), jnp.sin(jnp.pi * direction)
  stretch = between_log(stretch, 1.0, 4.0)
  square = jnp.square(fx * cos + fy * sin) * stretch + jnp.square(fy * cos - fx * sin) / stretch
  # No amplitude at frequency 0: the mean is taken off anyhow.
  exponent = between(exponent, 0.5, 3.0)
  amplitude = jnp.where(square > 0, jnp.maximum(square, 1e-12) ** (-exponent / 2), 0)
  normals = jax.random.normal(key, (2 * channels * amplitude.size + channels * channels,))
  parts = normals[: -channels * channels].reshape(2, channels, *amplitude.shape)
  fields = jnp.fft.irfft2(jax.lax.complex(*(parts * amplitude[None, None])), s=(height, width))
  mix = normals[-channels * channels :].reshape(channels, channels)
  return jnp.einsum('chw,cd->hwd', fields, mix)


make = functools.partial(painted.make, 'spectrum', paint)
