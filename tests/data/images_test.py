"""Resizing by hand, and which part of an image its views take."""

import io

import numpy as np
import pytest
from data_config import data_config
from PIL import Image

from unrealnas_jax.data import images as lib
from unrealnas_jax.data.images import resize
from unrealnas_jax.data.split import in_memory


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


def hp(**changes):
  return data_config('digits', **changes)


def test_zero_and_equal_size_leave_images_alone():
  images = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 1)
  assert lib.central_views(images, hp(size=0)) is images
  assert lib.central_views(images, hp(size=3)) is images
  np.testing.assert_array_equal(resize(images[0], 3), images[0])


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_all_equals_one_by_one(dtype):
  images = np.random.default_rng(0).integers(0, 256, (3, 5, 6, 3)).astype(dtype)
  expected = np.stack([resize(image, 4) for image in images])
  assert expected.dtype == dtype
  np.testing.assert_array_equal(lib.central_views(images, hp(size=4)), expected)


def test_colour_at_once_equals_each_channel_alone():
  image = np.random.default_rng(0).integers(0, 256, (37, 50, 3), np.uint8)
  for box in (None, (3, 2.5, 40, 30)):
    alone = [resize(image[..., [channel]], 16, box) for channel in range(3)]
    np.testing.assert_array_equal(resize(image, 16, box), np.concatenate(alone, -1))


def places(height, width, channels=3):
  """An image whose channels say where a pixel is: row, column, 0."""
  rows, columns = np.indices((height, width), np.float32)
  return np.stack([rows, columns, 0 * rows][:channels], -1)


def test_central_view_is_the_official_one_of_imagenet():
  """The shorter side resized to 256, then the middle 224: of 512 by 1024 rows 32 to 480.

  Half of the way between the first and second pixel that it takes is at row 32 + 1 - 0.5.
  """
  seen = lib.central_view(places(512, 1024), hp(size=224, crop=0.875))
  assert seen.shape == (224, 224, 3)
  np.testing.assert_allclose(seen[1:-1, 5, 0], 32 + 2 * np.arange(1, 223) + 0.5, atol=1e-3)
  np.testing.assert_allclose(seen[5, 1:-1, 1], 288 + 2 * np.arange(1, 223) + 0.5, atol=1e-3)


def test_whole_image_is_stretched():
  seen = lib.central_view(places(8, 32), hp(size=8))
  np.testing.assert_allclose(seen[:, 3, 0], np.arange(8), atol=1e-4)
  np.testing.assert_allclose(seen[3, 1:-1, 1], 4 * np.arange(1, 7) + 1.5, atol=1e-3)


def boxes(height, width, least, count):
  """(left, top, width, height) [count] of random views, read off what they show."""
  settings, found = hp(size=8, random_crop=least), []
  image = places(height, width)
  for number in range(count):
    rows, columns, _ = np.moveaxis(lib.random_view(image, settings, number), -1, 0)
    # The 4 pixels in the middle are far from the edges, so that they are linear in the place.
    step_y, step_x = (rows[5, 0] - rows[2, 0]) / 3, (columns[0, 5] - columns[0, 2]) / 3
    top, left = rows[2, 0] + 0.5 - 2.5 * step_y, columns[0, 2] + 0.5 - 2.5 * step_x
    found.append((left, top, 8 * step_x, 8 * step_y))
  return np.array(found).T


def test_random_views_have_the_areas_ratios_and_places_of_inception():
  left, top, width, height = boxes(300, 400, 0.08, 2000)
  assert (left > -0.1).all()
  assert (top > -0.1).all()
  assert (left + width < 400.1).all()
  assert (top + height < 300.1).all()
  area, ratio = width * height / (300 * 400), width / height
  # Whole pixels change sides of at least 70 by less than one hundredth.
  assert 0.08 * 0.98 < area.min() < 0.09
  assert 0.9 < area.max() <= 1.02
  assert 3 / 4 * 0.98 < ratio.min() < 0.77
  assert 1.3 < ratio.max() < 4 / 3 * 1.02
  # Log-uniform: half of the ratios are above 1. Areas below 0.54 (the middle of 0.08 and 1) always
  # fit, whatever their ratio: among them the area is uniform, of mean 0.31 and standard deviation
  # 0.46 / sqrt(12) = 0.133. Six standard deviations of the mean of about 1000 are 0.025.
  small = area < 0.54
  assert abs((ratio[small] > 1).mean() - 0.5) < 6 * 0.5 / np.sqrt(small.sum())
  assert abs(area[small].mean() - 0.31) < 6 * 0.133 / np.sqrt(small.sum())
  # A place is uniform over what is left: the share of it has mean 1/2, standard deviation 0.289.
  share = left[small] / (400 - width[small])
  assert abs(share.mean() - 0.5) < 6 * 0.289 / np.sqrt(small.sum())


@pytest.mark.parametrize(('height', 'width'), [(20, 400), (400, 20)])
def test_where_no_random_crop_fits_the_largest_central_one_is_taken(height, width):
  _, _, wide, high = boxes(height, width, 1 - 1e-9, 3)
  left, top, *_ = boxes(height, width, 1 - 1e-9, 3)
  np.testing.assert_allclose(wide / high, 4 / 3 if width > height else 3 / 4, rtol=0.01)
  np.testing.assert_allclose(left + wide / 2, width / 2, atol=0.1)
  np.testing.assert_allclose(top + high / 2, height / 2, atol=0.1)


def test_a_random_view_depends_on_its_number_alone():
  image, settings = places(50, 60), hp(size=8, random_crop=0.3)
  first, again, other = (lib.view(image, settings, number) for number in (7, 7, 8))
  np.testing.assert_array_equal(first, again)
  assert np.abs(first - other).max() > 1
  np.testing.assert_array_equal(lib.view(image, settings), lib.central_view(image, settings))
  settings.random_crop = 1.0
  np.testing.assert_array_equal(lib.view(image, settings, 7), lib.central_view(image, settings))


def test_arrays_have_views_too():
  images = np.stack([places(12, 12) + n for n in range(4)])
  settings = hp(size=6, random_crop=0.2)
  read = in_memory(images, np.arange(4), settings).read
  indices, numbers = np.array([2, 0, 2]), np.array([5, 6, 9], np.uint32)
  expected = [
    lib.random_view(images[i], settings, n) for i, n in zip(indices, numbers, strict=True)
  ]
  np.testing.assert_array_equal(read(indices, numbers)['image'], expected)
  np.testing.assert_array_equal(
    read(indices)['image'], lib.central_views(images, settings)[indices]
  )
  settings.random_crop = 1.0
  np.testing.assert_array_equal(read(indices, numbers)['image'], read(indices)['image'])


def encoded(image, kind='PNG'):
  file = io.BytesIO()
  Image.fromarray(image).save(file, kind)
  file.seek(0)
  return file


def test_threads_keep_the_order_of_images():
  images = [np.full((5 + n % 3, 9, 3), n, np.uint8) for n in range(40)]
  decode = lib.make_decoder(3, hp(size=4))
  for _ in range(3):
    found = decode([encoded(image) for image in images])
    assert [image[0, 0, 0] for image in found] == list(range(40))
    assert {image.shape for image in found} == {(4, 4, 3)}


@pytest.mark.parametrize(
  'image', [np.zeros((4, 4), np.uint16), np.zeros((4, 4), np.int32)], ids=['I;16', 'I']
)
def test_images_of_more_than_8_bits_are_refused(image):
  kind = 'PNG' if image.dtype == np.uint16 else 'TIFF'
  with pytest.raises(OSError, match='I.* has more than 8 bits a channel'):
    lib.decode(encoded(image, kind), 1)
