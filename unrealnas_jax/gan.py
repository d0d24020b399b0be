"""The two networks of a class-conditional GAN, and their hinge losses.

The residual networks of Miyato, Kataoka, Koyama, Yoshida: Spectral Normalization for GANs (ICLR
2018, arXiv 1802.05957), table 4, with the projection of Miyato and Koyama (arXiv 1802.05637). Where
features have more than FULL pixels a side they are narrower, as in their networks for ImageNet.
"""

import functools
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from unrealnas_jax import ops

START = 4  # least height and width in pixels that the generator begins with
FULL = 32  # most pixels a side at which a block has its whole width

Conv = functools.partial(nn.Conv, kernel_init=nn.initializers.xavier_uniform())


def doublings(shape):
  """How often the generator doubles its first features until they are images of (H, W, C).

  Raises ValueError: there is no such number; it is at least 1, and it begins with START pixels.
  """
  number = max(1, (min(shape[:2]) // START).bit_length() - 1)
  if min(shape[:2]) < 2 * START or any(side % 2**number for side in shape[:2]):
    allowed = f'at least {2 * START} pixels and a multiple of {2**number}'
    raise ValueError(f'height and width {shape[0]} and {shape[1]}; allowed: {allowed}')
  return number


def channels_at(channels, side):
  """Channels of a block whose features have `side` pixels, which halve with each doubling of FULL.

  >>> [channels_at(256, side) for side in (7, 32, 56, 64, 112, 224)]
  [256, 256, 128, 128, 64, 32]
  """
  return max(1, channels >> max(0, math.ceil(math.log2(side / FULL))))


def condition(labels, classes):
  """What an image is made of, as the networks take it, float32.

  labels: [B] classes -> one-hot [B, K]; or multi-hot [B, K], of which only 1 means that a label is
  there -> [B, 1 + K], the labels after a 1 that is always there: an image may have none of them.
  """
  if labels.ndim == 1:
    return jax.nn.one_hot(labels, classes)
  return jnp.pad((labels == 1).astype(jnp.float32), ((0, 0), (1, 0)), constant_values=1)


class Generator(nn.Module):
  """Images of a noise vector and a class, or several labels.

  channels: width of its blocks up to FULL pixels a side; see `channels_at`.
  shape: (H, W, C) of an image; see `doublings`.
  dtype: of the activations; parameters, statistics and images stay float32.
  axis_name: the axis of the devices a batch is spread over (batch norm), None for one device.
  """

  channels: int
  classes: int
  shape: tuple[int, int, int]
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, noise, labels, *, train):
    """noise: [B, Z], labels: [B] or [B, K] -> images [B, H, W, C] from -1 to 1."""
    number = doublings(self.shape)
    height, width = (side // 2**number for side in self.shape[:2])
    # No bias: the norms would take it away again.
    conv = functools.partial(Conv, use_bias=False, dtype=self.dtype)
    classes, several = condition(labels, self.classes), labels.ndim == 2
    axis_name = None if self.is_initializing() else self.axis_name
    new_norm = functools.partial(ClassNorm, axis_name, several)
    x = nn.Dense(height * width * self.channels, dtype=self.dtype, name='start')(noise)
    x = x.reshape(-1, height, width, self.channels)
    for n in range(number):
      norm = [new_norm(name=f'norm_{n}_{i}') for i in range(2)]
      channels = channels_at(self.channels, min(height, width) * 2 ** (n + 1))
      y = double(nn.relu(norm[0](x, classes, train)))
      y = conv(channels, (3, 3), name=f'conv_{n}_0')(y)
      y = nn.relu(norm[1](y, classes, train))
      y = conv(channels, (3, 3), name=f'conv_{n}_1')(y)
      x = y + double(conv(channels, (1, 1), name=f'skip_{n}')(x))
    x = nn.relu(new_norm(name='norm')(x, classes, train))
    x = Conv(self.shape[-1], (3, 3), dtype=self.dtype, name='image')(x)
    return jnp.tanh(x.astype(jnp.float32))


class Discriminator(nn.Module):
  """How real an image looks for its labels, every layer divided by its largest singular value.

  channels: width of its blocks up to FULL pixels a side; see `channels_at`.
  """

  channels: int
  classes: int
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, images, labels, *, train):
    """images: [B, H, W, C] from -1 to 1, labels: [B] or [B, K] -> scores [B], float32.

    train: updates the estimate of the singular vectors (collection batch_stats).
    """

    conv = functools.partial(Conv, dtype=self.dtype)

    def normed(layer, x):
      return nn.SpectralNorm(layer, name=f'{layer.name}_norm')(x, update_stats=train)

    def block(x, name, first=False, halve=False):
      channels = channels_at(self.channels, min(x.shape[1:3]))
      wider = first or x.shape[-1] != channels
      y = x if first else nn.relu(x)
      y = nn.relu(normed(conv(channels, (3, 3), name=f'{name}_0'), y))
      y = normed(conv(channels, (3, 3), name=f'{name}_1'), y)
      if halve:
        x, y = mean_of_four(x), mean_of_four(y)
      if wider:
        x = normed(conv(channels, (1, 1), name=f'{name}_skip'), x)
      return x + y

    x, number = images.astype(self.dtype), doublings(images.shape[1:])
    halvings = max(1, number - 1)
    for n in range(halvings + 2):
      x = block(x, f'block_{n}', first=n == 0, halve=n < halvings)
    features = nn.relu(x).astype(jnp.float32).sum((1, 2))
    score = normed(nn.Dense(1, name='score'), features)[:, 0]
    classes = condition(labels, self.classes)
    projection = normed(nn.Dense(self.channels, use_bias=False, name='classes'), classes)
    return score + (projection * features).sum(-1)


class ClassNorm(nn.Module):
  """Batch norm over all devices, with a scale and a bias for each class.

  several: labels, not one class: scales and biases are sums over what `condition` says is there,
  and all images have the same until they are learned, as with classes.
  """

  axis_name: str | None
  several: bool = False

  @nn.compact
  def __call__(self, x, classes, train):
    """x: [B, H, W, C], classes: [B, K], by `condition`."""
    size = x.shape[-1:]
    mean = self.variable('batch_stats', 'mean', jnp.zeros, size)
    var = self.variable('batch_stats', 'var', jnp.ones, size)
    ones = _first_of_ones if self.several else nn.initializers.ones
    scale = self.param('scale', ones, (classes.shape[-1], *size))
    bias = self.param('bias', nn.initializers.zeros, (classes.shape[-1], *size))
    stats = {'mean': mean.value, 'var': var.value}
    y, seen = ops.batch_norm(x, stats, train, axis_name=self.axis_name)
    if train and not self.is_initializing():
      moved = ops.running(stats, seen)
      mean.value, var.value = moved['mean'], moved['var']
    scale, bias = (jnp.dot(classes, table)[:, None, None] for table in (scale, bias))
    return y * scale.astype(y.dtype) + bias.astype(y.dtype)


def _first_of_ones(key, shape):
  del key
  return jnp.zeros(shape).at[0].set(1)


def double(x):
  """Repeats every pixel in both directions. x: [B, H, W, C] -> [B, 2H, 2W, C]"""
  b, h, w, c = x.shape
  return jnp.broadcast_to(x[:, :, None, :, None], (b, h, 2, w, 2, c)).reshape(b, 2 * h, 2 * w, c)


def mean_of_four(x):
  """Averages squares of 2x2 pixels. x: [B, H, W, C] -> [B, H / 2, W / 2, C]"""
  b, h, w, c = x.shape
  return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


def discriminator_loss(real, fake):
  """Hinge loss of scores [B] of real and of generated images."""
  return nn.relu(1 - real).mean() + nn.relu(1 + fake).mean()


def generator_loss(fake):
  """The loss that goes with it: generated images are to have a high score."""
  return -fake.mean()
