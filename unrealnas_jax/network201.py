"""The discrete network of a NAS-Bench-201 cell.

Source: Dong and Yang 2020, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture
Search", and its official code, xautodl/models/cell_infers and cell_operations.py.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from unrealnas_jax.blocks import OPERATIONS, BatchNorm, Conv, Linear, Mode, ReluConvNorm
from unrealnas_jax.nasbench201 import EDGES, NODES, Architecture

STAGES = 3
KERNELS = {'nor_conv_1x1': (1, 1), 'nor_conv_3x3': (3, 3)}


class Network201(nn.Module):
  """Three stages of equal cells; between them the size halves and the width doubles.

  channels: width of the first stage; cells: number in each stage; classes: a number.
  dtype: of the activations; parameters, statistics and logits stay float32.
  axis_name: the axis of the devices a batch is spread over (batch norm), None for one device.
  draw: what initial weights are made from (ops.one_draw); None draws one by one from init's key.
  remat: only what goes from cell to cell is kept for the gradient, the rest is computed again.
  """

  architecture: Architecture
  channels: int
  cells: int
  classes: int
  dtype: Any = jnp.float32
  axis_name: str | None = None
  draw: Callable | None = None
  remat: bool = False

  @nn.compact
  def __call__(self, images, *, train, drop_path=0.0, example_keys=None):
    """images: [B, H, W, C] -> (logits [B, K] float32, None), as network.Network has them.

    drop_path, example_keys: as Network takes them; nothing is dropped here, so the first must be 0.
    """
    assert isinstance(drop_path, int | float), 'drop_path must be the constant 0'
    assert drop_path == 0
    axis_name = None if self.is_initializing() else self.axis_name
    mode = Mode(train, jnp.dtype(self.dtype), axis_name, self.draw)
    x = Conv(self.channels, (3, 3), mode, name='stem_conv')(images.astype(mode.dtype))
    x = BatchNorm(mode, name='stem_norm')(x)
    make_cell = nn.remat(Cell) if self.remat and not self.is_initializing() else Cell
    for stage in range(STAGES):
      if stage:
        x = Reduction(self.channels * 2**stage, mode, name=f'reduction_{stage}')(x)
      for number in range(self.cells):
        x = make_cell(self.architecture, mode, name=f'stage_{stage}_cell_{number}')(x)
    x = nn.relu(BatchNorm(mode, name='norm')(x))
    features = x.astype(jnp.float32).mean((1, 2))
    return Linear(self.classes, mode, name='classifier')(features), None


class Cell(nn.Module):
  """The cell on one input, whose size and width it keeps."""

  architecture: Architecture
  mode: Mode

  @nn.compact
  def __call__(self, x):
    nodes = [x]
    for node in range(1, NODES):
      incoming = [number for number, (_, into) in enumerate(EDGES) if into == node]
      nodes.append(sum(self._edge(number, nodes[EDGES[number][0]]) for number in incoming))
    return nodes[-1]

  def _edge(self, number, x):
    op, features, name = self.architecture.ops[number], x.shape[-1], f'edge_{number}'
    if op in KERNELS:
      return ReluConvNorm(features, self.mode, KERNELS[op], name=name)(x)
    return OPERATIONS[op](features, 1, self.mode, name=name)(x)


class Reduction(nn.Module):
  """Residual block of stride 2; odd sizes, which the official block refuses, are rounded up."""

  features: int
  mode: Mode

  @nn.compact
  def __call__(self, x):
    y = ReluConvNorm(self.features, self.mode, (3, 3), (2, 2), name='conv_a')(x)
    y = ReluConvNorm(self.features, self.mode, (3, 3), name='conv_b')(y)
    shortcut = nn.avg_pool(x, (2, 2), (2, 2), 'SAME', count_include_pad=False)
    return Conv(self.features, (1, 1), self.mode, name='downsample')(shortcut) + y
