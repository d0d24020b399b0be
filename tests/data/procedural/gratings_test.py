import jax
import jax.numpy as jnp
import numpy as np

from unrealnas_jax.data.procedural import gratings
from unrealnas_jax.data.procedural.painted import spread

SIZE = 64
CLASSES = 20
WORLD = jax.random.key(5)


def images():
  """Two images [CLASSES, 2, SIZE, SIZE] of each class, with mean 0."""
  paint = lambda label, key: gratings.paint(WORLD, label, key, (SIZE, SIZE, 1))  # noqa: E731
  draw = jax.jit(jax.vmap(jax.vmap(paint, (None, 0)), (0, None)))
  found = np.asarray(draw(jnp.arange(CLASSES), jax.random.split(jax.random.key(1))))[..., 0]
  return found - found.mean((2, 3), keepdims=True)


def test_stripes_are_those_of_their_class():
  found = images()
  numbers = np.array([spread(WORLD, jnp.int32(label), 3) for label in range(CLASSES)])
  for (direction, period, _), pair in zip(numbers, found, strict=True):
    period = 4 * (SIZE / 2 / 4) ** period
    expected = SIZE / period * np.array([np.sin(np.pi * direction), np.cos(np.pi * direction)])
    for image in pair:
      # The strongest frequency, in waves an image down and across, of either sign.
      power = np.abs(np.fft.fft2(image))
      peak = np.array(np.unravel_index(power.argmax(), power.shape))
      peak = np.where(peak > SIZE / 2, peak - SIZE, peak)
      off = min(np.linalg.norm(peak - expected), np.linalg.norm(peak + expected))
      # An image may be turned by 0.05 radians and stretched by 5 %, which is 7.1 % in all; its peak
      # stands on whole numbers, at most sqrt(1/2) from where it is.
      assert off < 0.071 * np.linalg.norm(expected) + 0.8
  # From a sine, whose kurtosis is 1.5, to stripes of two values, with 1.
  kurtosis = (found[:, 0] ** 4).mean((1, 2)) / np.square(found[:, 0].var((1, 2)))
  sharpness = numbers[:, 2]
  assert abs(kurtosis[sharpness.argmin()] - 1.5) < 0.1
  assert abs(kurtosis[sharpness.argmax()] - 1.0) < 0.2
