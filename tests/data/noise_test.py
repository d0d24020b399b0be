"""Kinds of noise beyond the contract: what they are drawn from, what is kept and what is fresh."""

import jax
import numpy as np
import pytest
import quick_compile
from ml_collections import ConfigDict

from unrealnas_jax.data import batches, make_source
from unrealnas_jax.data.split import Dataset, in_memory

KEY = jax.random.key(7)
CLASSES = 5


def config(**changes):
  source = {'name': 'noise', 'examples': 64, 'size': 8, 'channels': 3, 'classes': CLASSES}
  source |= {'label_rate': 0.0, 'distribution': 'gaussian', 'mean': 0.0, 'std': 1.0, 'pretext': ''}
  return ConfigDict({'source': {**source, **changes}})


def caller(source):
  """(indices, numbers or none) -> (images, labels)"""
  fn = quick_compile.jit_to_the_bit(source.fn)
  return lambda *read: jax.tree.map(np.asarray, fn(KEY, source.read(*read)))


def call(source, *read):
  return caller(source)(*read)


def numbers(seed, count=64):
  return np.random.default_rng(seed).integers(2**32, size=count, dtype=np.uint32)


@pytest.mark.parametrize(('distribution', 'fourth'), [('gaussian', 3.0), ('uniform', 1.8)])
def test_mean_and_standard_deviation_are_those_of_the_config(distribution, fourth):
  images, _ = call(make_source(config(distribution=distribution, mean=2.0, std=0.5)), np.arange(64))
  values = (images - 2) / 0.5
  # n = 64 * 8 * 8 * 3 independent values of variance 1. Their mean has the standard deviation
  # sqrt(1/n), and their square, whose mean is 1, has the variance (fourth moment) - 1.
  n = values.size
  assert abs(values.mean()) < 5 * np.sqrt(1 / n)
  assert abs((values**2).mean() - 1) < 5 * np.sqrt((fourth - 1) / n)
  # Fourth powers: of a Gaussian 105 - 9 is their variance, of a uniform 81/9 - 1.8^2.
  spread = {'gaussian': 96, 'uniform': 9 - 1.8**2}[distribution]
  assert abs((values**4).mean() - fourth) < 5 * np.sqrt(spread / n)
  if distribution == 'uniform':
    assert abs(values).max() <= np.sqrt(3) + 1e-6


def test_matched_noise_stands_in_for_the_real_images():
  images = np.random.default_rng(0).integers(0, 100, (64, 6, 5, 3), np.uint8)
  mean, std = np.float32([0.1, 0.2, 0.3]), np.float32([0.1, 0.2, 0.4])
  split = in_memory(images, np.arange(64) % 10)
  dataset = Dataset('made', split, split, 10, (6, 5, 3), mean, std)
  source = make_source(config(name='matched_noise', mean=9.0), dataset)
  assert (source.examples, source.shape, source.classes) == (64, (6, 5, 3), CLASSES)
  assert set(source.read(np.arange(3))) == {'index'}
  noise, labels = call(source, np.arange(64))
  # Standardised as real images are, each channel has 64 * 30 values of mean 0 and variance 1.
  np.testing.assert_allclose(noise.mean((0, 1, 2)), 0, atol=5 * np.sqrt(1 / 1920))
  np.testing.assert_allclose(noise.var((0, 1, 2)), 1, atol=5 * np.sqrt(2 / 1920))
  np.testing.assert_allclose(source.pad_value, -mean / std)
  random_labels = call(make_source(config(name='random_labels'), dataset), np.arange(64))[1]
  np.testing.assert_array_equal(labels, random_labels)
  with pytest.raises(ValueError, match=r'source\.classes = 0; allowed: whole numbers from 1'):
    make_source(config(name='matched_noise', classes=0), dataset)


def test_what_is_fresh_is_drawn_anew_each_time_and_the_rest_is_kept():
  index, kept = np.arange(64), call(make_source(config()), np.arange(64))
  for name, fresh_images in (('fresh_noise', True), ('fresh_labels', False)):
    source = make_source(config(name=name))
    show = caller(source)
    first, again, other = (show(index, numbers(seed)) for seed in (0, 0, 1))
    for x, y in zip(first, again, strict=True):
      np.testing.assert_array_equal(x, y)
    # 64 of 64 * 192 values are equal by chance about never; of 64 labels one in five is, 12.8 with
    # the standard deviation sqrt(64 * 1/5 * 4/5) = 3.2.
    assert (first[0] == other[0]).all() != fresh_images
    assert (first[0] == kept[0]).all() != fresh_images
    for labels in (other[1], kept[1]):
      assert abs((first[1] == labels).sum() - 12.8) < 5 * 3.2
    # What must be the same each time is that of noise.
    for x, y in zip(show(index), kept, strict=True):
      np.testing.assert_array_equal(x, y)


def test_fresh_noise_is_not_repeated_and_does_not_depend_on_the_place_in_a_batch():
  source, view = make_source(config(name='fresh_noise')), numbers(0)
  show = caller(source)
  images, labels = show(np.zeros(64, int), view)
  assert len(np.unique(images.reshape(64, -1), axis=0)) == 64
  turned, turned_labels = show(np.zeros(64, int), view[::-1])
  np.testing.assert_array_equal(turned[::-1], images)
  np.testing.assert_array_equal(turned_labels[::-1], labels)


def test_fresh_noise_of_a_step_is_the_same_after_a_resume():
  source = make_source(config(name='fresh_noise'))
  whole, resumed = (
    list(batches.train_batches(source.read, np.arange(64), 16, 2, range(start, 7)))
    for start in (0, 5)
  )
  for found, expected in zip(resumed, whole[5:], strict=True):
    assert set(found) == {'index', 'view'}
    for name, array in expected.items():
      np.testing.assert_array_equal(found[name], array)
  assert not np.intersect1d(whole[0]['view'], whole[4]['view']).size
