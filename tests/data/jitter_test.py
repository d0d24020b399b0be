"""Random colours: by hand on one pixel, their ranges, and what they depend on."""

import jax
import jax.numpy as jnp
import numpy as np

from unrealnas_jax.data import jitter as lib
from unrealnas_jax.data import real
from unrealnas_jax.data.jitter import jitter
from unrealnas_jax.data.split import Dataset, in_memory

COLOUR = jnp.float32(np.random.default_rng(0).uniform(0.3, 0.6, (64, 3, 4, 3)))
NUMBERS = jnp.arange(64, dtype=jnp.uint32)


def test_a_third_of_a_turn_exchanges_the_colours():
  pixel = jnp.array([[[0.2, 0.5, 0.8]]])
  np.testing.assert_allclose(pixel @ lib._turn(2 * np.pi / 3), [[[0.8, 0.2, 0.5]]], atol=1e-6)
  np.testing.assert_allclose(pixel @ lib._turn(0.0), pixel, atol=1e-6)


def test_grey_images_change_in_brightness_and_contrast_only():
  """(x * b - m) * c + m with m the mean after the change of brightness."""
  image = jnp.float32(np.random.default_rng(1).uniform(0.3, 0.6, (1, 5, 5, 1)))
  found = jitter(NUMBERS[3:4], image, 0.3)[0]
  draws = jax.random.uniform(jax.random.key(3), (4,), minval=-0.3, maxval=0.3)
  bright = image[0] * (1 + draws[0])
  expected = (bright - bright.mean()) * (1 + draws[1]) + bright.mean()
  np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_grey_pixel_stays_grey():
  grey = jnp.tile(COLOUR[..., :1], (1, 1, 1, 3))
  found = jitter(NUMBERS, grey, 0.4)
  np.testing.assert_allclose(found.max(-1), found.min(-1), atol=1e-6)
  assert np.abs(found - grey).max() > 0.05


def test_colours_stay_within_range_and_differ_between_images():
  same = jnp.tile(COLOUR[:1], (64, 1, 1, 1))
  found = jitter(NUMBERS, same, 0.4)
  assert found.min() >= 0
  assert found.max() <= 1
  assert len(np.unique(found[:, 0, 0, 0])) == 64
  # The mean brightness is multiplied by 0.6 to 1.4, uniformly: of mean 1, standard deviation 0.231.
  # The least of 64 factors is above 0.7, or the largest below 1.3, with a probability of (7/8)^64 =
  # 0.0002 each. Contrast, saturation and hue change the mean of an image by little: by up to 0.042
  # in 64 other draws for each of 40 images.
  ratio = found.mean((1, 2, 3)) / same.mean((1, 2, 3))
  assert 0.55 < ratio.min() < 0.7
  assert 1.3 < ratio.max() < 1.45
  assert abs(ratio.mean() - 1) < 6 * 0.231 / 8


def test_an_image_depends_on_its_number_alone():
  together = jitter(NUMBERS, COLOUR, 0.4)
  np.testing.assert_allclose(jitter(NUMBERS[9:11], COLOUR[9:11], 0.4), together[9:11], rtol=1e-5)


def test_only_training_images_of_a_set_with_jitter_change():
  images = np.random.default_rng(0).integers(60, 160, (8, 3, 4, 3), np.uint8)
  split = in_memory(images, np.arange(8))
  mean, std = np.full(3, 0.4, np.float32), np.full(3, 0.2, np.float32)
  indices, numbers = np.arange(8), np.arange(8, dtype=np.uint32)

  def seen(strength, *numbers):
    dataset = Dataset('made', split, split, 8, (3, 4, 3), mean, std, jitter=strength)
    source = real.make(None, dataset)
    return source.fn(None, source.read(indices, *numbers))[0]

  plain = seen(0.0)
  np.testing.assert_array_equal(seen(0.0, numbers), plain)
  np.testing.assert_array_equal(seen(0.4), plain)
  changed = jitter(numbers, jnp.float32(images) / 255, 0.4)
  np.testing.assert_allclose(seen(0.4, numbers), (changed - 0.4) / 0.2, atol=1e-5)
