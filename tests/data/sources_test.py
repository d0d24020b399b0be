"""The contract that every entry of SOURCES keeps, then what each source promises of its own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quick_compile
import tiny_generator
from ml_collections import ConfigDict

from unrealnas_jax.data import IMAGELESS, SOURCES, make_source, pretext, real
from unrealnas_jax.data.batches import train_batches
from unrealnas_jax.data.datasets import statistics
from unrealnas_jax.data.pretext import TASKS
from unrealnas_jax.data.source import example_keys, show
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


NUMBERS = np.random.default_rng(1).integers(2**32, size=60, dtype=np.uint32)


def sees_views(name):
  """Whether training shows something else each time: then 'view' is in its batches."""
  return 'view' in source(name).read(np.arange(1), NUMBERS[:1])


@functools.cache
def views(name):
  """As `examples`, as training reads them; the same where it shows the same each time."""
  if not sees_views(name):
    return examples(name)
  made = source(name)
  fn = quick_compile.jit_to_the_bit(made.fn)
  return made, *map(np.asarray, fn(KEY, made.read(np.arange(60), NUMBERS)))


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
  """In training; what has no views is as in evaluation."""
  made, images, labels = views(name)
  read = made.read(np.arange(60), NUMBERS)
  batch = jax.tree.map(lambda x: x.reshape(4, 15, *x.shape[1:]), read)
  fn = jax.pmap(made.fn, axis_name='devices', in_axes=(None, 0)).lower(KEY, batch)
  split_images, split_labels = fn.compile(quick_compile.TO_THE_BIT)(KEY, batch)
  assert_same(name, np.reshape(split_images, images.shape), images)
  np.testing.assert_array_equal(np.reshape(split_labels, labels.shape), labels)


def test_training_goes_on_after_a_resume_with_the_same_batches(name):
  """And so with the same images, which fn makes of a batch and the key alone."""
  made = source(name)
  whole = list(train_batches(made.read, np.arange(60), 8, 3, range(10)))
  for begin in (3, 8):
    resumed = list(train_batches(made.read, np.arange(60), 8, 3, range(begin, 10)))
    jax.tree.map(np.testing.assert_array_equal, resumed, whole[begin:])
  # What a view is drawn from is another number each time.
  seen = [batch['view'] for batch in whole if 'view' in batch]
  assert len(np.unique(seen)) == (80 if sees_views(name) else 0)


@pytest.mark.parametrize('name', ['fresh_noise', 'fresh_labels'])
def test_views_differ_from_each_other_and_depend_on_their_number_alone(name):
  made, images, labels = views(name)
  _, kept, kept_labels = examples(name)
  assert (images == kept).all() == (name == 'fresh_labels')
  # Labels of five classes agree by chance in a fifth of 60, standard deviation 3.1.
  assert (labels == kept_labels).sum() < 12 + 5 * 3.1
  fn = quick_compile.jit_to_the_bit(made.fn)
  batch = {'index': np.full(7, 5, np.int32), 'view': np.r_[NUMBERS[5], NUMBERS[:6]]}
  again, again_labels = fn(KEY, batch)
  np.testing.assert_array_equal(again[0], images[5])
  assert again_labels[0] == labels[5]
  different = 1 if name == 'fresh_labels' else 6  # NUMBERS[5] comes twice
  assert len(np.unique(np.reshape(again, (7, -1)), axis=0)) == different


# One source of each kind: kept and fresh images that are made, painted, real, generated.
KINDS = 'noise', 'fresh_noise', 'gratings', 'real', 'generated'


def with_task(task, kind):
  """(source, how it shows images, one batch of four images in training)"""
  square = in_memory(IMAGES[:, :5, :5], LABELS)
  square = Dataset('made', square, None, CLASSES, (5, 5, 3), *statistics(square))
  made = make_source(config(name=kind, pretext=task, grid=2), square)
  batches = [next(train_batches(made.read, np.arange(60), 4, 3, range(2, stop))) for stop in (3, 9)]
  jax.tree.map(np.testing.assert_array_equal, *batches)
  return made, functools.partial(show, made), batches[0]


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('task', TASKS)
def test_a_task_makes_images_and_labels_of_a_source_of_any_kind(task, kind):
  made, run, batch = with_task(task, kind)
  assert 'view' in batch
  images, labels = jax.eval_shape(run, KEY, batch)
  tiles, per_pixel = pretext.head(config(pretext=task, grid=2)).values()
  assert images.shape == (4, *((tiles,) if tiles > 1 else ()), *made.shape)
  assert labels.shape == (4, *(made.shape[:2] if per_pixel else ()))


# Not all pairs, each of which is compiled twice: each task and each kind.
@pytest.mark.parametrize(
  ('task', 'kind'),
  [
    *(('rotation', 'fresh_noise'), ('rotation', 'gratings'), ('jigsaw', 'real')),
    *(('jigsaw', 'noise'), ('colorisation', 'real'), ('rotation', 'generated')),
  ],
)
def test_a_task_shows_on_four_devices_what_it_shows_on_one(task, kind):
  made, run, batch = with_task(task, kind)
  images, labels = map(np.asarray, quick_compile.jit_to_the_bit(run)(KEY, batch))
  assert 0 <= labels.min() <= labels.max() < made.classes
  apart = jax.tree.map(lambda x: x[:, None], batch)
  fn = jax.pmap(run, in_axes=(None, 0)).lower(KEY, apart).compile(quick_compile.TO_THE_BIT)
  split_images, split_labels = fn(KEY, apart)
  assert_same(kind, np.reshape(split_images, images.shape), images)
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
