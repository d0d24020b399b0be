"""Images in files: a folder for each class, or a csv file with a column for each label."""

import csv
import os

import numpy as np
from PIL import Image

from unrealnas_jax.data.images import make_decoder
from unrealnas_jax.data.split import MISSING, Labels, Split

TESTS = ('test', 'val', 'valid', 'validation')
SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.webp')
_VALUES = {'1': 1, '0': 0, str(MISSING): MISSING}


def read(data_config) -> tuple[str, Split, Split, Labels]:
  """(name, train, test, labels) of the folder data.path; images are decoded when asked for.

  It holds either
    train/CLASS/*.png    and test/CLASS/*.png: classes are the names in train, in order
    train.csv, test.csv  whose first column is an image's path within the folder, and each other
                         column a label: 1 = there, 0 = not there, -1 = not known
  `test` may also be called val, valid or validation; images are .png, .jpg, .jpeg, .bmp or .webp.
  They are grey if the first training image is. Training images are shuffled once, always in the
  same way: search splits them by position, and its halves would hold different classes.

  Raises ValueError: what is missing or cannot be used, and what is allowed.
  """
  root = os.path.abspath(os.path.expanduser(data_config.path))
  tables = os.path.isfile(os.path.join(root, 'train.csv'))
  test = _test_name(root, '.csv' if tables else '')
  if tables:
    (paths, y, names), (test_paths, test_y, test_names) = (
      _read_table(root, f'{split}.csv') for split in ('train', test)
    )
    if test_names != names:
      raise _error(root, f'{test}.csv has the labels {test_names}', f'those of train.csv: {names}')
    labels = Labels(len(names), tuple(names), tuple(names))
  else:
    classes = _classes(root)
    (paths, y), (test_paths, test_y) = (_list(root, split, classes) for split in ('train', test))
    labels = Labels(len(classes))
  order = np.random.default_rng(0).permutation(len(paths))
  channels = _channels(root, paths[0])
  splits = (
    _split(root, paths, y, channels, data_config)
    for paths, y in (([paths[i] for i in order], y[order]), (test_paths, test_y))
  )
  return os.path.basename(root), *splits, labels


def _error(root, found, allowed):
  return ValueError(f'data.path {root}: {found}; allowed: {allowed}')


def _test_name(root, suffix):
  """What the test split is called; there must be a training split too."""
  present = os.listdir(root)
  test = next((name for name in TESTS if name + suffix in present), None)
  if f'train{suffix}' in present and test is not None:
    return test
  found = f'it holds {", ".join(sorted(present)[:9]) or "nothing"}'
  allowed = f'a folder with train/CLASS/ or train.csv, and the same for {" or ".join(TESTS)}'
  raise _error(root, found, allowed)


def _classes(root):
  """Names of the classes, in order."""
  classes = sorted(
    entry.name for entry in os.scandir(os.path.join(root, 'train')) if entry.is_dir()
  )
  if len(classes) < 2:
    raise _error(
      root, f'train holds {len(classes)} folders', 'one for each of at least two classes'
    )
  return classes


def _list(root, split, classes):
  """(paths, class numbers int32 [N]) of a split, by class and then by name."""
  folder = os.path.join(root, split)
  strange = {entry.name for entry in os.scandir(folder) if entry.is_dir()} - {*classes}
  if strange:
    raise _error(root, f'{split} has the class {min(strange)}', 'the classes of train')
  paths, y = [], []
  for number, name in enumerate(classes):
    place = os.path.join(folder, name)
    files = os.listdir(place) if os.path.isdir(place) else []
    found = sorted(file for file in files if file.lower().endswith(SUFFIXES))
    if not found and split == 'train':
      raise _error(root, f'train/{name} holds no image', f'{", ".join(SUFFIXES)} files')
    paths += [os.path.join(place, file) for file in found]
    y += [number] * len(found)
  if not paths:
    raise _error(root, f'{split} holds no image', f'{", ".join(SUFFIXES)} files')
  return paths, np.array(y, np.int32)


def _read_table(root, name):
  """(paths, multi-hot int32 [N, K], names of the labels) of a csv file."""
  with open(os.path.join(root, name), newline='', encoding='utf-8-sig') as file:
    header, *rows = list(csv.reader(file)) or [[]]
  names, y = header[1:], []
  if not names or not rows or len(set(names)) < len(names):
    found = f'{name} has {len(rows)} rows under the header {header}'
    raise _error(root, found, 'a column of paths, then columns of different names, and rows')
  for number, row in enumerate(rows, start=2):
    values = [_VALUES.get(value.strip().removesuffix('.0')) for value in row[1:]]
    if len(row) != len(header) or None in values:
      found, allowed = (
        f'{name}, line {number} is {row}',
        f'a path, then {len(names)} of 1, 0 and -1',
      )
      raise _error(root, found, allowed)
    if not os.path.isfile(os.path.join(root, row[0])):
      raise _error(root, f'{name}, line {number}: no file {row[0]}', 'paths within the folder')
    y.append(values)
  return [os.path.join(root, row[0]) for row in rows], np.array(y, np.int32), names


def _channels(root, path):
  """1 for a grey image, else 3."""
  try:
    with Image.open(path) as picture:
      return 1 if picture.mode in ('1', 'L', 'LA') else 3
  except OSError as error:
    raise _undecodable(root, error) from error


def _undecodable(root, error):
  return _error(root, f'an undecodable image ({error})', 'whole images of 8 bits a channel')


def _split(root, paths, y, channels, data_config):
  decode = make_decoder(channels, data_config)

  def read(indices, numbers=None):
    try:
      images = decode([paths[i] for i in indices], numbers)
    except OSError as error:
      raise _undecodable(root, error) from error
    sizes = {image.shape[:2] for image in images}
    if len(sizes) > 1:
      found = f'images of different sizes, {sorted(sizes)[:2]}, with data.size = 0'
      raise _error(root, found, 'data.size > 0, to which they are resized')
    return {'image': np.stack(images), 'label': y[indices]}

  return Split(len(paths), read, lambda: y)
