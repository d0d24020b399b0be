"""The supernet: a network whose cells mix all candidate operations by weights [E, O].

Source: Liu et al. 2019, DARTS, cnn/model_search.py.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax

from unrealnas_jax import cell, layers, ops
from unrealnas_jax.dense import conv
from unrealnas_jax.spaces.space import Space

STEM_WIDTH = 3  # channels of the stem over channels of the first cell


class Net(NamedTuple):
  """Pure functions of a supernet.

  init: key -> (params, stats), stats being the running statistics of batch norm
  apply: (params, stats, weights, images [B, H, W, C], train) -> (logits [B, K] float32, new stats)
  loss: (params, stats, weights, images, labels [B]) -> (mean cross entropy, (new stats, logits)),
    in training mode; with twice=True its gradient with respect to the weights has a jax.jvp
  weights: {kind of cell: [E, O]}, what each operation of each edge is multiplied by
  """

  space: Space
  init: Callable
  apply: Callable
  loss: Callable


class Shape(NamedTuple):
  """What a supernet is built from.

  channels: of the first cell, doubled at each reduction; cells, classes: numbers.
  dtype: of the activations; parameters, statistics and logits stay float32.
  axis_name: the axis of the devices that a batch is spread over, None for one device.
  plain: as in layers.Mode.
  """

  space: Space
  channels: int
  cells: int
  classes: int
  image_channels: int
  dtype: Any = jnp.float32
  axis_name: str | None = None
  plain: bool = False


def make(shape):
  """The supernet of a Shape."""
  apply = functools.partial(_apply, shape)

  def loss(params, stats, weights, images, labels, twice=False):
    logits, stats = apply(params, stats, weights, images, train=True, twice=twice)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return losses.mean(), (stats, logits)

  return Net(shape.space, functools.partial(_init, shape), apply, loss)


def _plan(shape):
  """For each cell: its kind, whether the cell before it reduced, its channels."""
  channels, shrunk = shape.channels, False
  for number in range(shape.cells):
    kind = shape.space.kind_of(number, shape.cells)
    channels = 2 * channels if kind == 'reduce' else channels
    yield kind, shrunk, channels
    shrunk = kind == 'reduce'


def _init(shape, key):
  return ops.one_draw(key, functools.partial(_init_by, shape))


def _init_by(shape, draw):
  width = STEM_WIDTH * shape.channels
  stem = {
    'kernel': ops.conv_init(draw, (3, 3, shape.image_channels, width)),
    'scale': jnp.ones(width),
    'bias': jnp.zeros(width),
  }
  params, stats, older, newer = [], [], width, width
  for kind, shrunk, channels in _plan(shape):
    cell_params, cell_stats = cell.init(
      *(draw, shape.space, channels, older, newer, kind == 'reduce', shrunk)
    )
    params.append(cell_params)
    stats.append(cell_stats)
    older, newer = newer, channels * shape.space.nodes
  classifier = {
    'kernel': ops.conv_init(draw, (newer, shape.classes)),
    'bias': draw((shape.classes,)) / math.sqrt(newer),
  }
  return (
    {'stem': stem, 'cells': params, 'classifier': classifier},
    {'stem': layers.init_stats(width), 'cells': stats},
  )


def _apply(shape, params, stats, weights, images, train, twice=False):
  mode = layers.Mode(train, shape.axis_name, shape.plain, twice)
  newer, stem_stats = _stem(images.astype(shape.dtype), params['stem'], stats['stem'], mode)
  older, seen = newer, []
  for (kind, shrunk, _), cell_params, cell_stats in zip(
    _plan(shape), params['cells'], stats['cells'], strict=True
  ):
    y, new_stats = cell.apply(
      *(shape.space, mode, kind == 'reduce', shrunk),
      *(cell_params, cell_stats, weights[kind], older, newer),
    )
    older, newer = newer, y
    seen.append(new_stats)
  features = newer.astype(jnp.float32).mean((1, 2))
  logits = features @ params['classifier']['kernel'] + params['classifier']['bias'][None]
  return logits, {'stem': stem_stats, 'cells': seen}


def _stem(x, params, stats, mode):
  y = conv(x, params['kernel'].astype(x.dtype))
  return ops.batch_norm(y, stats, mode.train, params['scale'], params['bias'], mode.axis_name)
