"""Jigsaw: permutations far from each other, tiles of their patches, in the order of the label."""

import functools

import jax
import numpy as np
import pytest
import quick_compile
from ml_collections import ConfigDict

from unrealnas_jax.data import make_source
from unrealnas_jax.data.pretext import jigsaw
from unrealnas_jax.data.source import show
from unrealnas_jax.data.split import Dataset, in_memory

KEY = jax.random.key(7)


def make(images, grid, mean=0.0, std=1.0):
  train, one = in_memory(images, np.zeros(len(images), int)), np.ones(images.shape[3], np.float32)
  dataset = Dataset('made', train, train, 2, images.shape[1:], mean * one, std * one)
  values = {'name': 'real', 'pretext': 'jigsaw', 'grid': grid}
  return make_source(ConfigDict({'source': values}), dataset)


def shown(source, count):
  fn = quick_compile.jit_to_the_bit(functools.partial(show, source))
  return jax.tree.map(np.asarray, fn(KEY, source.read(np.arange(count), np.arange(count))))


def test_permutations_are_different_and_far_from_each_other():
  found = jigsaw.permutations(3)
  assert found.shape == (1000, 9)
  np.testing.assert_array_equal(np.sort(found, axis=1), np.tile(np.arange(9), (1000, 1)))
  np.testing.assert_array_equal(found[0], np.arange(9))
  for count, least in ((9, 9), (1000, 5)):
    apart = (found[:count, None] != found[None, :count]).sum(-1) + 9 * np.eye(count, dtype=int)
    assert apart.min() >= least
  small = jigsaw.permutations(2)
  assert len(np.unique(small, axis=0)) == len(small) == 24


@pytest.mark.parametrize('grid', [2, 3])
def test_tiles_are_cut_out_of_their_patches_and_standardised(grid):
  count, side = 50, 8 * grid
  images = np.zeros((count, side, side, 1), np.uint8)
  for number in range(grid**2):
    top, left = 8 * (number // grid), 8 * (number % grid)
    images[:, top + 3 : top + 5, left + 3 : left + 5] = 10 + number  # inside of every tile
  tiles, _ = shown(make(images, grid), count)
  assert tiles.shape == (count, grid**2, 6, 6, 1)
  # Each tile has 36 pixels, 4 of them brighter: standardised 8 ** 0.5 and -1 / 8 ** 0.5.
  np.testing.assert_allclose(tiles.max((2, 3, 4)), 8**0.5, rtol=1e-5)
  np.testing.assert_allclose(tiles.min((2, 3, 4)), -(8**-0.5), rtol=1e-5)
  # A tile is shifted by 0 to 2 pixels, and the bright square lies in it at 3 - shift.
  rows, columns = ((tiles > 0).any(axis).argmax(2) for axis in (3, 2))
  assert {*map(int, rows.ravel())} == {*map(int, columns.ravel())} == {1, 2, 3}


@pytest.mark.parametrize('grid', [2, 3])
def test_the_order_is_the_permutation_of_the_label(grid):
  count, side = 50, 4 * grid
  images = np.zeros((count, side, side, 2), np.uint8)
  for number in range(grid**2):
    top, left = 4 * (number // grid), 4 * (number % grid)
    # Where 100 lies between 10 n and 100 + 10 n tells n, standardised or not.
    images[:, top : top + 4, left : left + 4, 0] = 100
    images[:, top : top + 2, left : left + 4, 1] = 10 * (number + 1)
    images[:, top + 2 : top + 4, left : left + 4, 1] = 100 + 10 * (number + 1)
  tiles, labels = shown(make(images, grid), count)
  low, high = tiles.min((2, 3, 4)), tiles.max((2, 3, 4))
  number = np.round(10 * (high - tiles[:, :, 0, 0, 0]) / (high - low)).astype(int) - 1
  for example in range(count):
    place = jigsaw.permutations(grid)[labels[example]]
    np.testing.assert_array_equal(number[example][place], np.arange(grid**2))


def test_labels_are_balanced_and_three_in_ten_are_grey():
  count = 4800
  images = np.random.default_rng(0).integers(0, 256, (count, 4, 4, 3), np.uint8)
  source = make(images, 2, mean=0.5, std=0.25)
  tiles, labels = shown(source, count)
  # 200 of each of 24, with the standard deviation sqrt(4800 * 1/24 * 23/24) = 13.8.
  np.testing.assert_allclose(np.bincount(labels, minlength=24), 200, atol=5 * 13.8)
  is_grey = np.ptp(tiles, axis=-1).max((1, 2, 3)) < 1e-4
  assert abs(is_grey.sum() - 0.3 * count) < 5 * np.sqrt(count * 0.3 * 0.7)


def test_images_that_are_too_small_are_refused():
  with pytest.raises(ValueError, match=r'source\.grid = 3; allowed .* of images of 5 x 9 pixels'):
    make(np.zeros((2, 5, 9, 1), np.uint8), 3)
