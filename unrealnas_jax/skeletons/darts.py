"""The skeleton of DARTS: a stem, then cells on the outputs of the two before them.

Source: Liu et al. 2019, DARTS, cnn/model_search.py.
"""

import jax

from unrealnas_jax import cell
from unrealnas_jax.stems import STEMS


def init(draw, shape):
  """(params, stats, channels of the features)."""
  stem_params, stem_stats, (older, newer) = STEMS[shape.stem].init(
    draw, shape.image_channels, shape.channels
  )
  params, stats = [], []
  for kind, shrunk, channels in _plan(shape):
    cell_params, cell_stats = cell.init(
      *(draw, shape.space, shape.form, channels, older, newer, kind == 'reduce', shrunk)
    )
    params.append(cell_params)
    stats.append(cell_stats)
    older, newer = newer, channels * shape.space.nodes
  return {'stem': stem_params, 'cells': params}, {'stem': stem_stats, 'cells': stats}, newer


def apply(shape, mode, params, stats, weights, images, dropout=None):
  """images: [B, H, W, C] -> (features [B, H', W', C'], seen)"""
  (older, newer), seen_stem = STEMS[shape.stem].apply(images, params['stem'], stats['stem'], mode)
  seen = []
  for stage in _stages(shape):
    cells = [(n, weights[kind], params['cells'][n], stats['cells'][n]) for n, kind in stage]
    (older, newer), found = cell.apply(shape.space, shape.form, mode, cells, older, newer, dropout)
    seen += found
  return newer, {'stem': seen_stem, 'cells': seen}


def edges(space, params):
  """Weights of all edges, cell by cell: (kind, rows, stride, channels, {op: layers [rows, ...]}).

  rows: of the edges in mixing weights; channels: of the cell's states
  """
  for number, cell_params in enumerate(params['cells']):
    kind = space.kind_of(number, len(params['cells']))
    channels = cell_params['newer']['kernel'].shape[-1]
    rows = cell.walked_edges(space, kind == 'reduce')
    yield kind, rows, 1, channels, cell_params['walk']
    if kind == 'reduce':
      rows = cell.input_edges(space).reshape(-1)
      merge = lambda leaf: leaf.reshape(-1, *leaf.shape[2:])  # noqa: E731
      yield kind, rows, 2, channels, jax.tree.map(merge, cell_params['inputs'])


def _stages(shape):
  """[(number, kind) of each cell] for each row of cells of one size."""
  stages = [[]]
  for number, (kind, _, _) in enumerate(_plan(shape)):
    if kind == 'reduce':
      stages.append([])
    stages[-1].append((number, kind))
  return [stage for stage in stages if stage]


def _plan(shape):
  """For each cell: its kind, whether the cell before it reduced, its channels."""
  channels, shrunk = shape.channels, STEMS[shape.stem].shrunk
  for number in range(shape.cells):
    kind = shape.space.kind_of(number, shape.cells)
    channels = 2 * channels if kind == 'reduce' else channels
    yield kind, shrunk, channels
    shrunk = kind == 'reduce'
