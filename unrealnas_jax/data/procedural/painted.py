"""What the procedural sources share: a Source made of `paint`, classes spread evenly, colours."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from unrealnas_jax.data.source import Source, example_keys, made_shape, random_label, read_indices

WORLD = np.uint32(2**32 - 1)  # no example has this index


def make(name, paint, config, dataset=None) -> Source:
  """Images of uniform random classes 0..source.classes - 1, each by its class's rule.

  paint: (world, label [], key, shape (H, W, C)) -> image [H, W, C] of any brightness and contrast;
    world: a key that is the same for all images, key: one an image
  Every image is standardised by itself: each channel has mean 0, all together have variance 1.
  Raises ValueError: source.examples, size, channels or classes below 1.
  """
  del dataset
  shape, classes = made_shape(config), config.source.classes

  def fn(key, batch):
    world = jax.random.fold_in(key, WORLD)

    def example(index):
      image_key, label_key = example_keys(key, index)
      label = random_label(label_key, classes, rate=0)
      return standardise(paint(world, label, image_key, shape)), label

    # TPUs would round the factors of matrix products to 8 bits.
    with jax.default_matmul_precision('highest'):
      return jax.vmap(example)(batch['index'])

  pad_value = np.zeros(shape[-1], np.float32)  # the mean colour
  return Source(name, config.source.examples, shape, classes, read_indices, fn, pad_value)


def standardise(image):
  """image: [H, W, C], each channel with mean 0, all with variance 1; 0 if it is of one colour.

  So no image is nearly of one colour, and its colours keep their directions.
  """
  height, width, channels = image.shape
  image = image - (total(total(image)) / (height * width))[None, None]
  variance = total(total(total(jnp.square(image)))) / (height * width * channels)
  return image * lax.rsqrt(jnp.maximum(variance, 1e-12))


def total(x):
  """The sum over the first axis, in its order.

  XLA's own sums add in an order that depends on the batch, and so would an example's last bits.
  """
  return lax.scan(lambda partial, row: (partial + row, None), jnp.zeros(x.shape[1:]), x)[0]


def spread(world, label, count):
  """The point [count] in 0..1 that stands for a class, far from those of other classes.

  The first K points of the sequence fill the cube evenly for any K; `world` shifts all of them.
  Source: Martin Roberts 2018, "The Unreasonable Effectiveness of Quasirandom Sequences" (R_d).
  """
  # In whole numbers modulo 2^32, so that a class of a high number is as exact as the first.
  root = 2.0
  for _ in range(64):
    root = (1 + root) ** (1 / (count + 1))
  steps = [round(2**32 / root ** (i + 1)) for i in range(count)]
  bits = jax.random.bits(world, (count,)) + label.astype(jnp.uint32) * jnp.array(steps, jnp.uint32)
  return unit(bits)


def unit(bits):
  """Random bits, uint32, as numbers from 0 to below 1."""
  return (bits >> 8).astype(jnp.float32) / 2**24


def between(number, low, high):
  """`number` from 0 to 1 as one from low to high."""
  return low + number * (high - low)


def between_log(number, low, high):
  """`number` from 0 to 1 as one from low to high, evenly in its logarithm."""
  return low * (high / low) ** number


def pixels(shape):
  """(y [H, 1], x [1, W]) of the middles of pixels, from -1 to 1 along the smaller side."""
  height, width = shape[:2]
  least = min(height, width)
  y, x = ((2 * jnp.arange(n) + 1 - n) / least for n in (height, width))
  return y[:, None], x[None]
