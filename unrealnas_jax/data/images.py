"""Resizing on the host, with Pillow."""

import numpy as np
from PIL import Image


def resize(image: np.ndarray, size: int) -> np.ndarray:
  """Resizes image [H, W, C], uint8 or float32, to [size, size, C]; size in pixels, 0 = unchanged.

  Bilinear, and the support grows when shrinking, so that no pixel is left out (no aliasing).
  """
  if size == 0 or image.shape[:2] == (size, size):
    return image
  # One channel at a time: Pillow has no mode for several float channels.
  channels = [
    Image.fromarray(channel).resize((size, size), Image.Resampling.BILINEAR)
    for channel in np.ascontiguousarray(image.transpose(2, 0, 1))
  ]
  return np.stack([np.asarray(channel) for channel in channels], axis=-1)


def resize_all(images: np.ndarray, size: int) -> np.ndarray:
  """Resizes images [N, H, W, C] to [N, size, size, C]; size in pixels, 0 = unchanged."""
  if size == 0 or images.shape[1:3] == (size, size):
    return images
  resized = np.empty((len(images), size, size, images.shape[3]), images.dtype)
  for i, image in enumerate(images):
    resized[i] = resize(image, size)
  return resized
