import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unrealnas_jax.data.augment import augment

KEY = jax.random.key(3)
FILL = np.array([-1.5, 9], np.float32)
# 4x3 pixels, two channels, every value different.
IMAGE = np.arange(1, 25, dtype=np.float32).reshape(4, 3, 2)


@functools.partial(jax.jit, static_argnums=(3, 4, 5))
def run(key, index, images, pad, flip, cutout):
  return augment(key, index, images, pad, flip, cutout, FILL)


def many(image, count, pad, flip, cutout, key=KEY):
  """[count, H, W, C]: one image augmented as examples 0..count - 1."""
  images = np.broadcast_to(image, (count, *image.shape))
  return np.asarray(run(key, np.arange(count, dtype=np.int32), images, pad, flip, cutout))


def windows(image, pad):
  """All crops of the padded image, by numpy: (2 * pad + 1)^2 of them."""
  height, width, channels = image.shape
  padded = np.broadcast_to(FILL, (height + 2 * pad, width + 2 * pad, channels)).copy()
  padded[pad : pad + height, pad : pad + width] = image
  return [
    padded[top : top + height, left : left + width]
    for top in range(2 * pad + 1)
    for left in range(2 * pad + 1)
  ]


def cut(image, side):
  """Cutout around every pixel, in the coordinates of the official code."""
  height, width, _ = image.shape
  results = []
  for y in range(height):
    for x in range(width):
      rows = np.clip([y - side // 2, y + side // 2], 0, height)
      columns = np.clip([x - side // 2, x + side // 2], 0, width)
      result = image.copy()
      result[rows[0] : rows[1], columns[0] : columns[1]] = 0
      results.append(result)
  return results


def counts(results, possible):
  """How many results equal each of the possible ones; every result must equal exactly one."""
  equal = np.array([[np.array_equal(r, p) for p in possible] for r in results])
  np.testing.assert_array_equal(equal.sum(1), 1)
  return equal.sum(0)


def assert_uniform(numbers):
  # Each is binomial(n, p = 1 / k): within five standard deviations, fewer than one case in a
  # million is further out.
  n, p = numbers.sum(), 1 / len(numbers)
  np.testing.assert_allclose(numbers, n * p, atol=5 * np.sqrt(n * p * (1 - p)))


def test_nothing_to_do():
  np.testing.assert_array_equal(many(IMAGE, 4, 0, False, 0), np.stack([IMAGE] * 4))


@pytest.mark.parametrize('pad', [1, 2])
def test_crop_is_a_uniform_window_of_the_padded_image(pad):
  assert_uniform(counts(many(IMAGE, 2000, pad, False, 0), windows(IMAGE, pad)))


def test_padding_larger_than_the_image():
  results = many(IMAGE, 500, 5, False, 0)
  possible = windows(IMAGE, 5)
  assert all(any(np.array_equal(r, p) for p in possible) for r in results)
  # Of the 11 x 11 places, 7 x 5 leave some of the image in sight: the other 71 % are all padding.
  empty = (results == FILL).all((1, 2, 3)).mean()
  assert abs(empty - 86 / 121) < 5 * np.sqrt(0.71 * 0.29 / 500)


def test_flip_mirrors_half_of_the_images():
  assert_uniform(counts(many(IMAGE, 1000, 0, True, 0), [IMAGE, IMAGE[:, ::-1]]))


def test_flip_comes_after_the_crop_and_is_independent_of_it():
  possible = windows(IMAGE, 1) + [window[:, ::-1] for window in windows(IMAGE, 1)]
  assert_uniform(counts(many(IMAGE, 2000, 1, True, 0), possible))


@pytest.mark.parametrize('side', [2, 3])
def test_cutout_is_a_clipped_square_around_a_uniform_pixel(side):
  # On 5x4 pixels the 20 squares of side 2 all differ (a side of 3 counts as 2); they reach from
  # the centre one pixel up and left and no pixel down and right.
  image = np.arange(1, 41, dtype=np.float32).reshape(5, 4, 2)
  results = many(image, 2000, 0, False, side)
  assert_uniform(counts(results, cut(image, side)))
  erased = (results == 0).all(-1).sum((1, 2))
  assert set(erased) == {1, 2, 4}  # in the corner, at the border, inside


def test_cutout_by_hand():
  # Side 4 around row 1, column 2 of 4x4: rows -1..2 and columns 0..3, so three rows go.
  image = np.ones((4, 4, 1), np.float32)
  expected = np.ones((4, 4, 1), np.float32)
  expected[:3] = 0
  possible = cut(image, 4)
  np.testing.assert_array_equal(possible[1 * 4 + 2], expected)
  results = many(np.ones((4, 4, 2), np.float32), 300, 0, False, 4)[..., :1]
  assert any(np.array_equal(result, expected) for result in results)


def test_cutout_comes_last():
  """Its zeros lie over the padding too, and are never shifted or mirrored."""
  cropped = windows(IMAGE, 1) + [window[:, ::-1] for window in windows(IMAGE, 1)]
  possible = [result for window in cropped for result in cut(window, 2)]
  results = many(IMAGE, 500, 1, True, 2)
  assert all(any(np.array_equal(r, p) for p in possible) for r in results)
  erased_padding = [r for r in results if (r == FILL).all(-1).any() and (r == 0).any()]
  assert len(erased_padding) > 100


def test_cutout_is_independent_of_the_crop():
  # With one key the crop is the same with and without cutout, so both can be told apart.
  cropped, both = many(IMAGE, 6000, 1, False, 0), many(IMAGE, 6000, 1, False, 2)
  squares = cut(np.ones((4, 3, 1), np.float32), 2)
  pairs = np.zeros((9, 12))
  for window, result in zip(cropped, both, strict=True):
    place = [np.array_equal(window, w) for w in windows(IMAGE, 1)].index(True)
    centre = [np.array_equal(result, window * square) for square in squares].index(True)
    pairs[place, centre] += 1
  assert_uniform(pairs.ravel())


def test_an_example_depends_on_key_and_index_alone():
  images = np.random.default_rng(0).normal(size=(16, 8, 8, 2)).astype(np.float32)
  index = np.arange(100, 116, dtype=np.int32)
  whole = np.asarray(run(KEY, index, images, 4, True, 4))
  for rows in (np.arange(16)[::-1], [5]):
    np.testing.assert_array_equal(run(KEY, index[rows], images[rows], 4, True, 4), whole[rows])
  # Other steps and other indices draw anew.
  for other in (
    run(jax.random.key(4), index, images, 4, True, 4),
    run(KEY, index + 16, images, 4, True, 4),
  ):
    same = [np.array_equal(a, b) for a, b in zip(np.asarray(other), whole, strict=True)]
    assert sum(same) <= 2


def test_one_device_equals_four():
  images = np.random.default_rng(0).normal(size=(8, 6, 6, 2)).astype(np.float32)
  index = np.arange(8, dtype=np.int32)
  whole = run(KEY, index, images, 2, True, 2)

  def one(index, images):
    return augment(KEY, index, images, 2, True, 2, FILL)

  split = jax.pmap(one, axis_name='devices')(index.reshape(4, 2), images.reshape(4, 2, 6, 6, 2))
  np.testing.assert_array_equal(np.reshape(split, images.shape), whole)


def test_keeps_the_type_of_half_precision_images():
  images = jnp.ones((3, 7, 4, 2), jnp.bfloat16)
  result = run(KEY, jnp.arange(3), images, 2, True, 2)
  assert result.shape == images.shape
  assert result.dtype == jnp.bfloat16
