"""Differentiable augmentation of what a discriminator sees, real or generated.

Zhao, Liu, Lin, Zhu, Han: Differentiable Augmentation for Data-Efficient GAN Training (NeurIPS 2020,
arXiv 2006.10738). Its translation is a padded crop, so it and the cutout are those of `augment`.
"""

import jax
import numpy as np

from unrealnas_jax.data.augment import augment


def diffaugment(
  key: jax.Array,
  index: jax.Array,
  images: jax.Array,
  color: float,
  pad: int,
  flip: bool,
  cutout: int,
) -> jax.Array:
  """Changes colours, shifts, flips and cuts each image at random, in this order.

  key, index: as in `augment`; images: [B, H, W, C] from -1 to 1, where 0 fills what is left open
  color: from 0 to 1, how far brightness, saturation and contrast go; 1 is as in the paper
  pad, flip, cutout: as in `augment`; the paper has 1/8 and 1/2 of the height and no flip
  """
  if color:
    images = jax.vmap(lambda i, image: _recolor(jax.random.fold_in(key, i), image, color))(
      index, images
    )
  pad_value = np.zeros(images.shape[-1], np.float32)
  return augment(jax.random.fold_in(key, 0), index, images, pad, flip, cutout, pad_value)


def _recolor(key, image, strength):
  """image: [H, W, C]; brightness first, then saturation, then contrast."""
  brightness, saturation, contrast = strength * jax.random.uniform(key, (3,), minval=-1)
  image = image + brightness / 2
  grey = image.mean(-1, keepdims=True)
  image = grey + (image - grey) * (1 + saturation)
  mean = image.mean(keepdims=True)
  return mean + (image - mean) * (1 + contrast / 2)
