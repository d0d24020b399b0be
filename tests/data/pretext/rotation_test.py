"""Rotation: turned as numpy turns, all four as often, otherwise each time."""

import functools

import jax
import numpy as np
import pytest
import quick_compile
from ml_collections import ConfigDict

from unrealnas_jax.data import make_source
from unrealnas_jax.data.pretext import rotation
from unrealnas_jax.data.source import show
from unrealnas_jax.data.split import Dataset, in_memory

KEY = jax.random.key(7)
N = 4000


def make(images):
  train, one = in_memory(images, np.zeros(len(images), int)), np.ones(1, np.float32)
  dataset = Dataset('made', train, train, 2, images.shape[1:], 0 * one, one)
  return make_source(ConfigDict({'source': {'name': 'real', 'pretext': 'rotation'}}), dataset)


@pytest.mark.parametrize('quarters', range(4))
def test_images_are_turned_as_numpy_does(quarters):
  image = np.arange(18.0).reshape(3, 3, 2)
  np.testing.assert_array_equal(
    rotation.turn(image, np.uint32(quarters)), np.rot90(image, quarters)
  )


def test_the_label_is_the_turn_and_all_four_are_as_likely():
  images = np.zeros((N, 2, 2, 1), np.uint8)
  images[:, 0, 0] = 255
  source = make(images)
  fn = quick_compile.jit_to_the_bit(functools.partial(show, source))
  first, second, fixed = (
    jax.tree.map(np.asarray, fn(KEY, source.read(np.arange(N), numbers)))
    for numbers in (np.zeros(N, np.uint32), np.ones(N, np.uint32), None)
  )
  # The bright corner goes from the upper left to the lower left, the lower right, the upper right.
  corners = first[0].reshape(N, 4).argmax(1)
  np.testing.assert_array_equal(np.array([0, 2, 3, 1])[first[1]], corners)
  # 1,000 of 4,000 with the standard deviation sqrt(4000 * 1/4 * 3/4) = 27; two readings of an
  # image agree in as many cases.
  for labels in (first[1], second[1], fixed[1]):
    np.testing.assert_allclose(np.bincount(labels), 1000, atol=5 * 27)
  for labels in (second[1], fixed[1]):
    assert abs((first[1] == labels).sum() - 1000) < 5 * 27


def test_images_that_are_not_square_are_refused():
  with pytest.raises(
    ValueError, match="pretext = 'rotation'; allowed: with square .* 4 x 3 pixels"
  ):
    make(np.zeros((5, 4, 3, 1), np.uint8))
