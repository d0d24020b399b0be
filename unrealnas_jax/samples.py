"""A few examples as a search is shown them, kept in its workdir for whoever asks what it saw."""

import functools
import io
import math

import jax
import numpy as np
from etils import epath
from PIL import Image

from unrealnas_jax import metrics, parallel
from unrealnas_jax.data.source import show

COUNT = 16


def write(workdir, key, source):
  """Writes samples.npz with the first examples of a Source, unless it is there already.

  key: as Source.fn takes it. Of the file: images uint8, by `stretch`, and labels, as the source
  gives them, before any augmentation.
  """
  path = epath.Path(workdir) / 'samples.npz'
  if not parallel.is_primary() or path.exists():
    return
  batch = source.read(np.arange(min(COUNT, source.examples)))
  images, labels = jax.device_get(jax.jit(functools.partial(show, source))(key, batch))
  images = picture(images)
  path.parent.mkdir(parents=True, exist_ok=True)
  with io.BytesIO() as file:
    np.savez_compressed(file, images=stretch(images), labels=labels)
    metrics.write_whole(path, file.getvalue())


def read(workdir):
  """(images, labels) of samples.npz, None where a run has left none."""
  path = epath.Path(workdir) / 'samples.npz'
  if not path.exists():
    return None
  with np.load(io.BytesIO(path.read_bytes())) as file:
    return file['images'], file['labels']


def picture(images):
  """images [N, H, W, C] as they are; those of tiles [N, n * n, h, w, C] laid together, n a side."""
  if images.ndim == 4:
    return images
  return lay(images, math.isqrt(images.shape[1]))


def lay(images, columns):
  """Images [..., N, H, W, C] laid together row by row: [..., N / columns * H, columns * W, C]."""
  *leading, count, height, width, channels = images.shape
  rows = count // columns
  placed = images.reshape(*leading, rows, columns, height, width, channels).swapaxes(-4, -3)
  return placed.reshape(*leading, rows * height, columns * width, channels)


def read_sheet(workdir):
  """The newest sheet that a generator's training has left, uint8 [H, W] or [H, W, 3]; or None."""
  paths = sorted((epath.Path(workdir) / 'samples').glob('*.png'))
  return np.asarray(Image.open(io.BytesIO(paths[-1].read_bytes()))) if paths else None


def stretch(images):
  """images [..., C] as uint8, each channel from its least value, 0, to its greatest, 255."""
  axes = tuple(range(images.ndim - 1))
  low, high = images.min(axes, keepdims=True), images.max(axes, keepdims=True)
  return np.uint8(np.round(255 * (images - low) / np.maximum(high - low, 1e-12)))
