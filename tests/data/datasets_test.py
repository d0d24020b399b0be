import numpy as np
import pytest
from data_config import data_config
from sklearn.datasets import load_digits

from unrealnas_jax.data import datasets
from unrealnas_jax.data.split import in_memory


def config(path='digits', **changes):
  return data_config(path, **changes)


def all_of(split):
  return split.read(np.arange(split.size))


def test_digits_as_stored():
  dataset = datasets.load(config())
  train, test = all_of(dataset.train), all_of(dataset.test)
  original = load_digits()
  assert (dataset.name, dataset.classes, dataset.shape) == ('digits', 10, (8, 8, 1))
  assert train['image'].dtype == np.uint8
  assert train['label'].dtype == np.int32
  assert (dataset.train.size, dataset.test.size) == (1433, 364)
  # Every image is in exactly one split: the sums of both add up to that of the file. 255 / 16 a
  # step is rounded by at most a half, so grey values go back exactly.
  both = np.concatenate([train['image'], test['image']])
  stored = np.round(both[..., 0] * (16 / 255))
  assert both.max() == 255
  order = np.lexsort(stored.reshape(len(stored), -1).T)
  expected = original.images[np.lexsort(original.images.reshape(1797, -1).T)]
  np.testing.assert_array_equal(stored[order], expected)


def test_digits_test_split_holds_every_fifth_of_each_class():
  dataset = datasets.load(config())
  per_class = np.bincount(load_digits().target)
  np.testing.assert_array_equal(np.bincount(all_of(dataset.test)['label']), -(-per_class // 5))


def test_digits_resized():
  dataset = datasets.load(config(size=12))
  batch = dataset.train.read(np.array([5, 3]))
  assert dataset.shape == (12, 12, 1)
  assert batch['image'].shape == (2, 12, 12, 1)
  assert batch['image'].dtype == np.uint8
  np.testing.assert_array_equal(batch['image'][1], dataset.train.read(np.array([3]))['image'][0])


def test_statistics_by_hand():
  # Channel 0: 0, 255, 0, 255 -> mean 1/2, std 1/2. Channel 1: 0, 0, 0, 51 -> mean (1/5) / 4 = .05,
  # variance .2^2 / 4 - .05^2 = .0075.
  images = np.array([[[[0, 0], [255, 0]]], [[[0, 0], [255, 51]]]], np.uint8)
  for scaled in (images, (images / 255).astype(np.float32)):
    mean, std = datasets.statistics(in_memory(scaled, np.zeros(2, int)))
    np.testing.assert_allclose(mean, [0.5, 0.05], rtol=1e-6)
    np.testing.assert_allclose(std, [0.5, np.sqrt(0.0075)], rtol=1e-6)


def test_statistics_equal_numpy_over_many_chunks():
  images = np.random.default_rng(0).integers(0, 200, (1203, 3, 4, 3), np.uint8)
  mean, std = datasets.statistics(in_memory(images, np.zeros(1203, int)))
  np.testing.assert_allclose(mean, (images / 255).mean((0, 1, 2)), rtol=1e-6)
  np.testing.assert_allclose(std, (images / 255).std((0, 1, 2)), rtol=1e-6)


def test_statistics_of_a_large_split_use_evenly_spaced_images():
  images = np.arange(101, dtype=np.uint8).reshape(101, 1, 1, 1)
  mean, _ = datasets.statistics(in_memory(images, np.zeros(101, int)), limit=3)
  np.testing.assert_allclose(mean, [50 / 255], rtol=1e-6)  # images 0, 50 and 100
  _, std = datasets.statistics(in_memory(images, np.zeros(101, int)), limit=2)
  np.testing.assert_allclose(std, [50 / 255], rtol=1e-6)  # images 0 and 100


@pytest.mark.parametrize('value', [0, 77, 255])
def test_a_constant_channel_can_be_divided_by(value):
  images = np.full((700, 4, 4, 1), value, np.uint8)
  _, std = datasets.statistics(in_memory(images, np.zeros(700, int)))
  np.testing.assert_array_equal(std, [1])


@pytest.mark.parametrize('path', ['', 'cifar10', 'digits.np', 'tfds:', 'DIGITS'])
def test_unknown_path_lists_the_kinds(path):
  with pytest.raises(
    ValueError, match=r"data\.path = .*allowed: 'digits', .*npz.*, a folder .*, or 'tfds:NAME'"
  ):
    datasets.load(config(path))


def test_negative_size():
  with pytest.raises(ValueError, match=r'data\.size = -1; allowed: pixels > 0, or 0'):
    datasets.load(config(size=-1))
