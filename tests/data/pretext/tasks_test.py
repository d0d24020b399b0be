"""The contract that every entry of TASKS keeps, on noise and on real images."""

import functools

import jax
import numpy as np
import pytest
import quick_compile
from ml_collections import ConfigDict

from unrealnas_jax.data import make_source, pretext
from unrealnas_jax.data.pretext import TASKS
from unrealnas_jax.data.procedural import painted
from unrealnas_jax.data.source import show
from unrealnas_jax.data.split import Dataset, in_memory

KEY = jax.random.key(7)
IMAGES = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), np.uint8)
NUMBERS = np.random.default_rng(1).integers(2**32, size=60, dtype=np.uint32)
# task -> (classes, shape of the images that a network sees, shape of their labels)
SEEN = {
  'rotation': (4, (8, 8, 3), ()),
  'jigsaw': (24, (4, 3, 3, 3), ()),  # tiles of 0.76 * 4 pixels
  'colorisation': (313, (8, 8, 1), (8, 8)),
}


def source(name, task, **changes):
  values = {'examples': 60, 'size': 8, 'channels': 3, 'classes': 5, 'label_rate': 0.0}
  values |= {'distribution': 'gaussian', 'mean': 0.0, 'std': 1.0, 'grid': 2}
  train = in_memory(IMAGES, np.arange(60) % 5)
  mean, std = np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)
  dataset = Dataset('made', train, train, 5, IMAGES.shape[1:], mean, std)
  config = ConfigDict({'source': {**values, 'name': name, 'pretext': task, **changes}})
  return make_source(config, dataset)


@functools.cache
def shown(name, task):
  """(source, compiled show, images and labels of all 60 examples as training reads them)"""
  made = source(name, task)
  fn = quick_compile.jit_to_the_bit(functools.partial(show, made))
  return made, fn, *jax.tree.map(np.asarray, fn(KEY, made.read(np.arange(60), NUMBERS)))


@pytest.fixture(params=TASKS)
def task(request):
  return request.param


@pytest.fixture(params=['noise', 'real'])
def name(request):
  return request.param


def test_shapes_types_and_range(name, task):
  made, _, images, labels = shown(name, task)
  classes, shape, of_labels = SEEN[task]
  assert (made.name, made.examples, made.classes) == (name, 60, classes)
  assert images.shape == (60, *shape)
  assert made.shape == (*shape[-3:-1], shape[-1])
  assert images.dtype == np.float32
  assert np.isfinite(images).all()
  assert labels.shape == (60, *of_labels)
  assert labels.dtype == np.int32
  assert 0 <= labels.min() <= labels.max() < classes


def test_pure_and_the_same_in_any_batch(name, task):
  made, fn, images, labels = shown(name, task)
  order = np.arange(60)[::-1]
  again, labels_again = fn(KEY, made.read(order, NUMBERS[order]))
  np.testing.assert_array_equal(again, images[order])
  np.testing.assert_array_equal(labels_again, labels[order])


def test_one_device_equals_four(name, task):
  made, _, images, labels = shown(name, task)
  split = lambda x: x.reshape(4, 15, *x.shape[1:])  # noqa: E731
  batch = jax.tree.map(split, made.read(np.arange(60), NUMBERS))
  fn = jax.pmap(functools.partial(show, made), axis_name='devices', in_axes=(None, 0))
  parts = fn.lower(KEY, batch).compile(quick_compile.TO_THE_BIT)(KEY, batch)
  np.testing.assert_array_equal(np.reshape(parts[0], images.shape), images)
  np.testing.assert_array_equal(np.reshape(parts[1], labels.shape), labels)


def test_a_task_comes_after_augmentation(task):
  made = source('real', task)
  batch = made.read(np.arange(60), NUMBERS)
  flipped = functools.partial(show, made, change=lambda images: images[:, :, ::-1])
  images, labels = quick_compile.jit_to_the_bit(flipped)(KEY, batch)
  mirrored = {**batch, 'image': batch['image'][:, :, ::-1]}
  expected, labels_expected = shown('real', task)[1](KEY, mirrored)
  np.testing.assert_array_equal(images, expected)
  np.testing.assert_array_equal(labels, labels_expected)


def test_unless_it_is_trained_on_an_image_looks_always_the_same(task):
  made = source('noise', task)
  assert set(made.read(np.arange(3))) == {'index'}
  assert set(made.read(np.arange(3), NUMBERS[:3])) == {'index', 'view'}


def test_tasks_draw_from_no_example_and_no_source():
  made = source('noise', 'rotation')
  assert made.read(np.arange(1))['index'].dtype == np.int32
  assert np.iinfo(np.int32).max < pretext.TASK != painted.WORLD
