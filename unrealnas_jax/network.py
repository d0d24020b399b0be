"""The discrete network of a genotype: what is trained from scratch and tested after a search."""

import functools
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from unrealnas_jax import ops
from unrealnas_jax.blocks import (
  OPERATIONS,
  POOLS,
  BatchNorm,
  Conv,
  FactorizedReduce,
  Linear,
  Mode,
  ReluConvNorm,
)
from unrealnas_jax.genotype import Genotype
from unrealnas_jax.nasbench201 import Architecture
from unrealnas_jax.network201 import Network201


def make(genotype, channels, cells, classes, auxiliary=False, stem='cifar', **settings):
  """The evaluation network of a genotype of either kind.

  cells: of a Genotype the number of all cells, of an Architecture those of each of three stages.
  auxiliary, stem: only a Genotype has a choice. settings: dtype, axis_name, draw, remat, of both.
  """
  if isinstance(genotype, Architecture):
    assert (bool(auxiliary), stem) == (False, 'cifar'), 'NAS-Bench-201 has one kind of network'
    return Network201(genotype, channels, cells, classes, **settings)
  return Network(genotype, channels, cells, classes, auxiliary, stem, **settings)


class Network(nn.Module):
  """Evaluation network of DARTS for images of any size and number of channels.

  channels: width of the first cell, doubled at each of the two reductions; cells, classes: numbers.
  stem: a key of STEMS; auxiliary: adds the auxiliary head, which only computes in training.
  dtype: of the activations; parameters, statistics and logits stay float32.
  axis_name: the axis of the devices a batch is spread over (batch norm), None for one device.
  draw: what initial weights are made from (ops.one_draw); None draws one by one from init's key.
  remat: only what goes from cell to cell is kept for the gradient, the rest is computed again.
  Source: Liu et al. 2019, DARTS, cnn/model.py.
  """

  genotype: Genotype
  channels: int
  cells: int
  classes: int
  auxiliary: bool = False
  stem: str = 'cifar'
  dtype: Any = jnp.float32
  axis_name: str | None = None
  draw: Callable | None = None
  remat: bool = False

  @nn.compact
  def __call__(self, images, *, train, drop_path=0.0, example_keys=None):
    """images: [B, H, W, C] -> (logits [B, K], auxiliary logits [B, K] or None), both float32.

    drop_path: probability in [0, 1) that an edge is dropped in training, may be traced.
    example_keys: [B] PRNG keys, one an example, so that what is dropped does not depend on how
    examples are spread over devices; needed in training unless drop_path is the constant 0.
    Raises: ValueError for an unknown stem, or images too small for the auxiliary head.
    """
    if self.stem not in STEMS:
      raise ValueError(f'retrain.stem={self.stem!r}; allowed: {", ".join(STEMS)}')
    axis_name = None if self.is_initializing() else self.axis_name
    mode = Mode(train, jnp.dtype(self.dtype), axis_name, self.draw)
    reductions = (self.cells // 3, 2 * self.cells // 3)
    width, aux_logits = self.channels, None
    paths = [None] * self.cells
    if train and not (isinstance(drop_path, int | float) and drop_path == 0):
      assert example_keys is not None, 'drop_path needs example_keys'
      edges = max(len(self.genotype.normal), len(self.genotype.reduce))
      paths = drop_path_scales(example_keys, drop_path, self.cells, edges)

    older, newer = STEMS[self.stem](width, mode, name='stem')(images.astype(mode.dtype))
    shrunk = self.stem == 'imagenet'
    make_cell = nn.remat(Cell) if self.remat and not self.is_initializing() else Cell
    for number in range(self.cells):
      reduce = number in reductions
      width = 2 * width if reduce else width
      cell = make_cell(self.genotype, width, reduce, shrunk, mode, name=f'cell_{number}')
      older, newer = newer, cell(older, newer, paths[number])
      shrunk = reduce
      if self.auxiliary and number == reductions[1] and (train or self.is_initializing()):
        head = AUXILIARY_HEADS[self.stem]
        aux_logits = head(self.classes, mode, name='auxiliary_head')(newer)

    features = newer.astype(jnp.float32).mean((1, 2))
    logits = Linear(self.classes, mode, name='classifier')(features)
    return logits, aux_logits if train else None


def drop_path_scales(example_keys, drop_path, cells, edges):
  """What drop path multiplies edges by: 0 with probability drop_path, else 1 / (1 - drop_path).

  example_keys: [B] PRNG keys -> [cells, B, edges]; an example's part depends on its own key only
  """
  draw = jax.vmap(lambda key: jax.random.uniform(key, (cells, edges)))(example_keys)
  keep = 1 - drop_path
  return jnp.where(draw < keep, 1 / keep, 0).swapaxes(0, 1)


class Cell(nn.Module):
  """A cell of the genotype on the outputs of the two cells before it.

  shrunk: the older of the two has twice the height and width of the newer.
  paths: [B, edges], what each example's edges are multiplied by, or None.
  """

  genotype: Genotype
  features: int
  reduce: bool
  shrunk: bool
  mode: Mode

  @nn.compact
  def __call__(self, older, newer, paths):
    cell = 'reduce' if self.reduce else 'normal'
    edges = getattr(self.genotype, cell)
    concat = getattr(self.genotype, f'{cell}_concat')
    match = FactorizedReduce if self.shrunk else ReluConvNorm
    nodes = [
      match(self.features, self.mode, name='preprocess_0')(older),
      ReluConvNorm(self.features, self.mode, name='preprocess_1')(newer),
    ]
    pools = {}
    for first in range(0, len(edges), 2):
      left, right = (self._edge(n, *edges[n], nodes, paths, pools) for n in (first, first + 1))
      nodes.append(left + right)
    return jnp.concatenate([nodes[node] for node in concat], axis=-1)

  def _edge(self, number, name, source, nodes, paths, pools):
    stride = 2 if self.reduce and source < 2 else 1
    if (name, source) in pools:
      y = pools[name, source]
    else:
      y = OPERATIONS[name](self.features, stride, self.mode, name=f'edge_{number}')(nodes[source])
    if name in POOLS:  # one gradient for all edges that pool the same node
      pools[name, source] = y
    if paths is None or (name == 'skip_connect' and stride == 1):
      return y
    return (y * paths[:, number, None, None, None]).astype(y.dtype)


class CifarStem(nn.Module):
  """3x3 convolution to three times the width; both inputs of the first cell."""

  width: int
  mode: Mode

  @nn.compact
  def __call__(self, x):
    x = Conv(3 * self.width, (3, 3), self.mode, name='conv')(x)
    x = BatchNorm(self.mode, name='norm')(x)
    return x, x


class ImageNetStem(nn.Module):
  """Three 3x3 convolutions of stride 2; the first cell gets 1/4 and 1/8 of the image's size."""

  width: int
  mode: Mode

  @nn.compact
  def __call__(self, x):
    stages = []
    for number, features in enumerate((self.width // 2, self.width, self.width)):
      x = x if number == 0 else nn.relu(x)
      x = Conv(features, (3, 3), self.mode, (2, 2), name=f'conv_{number}')(x)
      x = BatchNorm(self.mode, name=f'norm_{number}')(x)
      stages.append(x)
    return stages[1], stages[2]


STEMS = {'cifar': CifarStem, 'imagenet': ImageNetStem}


class AuxiliaryHead(nn.Module):
  """A second classifier on the features after the last reduction, to train the cells below it.

  The official heads fit 8x8 (CIFAR) and 7x7 pixels (ImageNet) only. Here window and stride of the
  pooling shrink with smaller features so that 2x2 pixels are left for the 2x2 convolution, and the
  mean over pixels takes what larger features leave; at the official sizes nothing changes.
  """

  stride: int
  second_norm: bool
  classes: int
  mode: Mode

  @nn.compact
  def __call__(self, x):
    size = x.shape[1:3]
    if min(size) < 2:
      raise ValueError(
        f'retrain.auxiliary: the auxiliary head needs features of at least 2x2 pixels, here they '
        f'are {size[0]}x{size[1]}; allowed: larger images (data.size), or retrain.auxiliary=0'
      )
    window = tuple(min(5, pixels - 1) for pixels in size)
    strides = tuple(min(self.stride, pixels - w) for pixels, w in zip(size, window, strict=True))
    x = ops.mean_pool(nn.relu(x), window, strides)
    x = Conv(128, (1, 1), self.mode, name='conv_0')(x)
    x = nn.relu(BatchNorm(self.mode, name='norm_0')(x))
    x = Conv(768, (2, 2), self.mode, padding=(0, 0), name='conv_1')(x)
    x = BatchNorm(self.mode, name='norm_1')(x) if self.second_norm else x
    x = nn.relu(x).astype(jnp.float32).mean((1, 2))
    return Linear(self.classes, self.mode, name='classifier')(x)


# The ImageNet head lacks its second norm: a slip of the first official version that the authors
# keep because the published results were obtained with it.
AUXILIARY_HEADS = {
  'cifar': functools.partial(AuxiliaryHead, 3, True),
  'imagenet': functools.partial(AuxiliaryHead, 2, False),
}
