"""Reads weights saved under the state-dict names of the official supernets into our trees."""

import re

import jax
import numpy as np

from unrealnas_jax import cell
from unrealnas_jax.torch_weights import array

_SUPERNET_OUTSIDE_CELLS = {
  'stem.0.weight': ('stem', 'kernel'),
  'stem.1.weight': ('stem', 'scale'),
  'stem.1.bias': ('stem', 'bias'),
  'classifier.weight': ('classifier', 'kernel'),
  'classifier.bias': ('classifier', 'bias'),
}
# Convolutions of a candidate operation: official position -> which layer of ours, which kernel.
_SUPERNET_KERNELS = {
  'op.1': (0, 'depthwise'),
  'op.2': (0, 'pointwise'),
  'op.5': (1, 'depthwise'),
  'op.6': (1, 'pointwise'),
  'conv_1': (0, 'even'),
  'conv_2': (0, 'odd'),
}


def supernet_path(name, space, cells):
  """Path in the supernet's params of an official name, and where in that array its edge is.

  name: as in 'cells.3._ops.0._ops.4.op.1.weight', the second number being the operation's
  -> (path, index): at(params, path)[index] is the weight, in the layout of `supernet_array`
  """
  if name in _SUPERNET_OUTSIDE_CELLS:
    return _SUPERNET_OUTSIDE_CELLS[name], ()
  number, part, inner = re.fullmatch(r'cells\.(\d+)\.(\w+)\.(.+)\.weight', name).groups()
  if part.startswith('preprocess'):
    layer = 'kernel' if inner == 'op.1' else _SUPERNET_KERNELS[inner][1]
    return ('cells', int(number), {'0': 'older', '1': 'newer'}[part[-1]], layer), ()
  row, op, layer = re.fullmatch(r'(\d+)\._ops\.(\d+)\.(.+)', inner).groups()
  group, index = _group_of_edge(space, int(row), space.kind_of(int(number), cells) == 'reduce')
  path = ('cells', int(number), group, space.ops[int(op)], *_SUPERNET_KERNELS[layer])
  return path, index


def supernet_array(value, path):
  """A weight in our layout: as `array`, but 1x1 kernels are matrices [in, out]."""
  value = array(value, depthwise=path[-1] == 'depthwise')
  return value[0, 0] if path[-1] in ('pointwise', 'even', 'odd') else value


def supernet_params(weights, like, space, cells):
  """Params of the supernet, shaped as `like`, from {official name: array}; NaN where none is."""
  params = jax.tree.map(lambda leaf: np.full(leaf.shape, np.nan, leaf.dtype), like)
  for name, value in weights.items():
    if re.search(r'\.(running_mean|running_var|num_batches_tracked)$', name):
      continue
    path, index = supernet_path(name, space, cells)
    leaf = params
    for part in path:
      leaf = leaf[part]
    leaf[index] = supernet_array(value, path)
  return params


def _group_of_edge(space, row, reduce):
  """Which stack of edges of a cell holds the edge of a row of the mixing weights, and where."""
  rows = cell.walked_edges(space, reduce)
  if row in rows:
    return 'walk', (list(rows).index(row),)
  source, node = np.argwhere(cell.input_edges(space) == row)[0]
  return 'inputs', (source, node)
