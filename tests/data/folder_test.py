"""Folders of images: a folder for each class, and csv files of several labels an image."""

import numpy as np
import pytest
from data_config import data_config
from PIL import Image

from unrealnas_jax.data import datasets

GREY, COLOUR = (5, 4), (5, 4, 3)


def save(path, value, shape=COLOUR):
  path.parent.mkdir(parents=True, exist_ok=True)
  Image.fromarray(np.full(shape, value, np.uint8)).save(path)


def classes(folder, test='test', shape=COLOUR):
  """30 training images of three classes, image n of class n // 10 all n, and 6 test images."""
  for number in range(30):
    save(folder / 'train' / 'abc'[number // 10] / f'{number:02}.png', number, shape)
  for number in range(6):
    save(folder / test / 'abc'[number % 3] / f'{number}.PNG', 100 + number, shape)
  (folder / 'train' / 'a' / 'notes.txt').write_text('no image')
  return folder


def tables(folder, train='', test=''):
  """Twelve training and four test images with two labels."""
  for number in range(12):
    save(folder / 'images' / f'{number}.png', number, GREY)
  rows = [f'images/{n}.png,{n % 2},{(-1, 0, 1)[n % 3]}' for n in range(12)]
  (folder / 'train.csv').write_text(train or '\n'.join(['path,edema,other thing', *rows]))
  (folder / 'valid.csv').write_text(test or '\n'.join(['image,edema,other thing', *rows[:4]]))
  return folder


def load(folder, **changes):
  return datasets.load(data_config(folder, **changes))


@pytest.mark.parametrize('test', ['test', 'val', 'validation'])
def test_a_folder_for_each_class(tmp_path, test):
  dataset = load(classes(tmp_path / 'pets', test))
  assert (dataset.name, dataset.classes, dataset.names) == ('pets', 3, ())
  assert (dataset.train.size, dataset.test.size, dataset.shape) == (30, 6, (5, 4, 3))
  batch = dataset.train.read(np.arange(30))
  numbers = batch['image'][:, 0, 0, 0]
  np.testing.assert_array_equal(np.sort(numbers), np.arange(30))
  np.testing.assert_array_equal(batch['label'], numbers // 10)
  np.testing.assert_array_equal(dataset.train.labels(), batch['label'])
  assert set(batch['label'][:15]) == {0, 1, 2}  # sorted, the first half would lack class 2
  again = load(tmp_path / 'pets').train.read(np.arange(30))
  np.testing.assert_array_equal(again['image'], batch['image'])
  seen = dataset.test.read(np.arange(6))
  np.testing.assert_array_equal(seen['image'][:, 0, 0, 0] % 3, (seen['label'] + 1) % 3)


def test_grey_images_stay_grey_and_are_resized(tmp_path):
  dataset = load(classes(tmp_path, shape=GREY), size=3)
  assert dataset.shape == (3, 3, 1)
  assert dataset.train.read(np.arange(2))['image'].shape == (2, 3, 3, 1)


def test_several_labels_by_csv(tmp_path):
  dataset = load(tables(tmp_path / 'films'))
  assert dataset.names == dataset.scored == ('edema', 'other thing')
  assert (dataset.train.size, dataset.test.size, dataset.shape) == (12, 4, (5, 4, 1))
  batch = dataset.train.read(np.arange(12))
  numbers = batch['image'][:, 0, 0, 0].astype(int)
  assert list(numbers) != sorted(numbers)
  np.testing.assert_array_equal(batch['label'], np.stack([numbers % 2, numbers % 3 - 1], 1))
  assert batch['label'].dtype == np.int32
  np.testing.assert_array_equal(dataset.test.read(np.arange(4))['image'][:, 0, 0, 0], range(4))


def test_random_views_are_read(tmp_path):
  gradient = np.broadcast_to(np.arange(0, 200, 10, dtype=np.uint8), (20, 20))
  for split in ('train', 'test'):
    for name in 'ab':
      (tmp_path / split / name).mkdir(parents=True)
      Image.fromarray(gradient).save(tmp_path / split / name / 'x.png')
  read = load(tmp_path, size=8, random_crop=0.1).train.read
  numbers = np.array([1, 2], np.uint32)
  first, again, central = (
    read(np.array([0, 0]), *n)['image'] for n in ((numbers,), (numbers,), ())
  )
  np.testing.assert_array_equal(first, again)
  assert np.any(first[0] != first[1])
  np.testing.assert_array_equal(central[0], central[1])


def empty(folder):
  return folder


def only_train(folder):
  classes(folder)
  (folder / 'test').rename(folder / 'extra')
  return folder


def one_class(folder):
  save(folder / 'train' / 'a' / 'x.png', 1)
  save(folder / 'test' / 'a' / 'x.png', 1)
  return folder


def class_without_images(folder):
  (classes(folder) / 'train' / 'd').mkdir()
  return folder


def strange_class(folder):
  save(classes(folder) / 'test' / 'd' / 'x.png', 1)
  return folder


def empty_test(folder):
  for path in (classes(folder) / 'test').glob('*/*'):
    path.unlink()
  return folder


def broken(folder):
  for path in classes(folder).glob('train/*/*.png'):
    path.write_bytes(b'no image')
  return folder


def sixteen_bits(folder):
  classes(folder)
  for path in folder.glob('test/*/*'):
    Image.fromarray(np.zeros((5, 4), np.uint16)).save(path)
  return folder


def sizes_differ(folder):
  classes(folder)
  save(folder / 'train' / 'a' / '00.png', 0, (7, 7, 3))
  return folder


BROKEN = {
  'empty': (empty, r'it holds nothing; allowed: a folder with train/CLASS/ or train\.csv'),
  'no test': (only_train, r'it holds extra, train; allowed: .* test or val or valid or validation'),
  'one class': (one_class, r'train holds 1 folders; allowed: one for each of at least two classes'),
  'class without images': (class_without_images, r'train/d holds no image; allowed: \.png'),
  'class of test alone': (strange_class, r'test has the class d; allowed: the classes of train'),
  'no test image': (empty_test, r'test holds no image'),
  'no image': (broken, r'an undecodable image .*cannot identify'),
  '16 bits': (sixteen_bits, r'an undecodable image \(I;16 has more than 8 bits a channel: .*PNG'),
  'sizes': (sizes_differ, r'different sizes, \[\(5, 4\), \(7, 7\)\], with data\.size = 0; allowed'),
}


@pytest.mark.parametrize(('make', 'message'), BROKEN.values(), ids=BROKEN.keys())
def test_unusable_folder(tmp_path, make, message):
  with pytest.raises(ValueError, match=message) as error:
    load(make(tmp_path))
  assert str(error.value).startswith(f'data.path {tmp_path}: ')


HEAD = 'path,edema,other thing'
TABLES = {
  'empty': ({'train': '\n'}, r'train\.csv has 0 rows under the header \[\]; allowed: a column of'),
  'no rows': ({'train': HEAD}, r'train\.csv has 0 rows under the header'),
  'no labels': ({'train': 'path\nimages/0.png'}, r'train\.csv has 1 rows under the header'),
  'a name twice': ({'train': 'path,a,a\nimages/0.png,1,0'}, r'columns of different names'),
  'value': (
    {'train': f'{HEAD}\nimages/0.png,1,2'},
    r'train\.csv, line 2 is .*; allowed: a path, th',
  ),
  'blank': ({'train': f'{HEAD}\nimages/0.png,1,'}, r'train\.csv, line 2 is'),
  'column': ({'train': f'{HEAD}\nimages/0.png,1'}, r'train\.csv, line 2 is'),
  'file': (
    {'train': f'{HEAD}\nimages/0.png,1,0\nx.png,1,0'},
    r'train\.csv, line 3: no file x\.png',
  ),
  'labels': (
    {'test': 'path,a,b\nimages/0.png,1,0'},
    r"valid\.csv has the labels \['a', 'b'\]; all",
  ),
}


@pytest.mark.parametrize(('changes', 'message'), TABLES.values(), ids=TABLES.keys())
def test_unusable_table(tmp_path, changes, message):
  with pytest.raises(ValueError, match=message):
    load(tables(tmp_path, **changes))


def test_values_of_csv_may_be_written_as_numbers_with_a_point(tmp_path):
  folder = tables(tmp_path, train=f'{HEAD}\nimages/0.png, 1.0 ,-1.0\nimages/1.png,0.0,1')
  dataset = load(folder)
  labels = {tuple(row) for row in dataset.train.labels()}
  assert labels == {(1, -1), (0, 1)}
