"""Colorisation: L*a*b* by known colours, the official bins, labels of the colours before."""

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


def test_bins_are_the_official_ones_in_their_order():
  """Numbers read off pts_in_hull.npy of facebookresearch/unnas, pycls/datasets/files."""
  centres, table = colorisation.bins()
  assert centres.shape == (313, 2)
  np.testing.assert_array_equal(np.unique(centres, axis=0), centres)  # distinct; by a, then by b
  known = {
    0: (-90, 50),
    4: (-90, 90),
    5: (-80, 20),
    63: (-40, 100),
    64: (-30, -50),
    120: (0, 0),
    131: (10, -80),
    264: (70, 80),
    302: (90, 70),
    303: (100, -90),
    312: (100, 0),
  }
  np.testing.assert_array_equal(centres[list(known)], list(known.values()))
  a, b = centres.T
  assert (a.sum(), b.sum()) == (4910, 2090)
  assert (np.arange(313) @ centres).tolist() == [2223730, -255780]
  counts = [5, 8, 10, 12, 14, 15, 16, 16, 17, 18, 18, 18, 19, 20, 19, 20, 20, 19, 19, 10]
  np.testing.assert_array_equal(np.unique(a, return_counts=True), [range(-90, 101, 10), counts])
  rows, columns = centres.T // 10 + 11
  np.testing.assert_array_equal(table[rows, columns], np.arange(313))


def test_every_colour_has_the_bin_that_it_lies_nearest_to():
  centres, _ = colorisation.bins()
  rng = np.random.default_rng(0)
  ab = np.asarray(colorisation.to_lab(np.float32(rng.uniform(size=(20_000, 3)))))[:, 1:]
  nearest = np.square(ab[:, None] - centres[None]).sum(-1).argmin(1)
  np.testing.assert_array_equal(colorisation.nearest(ab), nearest)
  # Between bins the lowest number; beyond all bins the nearest.
  ties = np.float32([[5, 0], [0, 5], [-5, -5], [-85, 75], [-110, 110], [110, 110]])
  expected = [[0, 0], [0, 0], [-10, -10], [-90, 70], [-90, 90], [90, 70]]
  np.testing.assert_array_equal(centres[colorisation.nearest(ties)], expected)


def test_a_colour_of_srgb_lies_within_half_a_step_of_its_bin_and_52_bins_stay_empty():
  # A line of equal a and b leaves the cube of colours through one of its faces, so these show all.
  x, y = np.meshgrid(*[np.linspace(0, 1, 256, dtype=np.float32)] * 2)
  faces = [np.roll([np.full_like(x, end), x, y], n, 0) for n in range(3) for end in (0, 1)]
  ab = colorisation.to_lab(np.moveaxis(faces, 1, -1))[..., 1:]
  labels = colorisation.nearest(ab)
  centres, _ = colorisation.bins()
  assert np.abs(ab - centres[labels]).max() <= 5
  assert len(np.unique(labels)) == 313 - 52


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
