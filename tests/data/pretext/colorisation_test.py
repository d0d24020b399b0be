"""Colorisation: L*a*b* by known colours, bins that cover sRGB, labels of the colours before."""

import functools

import jax
import numpy as np
import pytest
import quick_compile
from ml_collections import ConfigDict

from unrealnas_jax.data import make_source
from unrealnas_jax.data.pretext import colorisation
from unrealnas_jax.data.source import show
from unrealnas_jax.data.split import Dataset, in_memory

# sRGB, and L*a*b* (D65, 2 degrees) of it as published in many tables.
COLOURS = np.array([[255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 0]], np.uint8)
LAB = [[100, 0, 0], [53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86], [0] * 3]


def make(images, **changes):
  channels = images.shape[3]
  train = in_memory(images, np.zeros(len(images), int))
  mean, std = np.full(channels, 0.5, np.float32), np.full(channels, 0.25, np.float32)
  dataset = Dataset('made', train, train, 2, images.shape[1:], mean, std)
  values = {'name': 'real', 'pretext': 'colorisation', **changes}
  return make_source(ConfigDict({'source': values}), dataset)


def test_known_colours():
  np.testing.assert_allclose(colorisation.to_lab(np.float32(COLOURS / 255)), LAB, atol=0.02)


def test_bins_are_all_that_colours_lie_nearest_to():
  centres, table = colorisation.bins()
  assert len(centres) == 261
  assert not (centres % 10).any()
  assert set(table.ravel()) == set(range(261))
  rng = np.random.default_rng(0)
  ab = np.asarray(colorisation.to_lab(np.float32(rng.uniform(size=(20_000, 3)))))[:, 1:]
  nearest = np.square(ab[:, None] - centres[None]).sum(-1).argmin(1)
  rows, columns = (np.round(ab / 10).astype(int) + 11).T
  np.testing.assert_array_equal(table[rows, columns], nearest)


def test_the_network_sees_lightness_and_is_asked_for_the_colour():
  source = make(COLOURS.reshape(1, 5, 1, 3))
  fn = quick_compile.jit_to_the_bit(functools.partial(show, source))
  images, labels = fn(jax.random.key(0), source.read(np.arange(1)))
  np.testing.assert_allclose(
    images[0, :, 0, 0], (np.array(LAB)[:, 0] / 100 - 0.5) / 0.25, atol=1e-3
  )
  centres, _ = colorisation.bins()
  expected = [[0, 0], [80, 70], [-90, 80], [80, -110], [0, 0]]
  np.testing.assert_array_equal(centres[labels[0, :, 0]], expected)


def test_images_without_colours_are_refused():
  with pytest.raises(ValueError, match="'colorisation'; allowed: with images of 3 channels, not 1"):
    make(np.zeros((2, 5, 5, 1), np.uint8))
