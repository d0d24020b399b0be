import pathlib
import zipfile

import numpy as np
import pytest
from data_config import data_config as config

from unrealnas_jax.data import datasets, npz

CIFAR = pathlib.Path(__file__).parents[3] / 'shared' / 'data' / 'cifar10_10k.npz'
MULTI_HOT = np.array([[1, 0, 0], [0, 1, -1], [1, 1, 0], [0, 0, 0], [0, 0, 1], [1, 0, 0]])


def arrays(**changes):
  """A sound file of six 4x5 colour images in three classes, and what a case changes in it."""
  rng = np.random.default_rng(0)
  sound = {
    'x_train': rng.integers(0, 256, (6, 4, 5, 3), np.uint8),
    'y_train': np.array([2, 0, 1, 0, 1, 2]),
    'x_test': rng.integers(0, 256, (3, 4, 5, 3), np.uint8),
    'y_test': np.array([1, 1, 0]),
  }
  return {key: value for key, value in {**sound, **changes}.items() if value is not None}


def write(tmp_path, **changes):
  path = tmp_path / 'own.npz'
  np.savez(path, **arrays(**changes))
  return path


def test_colour_uint8(tmp_path):
  sound = arrays()
  dataset = datasets.load(config(write(tmp_path, label_names=np.array(['a', 'b', 'c']))))
  assert (dataset.name, dataset.classes, dataset.shape) == ('own', 3, (4, 5, 3))
  assert (dataset.train.size, dataset.test.size) == (6, 3)
  batch = dataset.train.read(np.array([4, 1]))
  np.testing.assert_array_equal(batch['image'], sound['x_train'][[4, 1]])
  np.testing.assert_array_equal(batch['label'], sound['y_train'][[4, 1]])
  assert batch['image'].dtype == np.uint8
  assert batch['label'].dtype == np.int32
  np.testing.assert_array_equal(dataset.test.read(np.arange(3))['image'], sound['x_test'])


@pytest.mark.parametrize('dtype', ['float16', 'float64', '>f4'])
@pytest.mark.parametrize('axes', [(), (1,)])
def test_grey_floats(tmp_path, dtype, axes):
  x = np.linspace(0, 1, 6 * 4 * 5).reshape(6, 4, 5, *axes).astype(dtype)
  dataset = datasets.load(config(write(tmp_path, x_train=x, x_test=x[:3])))
  image = dataset.train.read(np.arange(6))['image']
  assert dataset.shape == (4, 5, 1)
  assert image.dtype == np.dtype('float32')
  np.testing.assert_array_equal(image[..., 0], x.reshape(6, 4, 5).astype(np.float32))


def test_compressed_and_unsigned_labels(tmp_path):
  path = tmp_path / 'own.npz'
  np.savez_compressed(path, **arrays(y_train=arrays()['y_train'].astype(np.uint64)))
  assert datasets.load(config(path)).classes == 3


def test_resized(tmp_path):
  dataset = datasets.load(config(write(tmp_path), size=3))
  assert dataset.shape == (3, 3, 3)
  assert dataset.test.read(np.arange(2))['image'].shape == (2, 3, 3, 3)


@pytest.mark.parametrize('order', [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_rows_in_blocks_by_class_are_shuffled_together(tmp_path, order):
  x = np.concatenate([20 * n + np.arange(20, dtype=np.uint8) for n in order]).reshape(60, 1, 1)
  path = write(tmp_path, x_train=x, y_train=x.ravel() // 20, x_test=x, y_test=np.zeros(60, int))
  first, second = (datasets.load(config(path)).train.read(np.arange(60)) for _ in range(2))
  assert set(first['label'][:30]) == {0, 1, 2}  # unshuffled, the first half would lack class 2
  np.testing.assert_array_equal(first['image'].ravel() // 20, first['label'])
  np.testing.assert_array_equal(np.sort(first['image'].ravel()), np.arange(60))
  np.testing.assert_array_equal(first['image'], second['image'])


def test_few_sorted_rows_are_shuffled(tmp_path):
  """Two of each class, whose neighbours differ half the time."""
  x = np.arange(40, dtype=np.uint8).reshape(40, 1, 1)
  changes = {
    'x_train': x,
    'y_train': np.arange(40) // 2,
    'x_test': x[:9],
    'y_test': np.zeros(9, int),
  }
  batch = datasets.load(config(write(tmp_path, **changes))).train.read(np.arange(40))
  assert batch['image'].ravel().tolist() != list(range(40))


def test_rows_in_a_mixed_order_stay_in_it(tmp_path):
  y = np.random.default_rng(0).permutation(np.arange(60) % 3)
  x = np.arange(60, dtype=np.uint8).reshape(60, 1, 1)
  changes = {'x_train': x, 'y_train': y, 'x_test': x[:9], 'y_test': y[:9]}
  batch = datasets.load(config(write(tmp_path, **changes))).train.read(np.arange(60))
  np.testing.assert_array_equal(batch['image'].ravel(), np.arange(60))


@pytest.mark.parametrize('dtype', [np.int8, np.float64])
def test_multi_hot(tmp_path, dtype):
  x = np.arange(60, dtype=np.uint8).reshape(60, 1, 1)
  y = np.stack([np.arange(60) < 30, np.arange(60) % 2], 1).astype(dtype)
  y[7, 0] = -1
  changes = {'x_train': x, 'y_train': y, 'x_test': x[:9], 'y_test': y[:9]}
  dataset = datasets.load(config(write(tmp_path, **changes)))
  assert (dataset.classes, dataset.names) == (2, ('label_0', 'label_1'))
  assert dataset.scored == dataset.names
  batch = dataset.train.read(np.arange(60))
  assert batch['label'].dtype == np.int32
  # In another order, or its halves would differ in the first label; each image with its labels.
  assert 8 < (batch['label'][:30, 0] == 1).sum() < 22
  np.testing.assert_array_equal(batch['label'], y[batch['image'].ravel()])
  again = datasets.load(config(tmp_path / 'own.npz')).train.read(np.arange(60))
  np.testing.assert_array_equal(again['image'], batch['image'])
  np.testing.assert_array_equal(dataset.test.read(np.array([7]))['label'], [[-1, 1]])


def test_names_of_labels(tmp_path):
  names = np.array(['edema', 'fracture', 'none'])
  changes = {'y_train': MULTI_HOT, 'y_test': MULTI_HOT[:3], 'label_names': names}
  dataset = datasets.load(config(write(tmp_path, **changes)))
  assert dataset.names == ('edema', 'fracture', 'none')


def test_classes_have_no_names(tmp_path):
  dataset = datasets.load(config(write(tmp_path)))
  assert dataset.names == dataset.scored == ()


def nan_at_one_pixel(value):
  x = np.zeros((6, 4, 5, 3), np.float32)
  x[3, 2, 1, 0] = value
  return x


ERRORS = {
  'missing': ({'x_test': None}, r'x_test is missing \(the file holds x_train, y_test, y_train\)'),
  'two missing': ({'x_test': None, 'y_test': None}, r'x_test, y_test is missing'),
  'x 2-D': (
    {'x_train': np.zeros((6, 20), np.uint8)},
    r'x_train is of shape \[6, 20\]; allowed: \[N',
  ),
  'channels first': (
    {'x_train': np.zeros((6, 3, 32, 32), np.uint8)},
    r'x_train is of shape \[6, 3, 32, 32\]; allowed: .*channels last',
  ),
  'four channels': ({'x_test': np.zeros((3, 4, 5, 4), np.uint8)}, r'x_test is of shape .*5, 4\]'),
  'x 5-D': ({'x_test': np.zeros((3, 4, 5, 3, 1), np.uint8)}, r'x_test is of shape'),
  'sizes differ': (
    {'x_test': np.zeros((3, 5, 4, 3), np.uint8)},
    r'x_test is \[5, 4, 3\] an image where x_train has \[4, 5, 3\]',
  ),
  'channels differ': ({'x_test': np.zeros((3, 4, 5), np.uint8)}, r'x_test is \[4, 5, 1\] an image'),
  'lengths differ': (
    {'y_train': np.array([0, 1, 2])},
    r'y_train is 3 labels where x_train has 6 images; allowed: one label an image',
  ),
  'test lengths differ': ({'y_test': np.array([0])}, r'y_test is 1 labels where x_test has 3'),
  'no test labels': ({'y_test': np.zeros(0, int)}, r'y_test is 0 labels where x_test has 3'),
  'empty train': (
    {'x_train': np.zeros((0, 4, 5, 3), np.uint8), 'y_train': np.zeros(0, int)},
    r'x_train is of shape \[0, 4, 5, 3\], which holds no image',
  ),
  'empty test': (
    {'x_test': np.zeros((0, 4, 5, 3), np.uint8), 'y_test': np.zeros(0, int)},
    r'x_test is .*holds no image',
  ),
  'no pixels': ({'x_train': np.zeros((6, 0, 5, 3), np.uint8)}, r'x_train is .*holds no image'),
  'nan': ({'x_train': nan_at_one_pixel(np.nan)}, r'x_train is not finite everywhere'),
  'inf': ({'x_train': nan_at_one_pixel(np.inf)}, r'x_train is not finite everywhere'),
  '-inf': ({'x_train': nan_at_one_pixel(-np.inf)}, r'x_train is not finite everywhere'),
  'float 0..255': (
    {'x_train': nan_at_one_pixel(255)},
    r'x_train is float from 0 to 255; allowed: uint8, or float from 0 to 1',
  ),
  'float -1..1': ({'x_train': nan_at_one_pixel(-1)}, r'x_train is float from -1 to 0; allowed'),
  'int images': ({'x_train': np.zeros((6, 4, 5, 3), np.int32)}, r'x_train is of type int32'),
  'bool images': ({'x_test': np.zeros((3, 4, 5, 3), bool)}, r'x_test is of type bool'),
  'text images': ({'x_test': np.full((3, 4, 5, 3), 'a')}, r'x_test is of type <U1'),
  'negative label': ({'y_train': np.array([2, 0, 1, -1, 1, 2])}, r'y_train is -1 somewhere'),
  'float labels': (
    {'y_train': np.array([2.0, 0, 1, 0, 1, 2])},
    r'y_train is of type float64; allowed: whole numbers',
  ),
  'text labels': ({'y_test': np.array(['a', 'b', 'c'])}, r'y_test is of type <U1'),
  'multi-hot in y_test alone': (
    {'y_test': np.eye(3, dtype=int)},
    r'y_test is of shape \[3, 3\]; allowed: class labels \[N\], one .* or multi-hot labels',
  ),
  'multi-hot in y_train alone': (
    {'y_train': MULTI_HOT},
    r'y_test is of shape \[3\]; allowed: multi-hot labels \[N, K\] as y_train has',
  ),
  'other number of labels': (
    {'y_train': MULTI_HOT, 'y_test': np.zeros((3, 4))},
    r'y_test is 4 labels an image; allowed: 3, as y_train has',
  ),
  'multi-hot lengths differ': (
    {'y_train': MULTI_HOT[:4], 'y_test': MULTI_HOT[:3]},
    r'y_train is 4 rows where x_train has 6 images; allowed: one row an image',
  ),
  'multi-hot two': (
    {'y_train': MULTI_HOT * 2, 'y_test': MULTI_HOT[:3]},
    r'y_train is -?2 somewhere; allowed: 1 = there, 0 = not there, -1 = not known',
  ),
  'multi-hot nan': (
    {'y_train': MULTI_HOT, 'y_test': np.full((3, 3), np.nan)},
    r'y_test is nan somewhere; allowed: .*-1 = not known',
  ),
  'multi-hot text': (
    {'y_train': MULTI_HOT.astype(str), 'y_test': MULTI_HOT[:3]},
    r'y_train is of type <U\d+; allowed: numbers',
  ),
  'too few names': (
    {'y_train': MULTI_HOT, 'y_test': MULTI_HOT[:3], 'label_names': np.array(['a', 'b'])},
    r"label_names is \['a', 'b'\]; allowed: 3 different names",
  ),
  'a name twice': (
    {'y_train': MULTI_HOT, 'y_test': MULTI_HOT[:3], 'label_names': np.array(['a', 'b', 'a'])},
    r"label_names is \['a', 'b', 'a'\]; allowed: 3 different names",
  ),
  'names as objects': (
    {'y_train': MULTI_HOT, 'y_test': MULTI_HOT[:3], 'label_names': np.array(['a', 1, None])},
    r'label_names is an array of Python objects',
  ),
  'column': (
    {'y_train': np.array([[2], [0], [1], [0], [1], [2]])},
    r'y_train is of shape \[6, 1\]; .*y_train\.reshape\(-1\)',
  ),
  'scalar label': ({'y_test': np.array(3)}, r'y_test is of shape \[\]'),
  'unknown class': ({'y_test': np.array([0, 1, 5])}, r'y_test is of class 5, which y_train lacks'),
  'gap': (
    {'y_train': np.array([3, 0, 1, 0, 1, 3])},
    r'y_train is labels up to 3 but no image of class 2',
  ),
  'from one': (
    {'y_train': np.array([3, 1, 2, 1, 2, 3])},
    r'labels up to 3 but no image of class 0',
  ),
  'huge label': (
    {'y_train': np.array([2, 0, 1, 0, 1, 2**62])},
    rf'labels up to {2**62} but no image of class 3',
  ),
  'one class': ({'y_train': np.zeros(6, int)}, r'y_train is all of class 0'),
  'objects': (
    {'x_train': np.array([np.zeros((4, 5)), None], object)},
    r'x_train is an array of Python objects; allowed: an array of numbers',
  ),
}


@pytest.mark.parametrize(('changes', 'message'), ERRORS.values(), ids=ERRORS.keys())
def test_error_names_file_array_and_what_is_allowed(tmp_path, changes, message):
  path = write(tmp_path, **changes)
  with pytest.raises(ValueError, match=message) as error:
    datasets.load(config(path))
  assert str(error.value).startswith(f'data.path {path}: ')
  assert '; allowed: ' in str(error.value)


def cut(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage(path):
  data = bytearray(path.read_bytes())
  place = data.find(b'NUMPY') + 200  # among the pixels of the first array
  data[place] ^= 255
  path.write_bytes(data)


def no_arrays(path):
  with zipfile.ZipFile(path, 'w') as archive:
    for key in npz.KEYS:
      archive.writestr(f'{key}.npy', b'hello')


def false_header(path):
  """x_train's header promises 10^15 bytes that the file does not hold."""
  with zipfile.ZipFile(path, 'w') as archive:
    for key, array in arrays().items():
      with archive.open(f'{key}.npy', 'w') as member:
        header = np.lib.format.header_data_from_array_1_0(array)
        if key == 'x_train':
          header['shape'] = (10**15, 1, 1)
        np.lib.format.write_array_header_1_0(member, header)
        member.write(array.tobytes())


@pytest.mark.parametrize(
  ('spoil', 'message'),
  [
    (lambda path: path.unlink(), 'no such file'),
    (lambda path: path.write_bytes(b''), 'not a zip archive, or cut short'),
    (lambda path: path.write_text('x,y\n1,2\n'), 'not a zip archive, or cut short'),
    (lambda path: np.save(path.open('wb'), np.zeros(3)), 'not a zip archive, or cut short'),
    (cut, 'not a zip archive, or cut short'),
    (damage, 'unreadable .*Bad CRC'),
    (no_arrays, 'x_train is no readable array'),
    (false_header, r'x_train is 360 bytes where its header \[1000000000000000, 1, 1\] uint8 asks'),
  ],
  ids=['gone', 'empty', 'text', 'npy', 'cut', 'damaged', 'no arrays', 'false header'],
)
def test_spoiled_file(tmp_path, spoil, message):
  path = write(tmp_path)
  spoil(path)
  with pytest.raises(ValueError, match=message) as error:
    datasets.load(config(path))
  assert str(error.value).startswith(f'data.path {path}: ')


def test_file_larger_than_memory(tmp_path, monkeypatch):
  path = write(tmp_path)
  monkeypatch.setattr(npz, 'memory_bytes', lambda: 500)
  with pytest.raises(ValueError, match=r"GiB; allowed: at most this machine's memory.*tfds:NAME"):
    datasets.load(config(path))


@pytest.mark.skipif(not CIFAR.exists(), reason='needs ../shared/data/cifar10_10k.npz')
def test_real_cifar10():
  dataset = datasets.load(config(CIFAR))
  assert (dataset.train.size, dataset.test.size, dataset.classes) == (10_000, 6_000, 10)
  assert dataset.shape == (32, 32, 3)
  # The official constants are over 50,000 images, these over a fifth of them. An image's mean has
  # a standard deviation of about 0.12, so ours lie within 3 * 0.12 / sqrt(10,000) = 0.0036.
  np.testing.assert_allclose(dataset.mean, [0.49139968, 0.48215827, 0.44653124], atol=0.0036)
  np.testing.assert_allclose(dataset.std, [0.24703233, 0.24348505, 0.26158768], atol=0.0036)
