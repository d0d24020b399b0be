"""The contract that every entry of SOURCES keeps, then what each source promises of its own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quick_compile
import tiny_generator
from ml_collections import ConfigDict

from unrealnas_jax.data import IMAGELESS, SOURCES, make_source, real
from unrealnas_jax.data.datasets import statistics
from unrealnas_jax.data.source import example_keys
from unrealnas_jax.data.split import Dataset, in_memory

CLASSES = 5
IMAGES = np.random.default_rng(0).integers(0, 256, (60, 6, 5, 3), np.uint8)
LABELS = np.arange(60) % CLASSES
KEY = jax.random.key(7)
SIZED = [name for name in IMAGELESS if name != 'generated']  # by the config
OWN_LABELS = {'real', 'noisy_labels', 'shuffled_labels'}  # what the batch brings
GENERATOR = {}  # workdir, once it is there


def config(**source):
  values = {'name': 'noise', 'examples': 60, 'size': 5, 'channels': 3, 'classes': CLASSES}
  values |= {'label_rate': 0.0, 'labels': 'condition', 'generator': GENERATOR['workdir']}
  values |= {'distribution': 'gaussian', 'mean': 0.0, 'std': 1.0, 'label_noise': 0.5, 'pretext': ''}
  return ConfigDict({'seed': 3, 'dtype': 'float32', 'source': {**values, **source}})


def dataset():
  train, test = in_memory(IMAGES, LABELS), in_memory(IMAGES[:9], LABELS[:9])
  return Dataset('made', train, test, CLASSES, (6, 5, 3), *statistics(train))


def source(name, **changes):
  return make_source(config(name=name, **changes), dataset())


def call(made, indices, key=KEY):
  return jax.tree.map(
    np.asarray, quick_compile.jit_to_the_bit(made.fn)(key, made.read(np.asarray(indices)))
  )


@functools.cache
def examples(name):
  """(source, images, labels) of all 60 examples; compiling a source takes a second each time."""
  made = source(name)
  return made, *call(made, np.arange(60))


def assert_same(name, found, expected):
  """To the bit; but what a network computes is rounded otherwise in another batch or loop."""
  np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 if name == 'generated' else 0)


@pytest.fixture(scope='module', autouse=True)
def _generator(tmp_path_factory):
  GENERATOR['workdir'] = str(tmp_path_factory.mktemp('generator'))
  tiny_generator.write(GENERATOR['workdir'], tiny_generator.description(classes=CLASSES))


@pytest.fixture(params=SOURCES)
def name(request):
  return request.param


def test_shapes_types_and_range(name):
  made, images, labels = examples(name)
  assert (made.name, made.examples, made.classes) == (name, 60, CLASSES)
  assert images.shape == (60, *made.shape)
  assert images.dtype == np.float32
  assert labels.shape == (60,)
  assert labels.dtype == np.int32
  assert set(labels) == set(range(CLASSES))
  assert made.pad_value.shape == (3,)
  assert made.pad_value.dtype == np.float32
  batch = made.read(np.array([3, 59, 0, 3]))
  assert all(isinstance(x, np.ndarray) and len(x) == 4 for x in batch.values())
  assert batch['index'].dtype == np.int32
  np.testing.assert_array_equal(batch['index'], [3, 59, 0, 3])


def test_pure(name):
  """A source made anew gives the same, in any batch and after any number of calls."""
  _, images, labels = examples(name)
  made = source(name)
  fn = quick_compile.jit_to_the_bit(made.fn)
  for indices in ([17], np.arange(30, 37), np.arange(7)[::-1] * 9, np.arange(7) // 2):
    again, labels_again = fn(KEY, made.read(np.asarray(indices)))
    assert_same(name, again, images[indices])
    np.testing.assert_array_equal(labels_again, labels[indices])


def test_examples_differ(name):
  images = examples(name)[1]
  assert len(np.unique(images.reshape(60, -1), axis=0)) == 60


def test_one_device_equals_four(name):
  made, images, labels = examples(name)
  batch = jax.tree.map(lambda x: x.reshape(4, 15, *x.shape[1:]), made.read(np.arange(60)))
  fn = jax.pmap(made.fn, axis_name='devices', in_axes=(None, 0)).lower(KEY, batch)
  split_images, split_labels = fn.compile(quick_compile.TO_THE_BIT)(KEY, batch)
  assert_same(name, np.reshape(split_images, images.shape), images)
  np.testing.assert_array_equal(np.reshape(split_labels, labels.shape), labels)


def test_runs_under_scan(name):
  made, images, labels = examples(name)
  batches = jax.tree.map(lambda x: x.reshape(3, 20, *x.shape[1:]), made.read(np.arange(60)))
  scan = quick_compile.jit_to_the_bit(
    lambda key: jax.lax.scan(lambda c, b: (c, made.fn(key, b)), 0, batches)[1]
  )
  scanned, scanned_labels = scan(KEY)
  assert_same(name, np.reshape(scanned, images.shape), images)
  np.testing.assert_array_equal(np.reshape(scanned_labels, labels.shape), labels)


@pytest.mark.parametrize('name', sorted(SOURCES.keys() - OWN_LABELS))
def test_labels_are_balanced_and_their_order_depends_on_the_key(name):
  # 6,000 labels over 5 classes: a class has 1,200 with a standard deviation of
  # sqrt(6000 * 1/5 * 4/5) = 31; five of these bounds all five classes but once in 350,000 keys.
  made = source(name)
  fn = quick_compile.jit_to_the_bit(lambda key, batch: made.fn(key, batch)[1])
  index = np.arange(6000, dtype=np.int32)
  batch = {'index': index, 'image': np.zeros((6000, 6, 5, 3), np.uint8)}
  labels = fn(KEY, batch)
  np.testing.assert_allclose(np.bincount(labels, minlength=5), 1200, atol=5 * 31)
  # Another key agrees by chance in one label of five: 1,200 again.
  agree = int((fn(jax.random.key(8), batch) == labels).sum())
  assert abs(agree - 1200) < 5 * 31


@pytest.mark.parametrize('name', ['noise', 'random_labels'])
def test_random_multi_hot_labels_have_the_rate_and_are_independent(name):
  fn = jax.jit(source(name, label_rate=0.25).fn)
  index = np.arange(6000, dtype=np.int32)
  batch = {'index': index, 'image': np.zeros((6000, 6, 5, 3), np.uint8)}
  images, labels = fn(KEY, batch)
  assert labels.shape == (6000, CLASSES)
  assert labels.dtype == jnp.int32
  # Six standard deviations of 6,000 bits of probability 1/4, and of 6,000 products of two of them,
  # whose mean is 1/16.
  np.testing.assert_allclose(labels.mean(0), 1 / 4, atol=6 * np.sqrt(1 / 4 * 3 / 4 / 6000))
  together = labels.T @ labels / 6000
  others = together[~np.eye(CLASSES, dtype=bool)]
  np.testing.assert_allclose(others, 1 / 16, atol=6 * np.sqrt(1 / 16 * 15 / 16 / 6000))
  # An example keeps its labels, whatever its batch; its image is that of the source with classes.
  alone = jax.tree.map(lambda x: x[77:78], batch)
  np.testing.assert_array_equal(fn(KEY, alone)[1][0], labels[77])
  np.testing.assert_array_equal(images[:60], jax.jit(source(name).fn)(KEY, batch)[0][:60])


def test_real_multi_hot_labels_pass_unchanged():
  labels = np.random.default_rng(0).integers(-1, 2, (60, CLASSES))
  train = in_memory(IMAGES, labels)
  made = real.make(None, dataset()._replace(train=train))
  np.testing.assert_array_equal(call(made, [5, 59])[1], labels[[5, 59]])
  assert made.classes == CLASSES


def test_image_and_label_keys_differ():
  image_key, label_key = example_keys(KEY, 3)
  keys = [image_key, label_key, KEY, jax.random.fold_in(KEY, 3), example_keys(KEY, 4)[0]]
  assert len({jax.random.key_data(key).tobytes() for key in map(jnp.asarray, keys)}) == 5


def test_noise_is_standard_normal():
  made = source('noise', size=8)
  images = call(made, np.arange(1000))[0]
  # n = 1000 * 8 * 8 * 3 independent values; the standard deviations of their mean, of their
  # variance and of their fourth moment are sqrt(1/n), sqrt(2/n) and sqrt(96/n).
  n = images.size
  assert abs(images.mean()) < 5 * np.sqrt(1 / n)
  assert abs(images.var() - 1) < 5 * np.sqrt(2 / n)
  assert abs((images**4).mean() - 3) < 5 * np.sqrt(96 / n)
  # A pixel and its right neighbour, and the same pixel in the next image: products of two
  # independent normals have variance 1.
  assert abs((images[:, :, 1:] * images[:, :, :-1]).mean()) < 5 / np.sqrt(n * 7 / 8)
  assert abs((images[1:] * images[:-1]).mean()) < 5 / np.sqrt(n * 0.999)


@pytest.mark.parametrize('name', IMAGELESS)
def test_sources_without_images_send_only_indices_and_need_no_dataset(name):
  made = make_source(config(name=name))
  assert set(made.read(np.arange(3))) == {'index'}


@pytest.mark.parametrize('name', SIZED)
def test_images_have_the_size_of_the_config_and_no_mean(name):
  made = make_source(config(name=name))
  assert made.shape == (5, 5, 3)
  np.testing.assert_array_equal(made.pad_value, [0, 0, 0])


def test_noise_by_the_definition():
  _, images, labels = examples('noise')
  for index in (11, 12):
    key = jax.random.fold_in(KEY, index)
    expected = jax.random.normal(jax.random.fold_in(key, 0), (5, 5, 3))
    np.testing.assert_allclose(images[index], expected, rtol=1e-6)
    assert labels[index] == int(jax.random.bits(jax.random.fold_in(key, 1))) % CLASSES


def test_real_images_by_hand():
  # One pixel, mean 0.5 and std 0.25: 255 -> (1 - 0.5) / 0.25 = 2, 51 -> (0.2 - 0.5) / 0.25 = -1.2.
  mean, std = np.full(1, 0.5, np.float32), np.full(1, 0.25, np.float32)
  for images in (np.array([255, 51], np.uint8), np.array([1, 0.2], np.float32)):
    result = real.standardise(jnp.asarray(images.reshape(2, 1, 1, 1)), mean, std)
    np.testing.assert_allclose(result.ravel(), [2, -1.2], rtol=1e-6)


def test_real_is_standardised_and_keeps_its_labels():
  made, images, labels = examples('real')
  np.testing.assert_array_equal(labels, LABELS)
  np.testing.assert_allclose(images.mean((0, 1, 2)), 0, atol=1e-5)
  np.testing.assert_allclose(images.std((0, 1, 2)), 1, atol=1e-5)
  # A black pixel is what the pad value says.
  black = {'index': np.zeros(1, np.int32), 'image': np.zeros((1, 6, 5, 3), np.uint8)}
  images = made.fn(KEY, {**black, 'label': np.zeros(1, np.int32)})[0]
  np.testing.assert_allclose(images[0, 2, 3], made.pad_value, rtol=1e-5)


def test_real_test_split():
  made = real.make(config(), dataset(), split='test')
  assert made.examples == 9
  images, labels = call(made, [8, 2])
  np.testing.assert_array_equal(labels, LABELS[[8, 2]])
  np.testing.assert_array_equal(images, examples('real')[1][[8, 2]])


def test_random_labels_show_real_images_and_hide_their_labels():
  made = source('random_labels', classes=3)
  assert set(made.read(np.arange(3))) == {'index', 'image'}
  images, labels = call(made, np.arange(60))
  np.testing.assert_array_equal(images, examples('real')[1])
  assert made.classes == 3
  assert set(labels) == {0, 1, 2}


def test_unknown_name_lists_the_known_ones():
  with pytest.raises(
    ValueError, match=r"source\.name = 'gan'; allowed: dead_leaves, .*, noise, .*, real"
  ):
    source('gan')


@pytest.mark.parametrize('name', SIZED)
@pytest.mark.parametrize('key', ['examples', 'size', 'channels', 'classes'])
def test_sizes_of_zero_are_refused(name, key):
  with pytest.raises(ValueError, match=rf'source\.{key} = 0; allowed: whole numbers from 1'):
    source(name, **{key: 0})


def test_random_labels_refuse_zero_classes():
  with pytest.raises(ValueError, match=r'source\.classes = 0; allowed: whole numbers from 1'):
    source('random_labels', classes=0)
