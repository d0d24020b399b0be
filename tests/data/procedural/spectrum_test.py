import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unrealnas_jax.data.procedural import spectrum
from unrealnas_jax.data.procedural.painted import spread

SIZE = 32
IMAGES = 400
WORLD = jax.random.key(5)


@functools.cache
def painter(channels):
  paint = lambda label, key: spectrum.paint(WORLD, label, key, (SIZE, SIZE, channels))  # noqa: E731
  return jax.jit(jax.vmap(paint, (None, 0)))


@pytest.mark.parametrize('label', range(3))
def test_amplitudes_fall_with_the_exponent_of_the_class(label):
  images = painter(1)(label, jax.random.split(jax.random.key(1), IMAGES))
  exponent, direction, stretch = np.asarray(spread(WORLD, jnp.int32(label), 3), np.float64)
  exponent, stretch = 0.5 + 2.5 * exponent, 4**stretch
  fy, fx = np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE)[None]
  cos, sin = np.cos(np.pi * direction), np.sin(np.pi * direction)
  frequency = np.sqrt((fx * cos + fy * sin) ** 2 * stretch + (fy * cos - fx * sin) ** 2 / stretch)
  # A mean of logarithms over images: the factor that mixes channels only moves it as a whole.
  power = np.abs(np.fft.fft2(np.asarray(images, np.float64)[..., 0])) ** 2
  level = np.log(power).mean(0)
  inside = np.ones((SIZE, SIZE), bool)
  inside[[0, SIZE // 2], :] = inside[:, [0, SIZE // 2]] = False  # some of these bins are real
  slope, constant = np.polyfit(np.log(frequency[inside]), level[inside], 1)
  # The logarithm of a power has the standard deviation pi / sqrt(6) = 1.28 (an exponential
  # variable), so that of a bin's mean is 0.064, and of the slope over 450 independent bins, whose
  # log f spreads by at least 0.35, at most 0.064 / sqrt(450) / 0.35 = 0.009.
  assert abs(slope + 2 * exponent) < 5 * 0.009
  residual = level[inside] - constant - slope * np.log(frequency[inside])
  assert residual.std() < 1.2 * 0.064


def test_channels_are_mixed_differently_in_each_image():
  images = np.asarray(painter(3)(0, jax.random.split(jax.random.key(1), 50)))
  correlations = [np.corrcoef(image.reshape(-1, 3).T)[0, 1] for image in images]
  assert min(correlations) < -0.7
  assert max(correlations) > 0.7
