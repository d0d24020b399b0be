"""The skeleton of DARTS: a stem, then cells on the outputs of the two before them.

Source: Liu et al. 2019, DARTS, cnn/model_search.py.
"""

import jax

from unrealnas_jax import cell, layers, ops
from unrealnas_jax.dense import conv

STEM_WIDTH = 3  # channels of the stem over channels of the first cell


def init(draw, shape):
  """(params, stats, channels of the features)."""
  width = STEM_WIDTH * shape.channels
  stem_params, stem_stats = init_stem(draw, shape.image_channels, width)
  params, stats, older, newer = [], [], width, width
  for kind, shrunk, channels in _plan(shape):
    cell_params, cell_stats = cell.init(
      *(draw, shape.space, shape.form, channels, older, newer, kind == 'reduce', shrunk)
    )
    params.append(cell_params)
    stats.append(cell_stats)
    older, newer = newer, channels * shape.space.nodes
  return {'stem': stem_params, 'cells': params}, {'stem': stem_stats, 'cells': stats}, newer


def apply(shape, mode, params, stats, weights, images, dropout=None):
  """images: [B, H, W, C] -> (features [B, H', W', C'], new stats)"""
  newer, stem_stats = stem(images, params['stem'], stats['stem'], mode)
  older, seen = newer, []
  for number, (kind, shrunk, _) in enumerate(_plan(shape)):
    y, new_stats = cell.apply(
      *(shape.space, shape.form, mode, kind == 'reduce', shrunk),
      *(params['cells'][number], stats['cells'][number], weights[kind], older, newer),
      dropout and (jax.random.fold_in(dropout[0], number), dropout[1]),
    )
    older, newer = newer, y
    seen.append(new_stats)
  return newer, {'stem': stem_stats, 'cells': seen}


def edges(space, params):
  """Weights of all edges, cell by cell: (kind, rows, stride, channels, {op: layers [rows, ...]}).

  rows: of the edges in mixing weights; channels: of the cell's states
  """
  for number, cell_params in enumerate(params['cells']):
    kind = space.kind_of(number, len(params['cells']))
    channels = cell_params['newer']['kernel'].shape[-1]
    rows, _ = cell.walked_edges(space, kind == 'reduce')
    yield kind, rows, 1, channels, cell_params['walk']
    if kind == 'reduce':
      rows = cell.input_edges(space).reshape(-1)
      merge = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])  # noqa: E731
      yield kind, rows, 2, channels, jax.tree.map(merge, cell_params['inputs'])


def init_stem(draw, channels_in, width):
  """(params, stats) of stem; its norm has a scale and a bias in every supernet."""
  params, stats = layers.init_norm(width, True)
  return {'kernel': ops.conv_init(draw, (3, 3, channels_in, width)), **params}, stats


def stem(x, params, stats, mode):
  """3x3 convolution, norm."""
  return layers.norm(conv(x, params['kernel'].astype(x.dtype)), params, stats, mode)


def _plan(shape):
  """For each cell: its kind, whether the cell before it reduced, its channels."""
  channels, shrunk = shape.channels, False
  for number in range(shape.cells):
    kind = shape.space.kind_of(number, shape.cells)
    channels = 2 * channels if kind == 'reduce' else channels
    yield kind, shrunk, channels
    shrunk = kind == 'reduce'
