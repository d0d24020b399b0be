"""A user's own images from one .npz file, checked in full before anything is trained on them."""

import os
import zipfile
import zlib

import numpy as np

from unrealnas_jax.data.split import MISSING, Labels, Split, in_memory

KEYS = ('x_train', 'y_train', 'x_test', 'y_test')

# numpy's two public readers of a member's header, by format version.
_HEADERS = {
  (1, 0): np.lib.format.read_array_header_1_0,
  (2, 0): np.lib.format.read_array_header_2_0,
}


def read(data_config) -> tuple[str, Split, Split, Labels]:
  """(name, train, test, labels) of the file data.path, resized to data.size.

  The file holds x_train, y_train, x_test, y_test; other arrays are ignored. x: uint8, or float in
  0..1; [N, H, W], [N, H, W, 1] or [N, H, W, 3], the same H, W and channels in both. y is either
    [N]     whole numbers, and y_train holds each class 0..K - 1
    [N, K]  multi-hot, K > 1: 1 = there, 0 = not there, -1 = not known; names in label_names [K],
            if that is in the file

  Training rows that are multi-hot or in blocks by class are shuffled once, always in the same way:
  search splits them by position, and its halves would hold different classes.

  Raises ValueError, naming file, array, what was found and what is allowed.
  """
  path = os.path.expanduser(data_config.path)
  _check_members(path)
  arrays = _load(path)
  x_train, x_test = (_images(path, key, arrays.pop(key)) for key in ('x_train', 'x_test'))
  if x_train.shape[1:] != x_test.shape[1:]:
    found = f'{list(x_test.shape[1:])} an image where x_train has {list(x_train.shape[1:])}'
    raise _error(path, 'x_test', found, 'the same height, width and channels in both')
  several = arrays['y_train'].ndim == 2 and arrays['y_train'].shape[1] > 1
  check = _multi_hot if several else _labels
  y_train = check(path, 'y_train', arrays['y_train'], len(x_train))
  y_test = check(path, 'y_test', arrays['y_test'], len(x_test))
  labels = (_names if several else _classes)(path, y_train, y_test)
  if several or _in_blocks(y_train):
    order = np.random.default_rng(0).permutation(len(y_train))
    x_train, y_train = x_train[order], y_train[order]
  name = os.path.basename(path).removesuffix('.npz')
  train = in_memory(x_train, y_train, data_config)
  test = in_memory(x_test, y_test, data_config)
  return name, train, test, labels


def memory_bytes() -> int:
  """Main memory of this machine."""
  return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')


def _error(path, key, found, allowed):
  return ValueError(f'data.path {path}: {key} is {found}; allowed: {allowed}')


def _check_members(path):
  """Looks at the headers alone, so that no file can make numpy allocate what it does not hold."""
  if not os.path.isfile(path):
    raise ValueError(f'data.path {path}: no such file; allowed: an .npz file')
  try:
    if not zipfile.is_zipfile(path):
      raise _error(path, 'the file', 'not a zip archive, or cut short', 'an .npz file of np.savez')
    with zipfile.ZipFile(path) as archive:
      members = {info.filename.removesuffix('.npy'): info for info in archive.infolist()}
      missing = [key for key in KEYS if key not in members]
      if missing:
        found = f'missing (the file holds {", ".join(sorted(members)) or "nothing"})'
        raise _error(path, ', '.join(missing), found, f'a file with {", ".join(KEYS)}')
      sizes = [_member_bytes(path, key, archive, members[key]) for key in KEYS]
  except (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError) as error:
    raise _error(path, 'the file', f'unreadable ({error})', 'an .npz file of np.savez') from error
  if sum(sizes) > memory_bytes():
    found = f'{sum(sizes) / 2**30:.1f} GiB'
    allowed = (
      f"at most this machine's memory, {memory_bytes() / 2**30:.1f} GiB; tfds:NAME reads lazily"
    )
    raise _error(path, 'the file', found, allowed)


def _member_bytes(path, key, archive, info):
  """Bytes of one array by its header, which must agree with what the archive holds."""
  try:
    with archive.open(info) as member:
      version = np.lib.format.read_magic(member)
      shape, _, dtype = _HEADERS[version](member)
      held = info.file_size - member.tell()
  except (ValueError, KeyError) as error:
    raise _error(path, key, f'no readable array ({error})', 'arrays written by np.savez') from error
  if dtype.hasobject:
    raise _error(path, key, 'an array of Python objects', 'an array of numbers')
  size = dtype.itemsize
  for length in shape:
    size *= length
  if size != held:
    found = f'{held} bytes where its header {list(shape)} {dtype} asks for {size}'
    raise _error(path, key, found, 'an array that was written whole')
  return size


def _load(path, keys=KEYS):
  try:
    with np.load(path, allow_pickle=False) as file:
      return {key: file[key] for key in keys}
  except (ValueError, OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
    raise _error(path, 'the file', f'unreadable ({error})', 'an .npz file of np.savez') from error


def _images(path, key, x):
  """x as uint8 or float32 [N, H, W, C] with C 1 or 3."""
  allowed = '[N, H, W], [N, H, W, 1] or [N, H, W, 3]'
  found = f'of shape {list(x.shape)}'
  if x.size == 0:
    raise _error(path, key, f'{found}, which holds no image', allowed)
  if x.ndim == 3:
    x = x[..., None]
  if x.ndim != 4 or x.shape[3] not in (1, 3):
    raise _error(path, key, found, f'{allowed} (channels last)')
  if x.dtype == np.uint8:
    return x
  allowed = 'uint8, or float from 0 to 1'
  if x.dtype.kind != 'f':
    raise _error(path, key, f'of type {x.dtype}', allowed)
  # The two extremes show NaN and infinity as well, without a copy of the array.
  low, high = x.min(), x.max()
  if not (np.isfinite(low) and np.isfinite(high)):
    raise _error(path, key, 'not finite everywhere (NaN or infinity)', allowed)
  if low < 0 or high > 1:
    raise _error(path, key, f'float from {low:g} to {high:g}', allowed)
  return x.astype(np.float32, copy=False)


def _labels(path, key, y, images):
  """y as int64 [N], whole numbers from 0."""
  if y.ndim != 1:
    found = f'of shape {list(y.shape)}'
    allowed = 'class labels [N], one whole number an image, or multi-hot labels [N, K], K > 1'
    if y.ndim == 2 and y.shape[1] == 1:
      allowed += f'; {key}.reshape(-1) makes them'
    raise _error(path, key, found, allowed)
  if len(y) != images:
    found = f'{len(y)} labels where {key.replace("y", "x", 1)} has {images} images'
    raise _error(path, key, found, 'one label an image')
  if y.dtype.kind not in 'iu':
    raise _error(path, key, f'of type {y.dtype}', 'whole numbers (an integer type)')
  if y.min() < 0:
    raise _error(path, key, f'{y.min()} somewhere', 'classes from 0')
  return y


def _multi_hot(path, key, y, images):
  """y as int32 [N, K] of 1, 0 and MISSING."""
  if y.ndim != 2:
    raise _error(path, key, f'of shape {list(y.shape)}', 'multi-hot labels [N, K] as y_train has')
  if len(y) != images:
    found = f'{len(y)} rows where {key.replace("y", "x", 1)} has {images} images'
    raise _error(path, key, found, 'one row an image')
  if y.dtype.kind not in 'biuf':
    raise _error(path, key, f'of type {y.dtype}', 'numbers')
  strange = y[~np.isin(y, (0, 1, MISSING))]
  if len(strange):
    allowed = f'1 = there, 0 = not there, {MISSING} = not known'
    raise _error(path, key, f'{strange[0]} somewhere', allowed)
  return y.astype(np.int32)


def _in_blocks(y):
  """Whether y [N] is sorted, or neighbours differ less than half as often as in a random order."""
  shares = np.bincount(y) / len(y)
  differ = (y[1:] != y[:-1]).sum()
  return (y[1:] >= y[:-1]).all() or differ < 0.5 * (1 - (shares**2).sum()) * len(y)


def _names(path, y_train, y_test):
  """The Labels of multi-hot arrays, by the file's label_names or else label_0, label_1, ..."""
  count = y_train.shape[1]
  if y_test.shape[1] != count:
    raise _error(path, 'y_test', f'{y_test.shape[1]} labels an image', f'{count}, as y_train has')
  names = [f'label_{number}' for number in range(count)]
  with zipfile.ZipFile(path) as archive:
    if 'label_names.npy' in archive.namelist():
      _member_bytes(path, 'label_names', archive, archive.getinfo('label_names.npy'))
      names = [str(name) for name in np.atleast_1d(_load(path, ['label_names'])['label_names'])]
  if len(set(names)) != count or len(names) != count:
    raise _error(path, 'label_names', f'{names}', f'{count} different names, one a label')
  return Labels(count, tuple(names), tuple(names))


def _classes(path, y_train, y_test):
  """The Labels of class labels; y_train must hold each of 0..K - 1."""
  present = np.unique(y_train)
  classes = int(present[-1]) + 1
  if len(present) < classes:
    absent = int(np.flatnonzero(present != np.arange(len(present)))[0])
    found = f'labels up to {classes - 1} but no image of class {absent}'
    raise _error(path, 'y_train', found, 'classes 0..K - 1, each with an image')
  if classes < 2:
    raise _error(path, 'y_train', 'all of class 0', 'at least two classes')
  unknown = np.setdiff1d(y_test, present)
  if len(unknown):
    found = f'of class {int(unknown[0])}, which y_train lacks'
    raise _error(path, 'y_test', found, f'the classes of y_train, 0..{classes - 1}')
  return Labels(classes)
