import numpy as np
import pytest

from unrealnas_jax.data.images import resize, resize_all


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_halving_by_hand(dtype):
  # Halving a bilinear (triangle) filter: its support is 2 pixels to each side of the middle of the
  # output pixel, so all 4 columns weigh in: for output 0 (middle at 1 in input pixels) they are
  # 1 - |x + 0.5 - 1| / 2 = .75, .75, .25, and nothing from the fourth (distance 2.5 > 2).
  row = np.array([10, 30, 50, 90], dtype)
  image = np.broadcast_to(row[None, :, None], (4, 4, 1)).copy()
  left = (0.75 * 10 + 0.75 * 30 + 0.25 * 50) / 1.75
  right = (0.25 * 30 + 0.75 * 50 + 0.75 * 90) / 1.75
  expected = np.broadcast_to(np.array([left, right])[None, :, None], (2, 2, 1))
  tolerance = 0.5 if dtype == np.uint8 else 1e-4  # uint8 is rounded
  np.testing.assert_allclose(resize(image, 2), expected, atol=tolerance)


def test_doubling_by_hand():
  # Output pixel 1 of 4 has its middle at 0.75 input pixels: a quarter of the way from 0.5 to 1.5.
  image = np.array([0, 1], np.float32).reshape(1, 2, 1).repeat(2, axis=0)
  np.testing.assert_allclose(resize(image, 4)[0, :, 0], [0, 0.25, 0.75, 1], atol=1e-6)


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_channels_keep_their_places_and_type(dtype):
  image = np.broadcast_to(np.array([1, 0, 1], dtype), (5, 7, 3)).copy()
  resized = resize(image, 4)
  assert resized.shape == (4, 4, 3)
  assert resized.dtype == dtype
  np.testing.assert_array_equal(resized, np.broadcast_to(np.array([1, 0, 1], dtype), (4, 4, 3)))


def test_zero_and_equal_size_leave_images_alone():
  images = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 1)
  assert resize_all(images, 0) is images
  assert resize_all(images, 3) is images
  np.testing.assert_array_equal(resize(images[0], 3), images[0])


def test_all_equals_one_by_one():
  images = np.random.default_rng(0).integers(0, 256, (3, 5, 6, 3), np.uint8)
  expected = np.stack([resize(image, 4) for image in images])
  np.testing.assert_array_equal(resize_all(images, 4), expected)
