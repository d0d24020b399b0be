"""What the host does to an image: decoding, the part of it that is taken, resizing (Pillow)."""

import concurrent.futures
import math
import os
from collections.abc import Callable

import numpy as np
from PIL import Image

MODES = {1: 'L', 3: 'RGB'}  # Pillow's modes by number of channels
_RATIOS = 3 / 4, 4 / 3  # width over height of a random crop
_TRIES = 10


def decode(file, channels: int) -> np.ndarray:
  """The image [H, W, channels] uint8 in a file, given by its path or open.

  Raises OSError: it holds no image, or one of more than 8 bits a channel.
  """
  with Image.open(file) as picture:
    if picture.mode[0] in 'IF':
      raise OSError(f'{picture.mode} has more than 8 bits a channel: {file}')
    image = np.asarray(picture.convert(MODES[channels]))
  return image.reshape(*image.shape[:2], channels)


def resize(image: np.ndarray, size: int, box=None) -> np.ndarray:
  """Resizes image [H, W, C], uint8 or float32, to [size, size, C]; size in pixels, 0 = unchanged.

  Bilinear, and the support grows when shrinking, so that no pixel is left out (no aliasing).
  box: (left, top, right, bottom) of the part that is taken, in pixels; None = all
  """
  height, width, channels = image.shape
  whole = box is None or tuple(box) == (0, 0, width, height)
  if size == 0 or (whole and (height, width) == (size, size)):
    return image

  def scale(part):
    picture = Image.fromarray(part).resize((size, size), Image.Resampling.BILINEAR, box)
    return np.asarray(picture)

  if image.dtype == np.uint8 and channels == 3:
    return scale(np.ascontiguousarray(image))
  # One channel at a time: Pillow has no mode for several float channels.
  planes = np.ascontiguousarray(image.transpose(2, 0, 1))
  return np.stack([scale(plane) for plane in planes], axis=-1)


def central_view(image: np.ndarray, hp) -> np.ndarray:
  """What tests and statistics see of an image [H, W, C]: [size, size, C].

  hp: config.data; its crop is the side of the central square over the shorter side of the image, 0
  for the whole image, stretched.
  """
  if hp.crop == 0:
    return resize(image, hp.size)
  height, width = image.shape[:2]
  side = hp.crop * min(height, width)
  left, top = (width - side) / 2, (height - side) / 2
  return resize(image, hp.size, (left, top, left + side, top + side))


def random_view(image: np.ndarray, hp, number: int) -> np.ndarray:
  """What training sees of an image [H, W, C]: a random crop resized to [size, size, C].

  Its area is a uniform fraction from hp.random_crop to 1, its width over its height log-uniform
  from 3/4 to 4/3, its place uniform; the largest central crop of such a ratio if none of ten fits.
  hp: config.data; number: all that the crop is drawn from
  Source: Inception's crop as torchvision's RandomResizedCrop has it.
  """
  height, width = image.shape[:2]
  generator = np.random.default_rng(number)
  for _ in range(_TRIES):
    area = height * width * generator.uniform(hp.random_crop, 1)
    ratio = math.exp(generator.uniform(*map(math.log, _RATIOS)))
    w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
    if 0 < w <= width and 0 < h <= height:
      left, top = generator.integers(width - w + 1), generator.integers(height - h + 1)
      return resize(image, hp.size, (left, top, left + w, top + h))
  narrowest, widest = _RATIOS
  w, h = min(width, height * widest), min(height, width / narrowest)
  left, top = (width - w) / 2, (height - h) / 2
  return resize(image, hp.size, (left, top, left + w, top + h))


def view(image: np.ndarray, hp, number: int | None = None) -> np.ndarray:
  """The random view of a number if config.data has one, else the central view."""
  if number is None or hp.random_crop == 1:
    return central_view(image, hp)
  return random_view(image, hp, number)


def central_views(images: np.ndarray, hp) -> np.ndarray:
  """The central views of images [N, H, W, C]; the same array where they are the images."""
  if hp.crop == 0 and (hp.size == 0 or images.shape[1:3] == (hp.size, hp.size)):
    return images
  seen = np.empty((len(images), hp.size, hp.size, images.shape[3]), images.dtype)
  for i, image in enumerate(images):
    seen[i] = central_view(image, hp)
  return seen


def make_decoder(channels: int, hp) -> Callable:
  """(files, numbers [N] or None) -> list of uint8 [H, W, channels], by a thread for each core.

  files: paths or open files; numbers: as in `view`. Raises OSError: an image cannot be decoded.
  """
  # Pillow lets other threads run while it decodes and resizes.
  pool = concurrent.futures.ThreadPoolExecutor(os.cpu_count(), 'decode')

  def one(file, number):
    return view(decode(file, channels), hp, number)

  def decode_all(files, numbers=None):
    numbers = [None] * len(files) if numbers is None else numbers
    return list(pool.map(one, files, numbers))

  return decode_all
