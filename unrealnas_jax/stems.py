"""Stems of the supernets: from images to what the first cells see.

Source: Liu et al. 2019, DARTS, cnn/model_search.py; Xu et al. 2020, PC-DARTS,
model_search_imagenet.py.
"""

from collections.abc import Callable
from typing import NamedTuple

from unrealnas_jax import layers, ops
from unrealnas_jax.dense import conv

# Channels of a stem over channels of the first cell. The network that is trained after a search on
# ImageNet has 1 there, its supernet has not.
WIDTH = 3


class Stem(NamedTuple):
  """A stem as pure functions.

  init: (draw, image channels, channels of the first cell) -> (params, stats, channels of what
    apply gives)
  apply: (images [B, H, W, C], params, stats, mode) -> ((older, newer), seen), the two inputs
    of the first cell
  shrunk: newer has half the height and width of older
  halvings: how often newer has half the height and width of the images
  """

  init: Callable
  apply: Callable
  shrunk: bool
  halvings: int


def init_conv(draw, channels_in, width):
  """(params, stats) of conv_norm; its norm has a scale and a bias in every supernet."""
  params, stats = layers.init_norm(width, True)
  return {'kernel': ops.conv_init(draw, (3, 3, channels_in, width)), **params}, stats


def conv_norm(x, params, stats, mode, strides=(1, 1)):
  """3x3 convolution, norm."""
  y = conv(x, params['kernel'].astype(x.dtype), strides, learns=mode.learns)
  return layers.norm(y, params, stats, mode)


def _init_cifar(draw, channels_in, channels):
  width = WIDTH * channels
  return *init_conv(draw, channels_in, width), (width, width)


def _cifar(images, params, stats, mode):
  """3x3 convolution; both inputs of the first cell."""
  y, stats = conv_norm(images, params, stats, mode)
  return (y, y), stats


def _init_imagenet(draw, channels_in, channels):
  width = WIDTH * channels
  params, stats = init_conv(draw, channels_in, width // 2)
  seconds = layers.init_relu_conv(draw, 3, width // 2, width, True)
  thirds = layers.init_relu_conv(draw, 3, width, width, True)
  # The first convolution stands on top, as in the other stem: there a checkpoint tells how many
  # channels the images had.
  params |= {'second': seconds[0], 'third': thirds[0]}
  stats = {'first': stats, 'second': seconds[1], 'third': thirds[1]}
  return params, stats, (width, width)


def _imagenet(images, params, stats, mode):
  """Three 3x3 convolutions of stride 2; the first cell gets 1/4 and 1/8 of the image's size."""
  y, first = conv_norm(images, params, stats['first'], mode, (2, 2))
  older, second = layers.relu_conv(y, params['second'], stats['second'], mode, (2, 2))
  newer, third = layers.relu_conv(older, params['third'], stats['third'], mode, (2, 2))
  return (older, newer), {'first': first, 'second': second, 'third': third}


STEMS = {
  'cifar': Stem(_init_cifar, _cifar, shrunk=False, halvings=0),
  'imagenet': Stem(_init_imagenet, _imagenet, shrunk=True, halvings=3),
}
