"""Reads weights saved under the state-dict names of the official PyTorch codes into our trees."""

import re

import jax
import numpy as np

from unrealnas_jax import cell

# Names of the layers inside one operation: official position -> ours. ReLUs have no entry.
_RELU_CONV_NORM = {'op.1': 'conv', 'op.2': 'norm'}
_FACTORIZED_REDUCE = {'conv_1': 'conv_0', 'conv_2': 'conv_1', 'bn': 'norm'}
_SEPARABLE = {
  'op.1': 'block_0/depthwise',
  'op.2': 'block_0/pointwise',
  'op.3': 'block_0/norm',
  'op.5': 'block_1/depthwise',
  'op.6': 'block_1/pointwise',
  'op.7': 'block_1/norm',
}
_DILATED = {'op.1': 'depthwise', 'op.2': 'pointwise', 'op.3': 'norm'}
_ROW_COLUMN = {'1': 'conv_0', '2': 'conv_1', '3': 'norm'}
OPERATIONS = {
  'skip_connect': _FACTORIZED_REDUCE,
  'sep_conv_3x3': _SEPARABLE,
  'sep_conv_5x5': _SEPARABLE,
  'sep_conv_7x7': _SEPARABLE,
  'dil_conv_3x3': _DILATED,
  'dil_conv_5x5': _DILATED,
  'conv_7x1_1x7': _ROW_COLUMN,
}
_OUTSIDE_CELLS = {
  'stem.0': 'stem/conv',
  'stem.1': 'stem/norm',
  'stem0.0': 'stem/conv_0',
  'stem0.1': 'stem/norm_0',
  'stem0.3': 'stem/conv_1',
  'stem0.4': 'stem/norm_1',
  'stem1.1': 'stem/conv_2',
  'stem1.2': 'stem/norm_2',
  'auxiliary_head.features.2': 'auxiliary_head/conv_0',
  'auxiliary_head.features.3': 'auxiliary_head/norm_0',
  'auxiliary_head.features.5': 'auxiliary_head/conv_1',
  'auxiliary_head.features.6': 'auxiliary_head/norm_1',
  'auxiliary_head.classifier': 'auxiliary_head/classifier',
  'classifier': 'classifier',
}
_OUTSIDE_CELLS_201 = {
  'stem.0': 'stem_conv',
  'stem.1': 'stem_norm',
  'lastact.0': 'norm',
  'classifier': 'classifier',
}
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


def network_path(name, genotype, cells):
  """Collection and path in Network's variables of an official state-dict name.

  name: as in 'cells.3._ops.0.op.1.weight'; cells: their number
  """
  layer, leaf = name.rsplit('.', 1)
  path = _OUTSIDE_CELLS[layer] if layer in _OUTSIDE_CELLS else _cell_path(layer, genotype, cells)
  return _leaf_path(path.split('/'), leaf)


def network201_path(name, cells):
  """As network_path, in Network201's variables; cells: the number in each stage.

  name: as in 'cells.3.layers.0.op.1.weight', residual blocks being numbered among the cells
  """
  layer, leaf = name.rsplit('.', 1)
  if layer in _OUTSIDE_CELLS_201:
    return _leaf_path([_OUTSIDE_CELLS_201[layer]], leaf)
  number, part, inner = re.fullmatch(
    r'cells\.(\d+)\.([a-z_]+(?:\.\d)?)\.?(op\.\d)?', layer
  ).groups()
  stage, place = divmod(int(number), cells + 1)
  if place == cells:
    block = f'reduction_{stage + 1}'
    path = [block, 'downsample'] if part == 'downsample.1' else [block, part]
  else:
    path = [f'stage_{stage}_cell_{place}', part.replace('layers.', 'edge_')]
  return _leaf_path([*path, _RELU_CONV_NORM[inner]] if inner else path, leaf)


def network_variables(weights, path_of):
  """Variables of a network from {official name: array}; counters of batches are left out.

  path_of: name -> as network_path
  """
  variables = {}
  for name, value in weights.items():
    if name.endswith('num_batches_tracked'):
      continue
    collection, path = path_of(name)
    node = variables.setdefault(collection, {})
    for part in path[:-1]:
      node = node.setdefault(part, {})
    node[path[-1]] = array(value, depthwise=path[-1] == 'depthwise')
  return variables


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


def array(value, depthwise=False):
  """A weight in our layout: [out, in, kh, kw] -> [kh, kw, in, out], [out, in] -> [in, out].

  depthwise: [C, 1, kh, kw] -> [kh, kw, C]
  """
  if depthwise:
    return np.transpose(value[:, 0], (1, 2, 0))
  return np.transpose(value, {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[value.ndim])


def _leaf_path(path, leaf):
  """Collection and path of the official array `leaf` of the layer at `path`."""
  if leaf.startswith('running_'):
    return 'batch_stats', (*path, leaf.removeprefix('running_'))
  if path[-1] == 'depthwise':  # a kernel of its block, not a layer
    return 'params', tuple(path)
  norm = 'norm' in path[-1]
  return 'params', (*path, {'weight': 'scale' if norm else 'kernel', 'bias': 'bias'}[leaf])


def _group_of_edge(space, row, reduce):
  """Which stack of edges of a cell holds the edge of a row of the mixing weights, and where."""
  rows, _ = cell.walked_edges(space, reduce)
  if row in rows:
    return 'walk', (list(rows).index(row),)
  source, node = np.argwhere(cell.input_edges(space) == row)[0]
  return 'inputs', (source, node)


def _cell_path(layer, genotype, cells):
  number, part, inner = re.fullmatch(
    r'cells\.(\d+)\.(preprocess\d|_ops\.\d+)\.(.+)', layer
  ).groups()
  if part.startswith('preprocess'):
    names = _RELU_CONV_NORM if inner.startswith('op') else _FACTORIZED_REDUCE
    return f'cell_{number}/preprocess_{part[-1]}/{names[inner]}'
  reduce = int(number) in (cells // 3, 2 * cells // 3)
  edge = int(part.removeprefix('_ops.'))
  operation, _ = (genotype.reduce if reduce else genotype.normal)[edge]
  return f'cell_{number}/edge_{edge}/{OPERATIONS[operation][inner]}'
