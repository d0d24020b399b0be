"""The supernet: a network whose cells mix all candidate operations by weights [E, O].

Source: Liu et al. 2019, DARTS, cnn/model_search.py.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from unrealnas_jax import heads, layers, microbatch, objective, ops
from unrealnas_jax.mixed import Form
from unrealnas_jax.spaces.space import Space


class Net(NamedTuple):
  """Pure functions of a supernet.

  init: key -> (params, stats), stats being the running statistics of batch norm
  apply: (params, stats, weights, images [B, H, W, C], train) -> (logits [B, K] float32, new stats);
    with tiles images are [B, tiles, h, w, C], per pixel logits are [B, H, W, K]
  loss: (params, stats, weights, images, labels) -> (objective.loss, (new stats, logits)),
    in training mode unless train=False, in parts of shape.microbatch images; labels: as objective
    takes them. With twice=True jax.jvp can be taken of its gradient with respect to the weights.
    learns: as in layers.Mode, smoothing: of labels
  kept: {kind: bool [E, O]}, the operations that are left to each edge; None for all
  smoothing: of train_loss
  one_program: whether methods.one_program should make the steps that it can
  weights: {kind of cell: [E, O]}, what each operation of each edge is multiplied by. Where
  shape.skip_dropout is set, loss also takes dropout=(key, rate).
  """

  space: Space
  init: Callable
  apply: Callable
  loss: Callable
  kept: dict | None = None
  smoothing: float = 0.0
  one_program: bool = False

  @property
  def train_loss(self):
    """The loss that params are trained by; all else is measured by `loss`, of sharp labels."""
    return functools.partial(self.loss, smoothing=self.smoothing) if self.smoothing else self.loss


class Shape(NamedTuple):
  """What a supernet is built from.

  channels: of the first cell, doubled at each reduction; classes: their number.
  cells: their number, of NAS-Bench-201 in each of the three stages.
  dtype: of the activations; parameters, statistics and logits stay float32.
  axis_name: the axis of the devices that a batch is spread over, None for one device.
  stem: a key of STEMS, for spaces on the skeleton of DARTS.
  tiles, per_pixel: the head, as heads.apply has it; an example is so many images, or each of its
  pixels is classified.
  microbatch: images over all devices that loss computes at once, as in microbatch.mean_loss.
  plain: as in layers.Mode; affine, partial, sparse, skip_dropout: as in mixed.Form.
  """

  space: Space
  channels: int
  cells: int
  classes: int
  image_channels: int
  dtype: Any = jnp.float32
  axis_name: str | None = None
  stem: str = 'cifar'
  tiles: int = 1
  per_pixel: bool = False
  microbatch: int = 0
  plain: bool = False
  affine: bool = False
  partial: int = 1
  sparse: bool = False
  skip_dropout: bool = False

  @property
  def form(self):
    """What the edges of all cells are made of."""
    pool_norm = self.space.pool_norm
    return Form(self.space.ops, pool_norm, *(getattr(self, name) for name in Form._fields[2:]))


def make(shape):
  """The supernet of a Shape."""
  apply = functools.partial(_apply, shape)

  def loss(params, stats, weights, images, labels, dropout=None, train=True, smoothing=0.0, **mode):
    def of_part(number, images, labels):
      drop = dropout and (jax.random.fold_in(dropout[0], number), dropout[1])
      logits, new = apply(params, stats, weights, images, train=train, dropout=drop, **mode)
      return objective.loss(logits, labels, smoothing), (new, logits)

    examples = images, labels
    return microbatch.mean_loss(of_part, examples, shape.microbatch, shape.axis_name)

  one_program = not shape.plain and jax.default_backend() == 'cpu'
  return Net(shape.space, functools.partial(_init, shape), apply, loss, one_program=one_program)


def _init(shape, key):
  return ops.one_draw(key, functools.partial(_init_by, shape))


def _init_by(shape, draw):
  params, stats, features = shape.space.skeleton.init(draw, shape)
  classifier = heads.init(draw, features, shape.classes, shape.tiles)
  return params | {'classifier': classifier}, stats


def _apply(
  shape, params, stats, weights, images, train, dropout=None, twice=False, learns=None
):  # fmt: skip
  mode = layers.Mode(train, shape.axis_name, shape.plain, twice, learns=learns)
  size = images.shape[1:3] if shape.per_pixel else None
  images = images.reshape(-1, *images.shape[-3:])  # the cells take a tile for an image
  features, seen = shape.space.skeleton.apply(
    shape, mode, params, stats, weights, images.astype(shape.dtype), dropout
  )
  logits = heads.apply(features, params['classifier'], shape.tiles, size)
  return logits, ops.running(stats, seen)
