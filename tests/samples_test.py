"""The examples that a workdir keeps: those of the source, scaled for the eye."""

import jax
import numpy as np
from changed_config import changed

from unrealnas_jax import data, samples

KEY = jax.random.key(0)


def test_they_are_the_first_examples_of_the_source(tmp_path):
  source = data.make_source(changed())
  samples.write(tmp_path, KEY, source)
  images, labels = samples.read(tmp_path)
  expected, expected_labels = source.fn(KEY, source.read(np.arange(samples.COUNT)))
  np.testing.assert_array_equal(labels, expected_labels)
  assert images.dtype == np.uint8
  assert (images.min(), images.max()) == (0, 255)
  low, high = float(expected.min()), float(expected.max())
  np.testing.assert_allclose(low + images * ((high - low) / 255), expected, atol=(high - low) / 500)
  assert [path.name for path in tmp_path.iterdir()] == ['samples.npz']


def test_they_are_written_once(tmp_path):
  source = data.make_source(changed('source.examples', 5))
  samples.write(tmp_path, KEY, source)
  before = (tmp_path / 'samples.npz').read_bytes()
  assert len(samples.read(tmp_path)[0]) == 5
  samples.write(tmp_path, jax.random.key(1), source)
  assert (tmp_path / 'samples.npz').read_bytes() == before


def test_other_processes_write_nothing(tmp_path, monkeypatch):
  monkeypatch.setattr(samples.parallel, 'is_primary', lambda: False)
  samples.write(tmp_path, KEY, data.make_source(changed()))
  assert samples.read(tmp_path) is None


def test_tiles_are_laid_together():
  # Two tiles a side, of 1 x 2 pixels: the rows 01 23 and 45 67 of one image.
  tiles = np.arange(8).reshape(1, 4, 1, 2, 1)
  np.testing.assert_array_equal(samples.picture(tiles)[0, :, :, 0], [[0, 1, 2, 3], [4, 5, 6, 7]])
  images = np.zeros((2, 3, 4, 1))
  assert samples.picture(images) is images


def test_channels_are_stretched_alone_and_constant_ones_stay_dark():
  images = np.float32([[[[0, -1, 7]], [[1, 3, 7]]]])
  np.testing.assert_array_equal(samples.stretch(images), [[[[0, 0, 0]], [[255, 255, 0]]]])
