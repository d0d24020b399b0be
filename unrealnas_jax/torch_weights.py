"""Weights of the official PyTorch evaluation networks as Flax variables.

PyTorch itself is only needed to open its files:

  state = torch.load('cifar10_model.pt', map_location='cpu')  # ImageNet models: ['state_dict']
  weights = {name: value.numpy() for name, value in state.items()}

Sources of the names: quark0/darts, cnn/model.py and cnn/operations.py, which PC-DARTS, P-DARTS and
others share; NAS-Bench-201, xautodl/models/cell_infers and cell_operations.py.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from unrealnas_jax.network201 import Network201

LISTED = 5  # names that one message lists

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


def variables(weights, network, image_shape=(32, 32, 3)):
  """Variables of a network, for `network.apply(variables, images, train=False)`.

  weights: official name -> numpy array, a whole state dict. network: as `network.make` makes it.
  image_shape: (H, W, C); H and W only have to be large enough, C is that of the stem.
  Left out are counters of batches, the prefix 'module.' of torch.nn.DataParallel, and an auxiliary
  head if the network has none.
  Raises ValueError: names that the network has no place for, or that are missing, or other shapes;
  most often genotype, channels, cells or classes are not those that were trained.
  """
  image = jnp.zeros((1, *image_shape))
  wanted = jax.eval_shape(functools.partial(network.init, train=False), jax.random.key(0), image)
  wanted = flatten_dict(wanted)
  found, problems = {}, []
  for name, value in weights.items():
    name = name.removeprefix('module.')
    if name.endswith('.num_batches_tracked') or _is_of_missing_head(name, network):
      continue
    where = path(name, network)
    if where in wanted:
      found[where] = array(np.asarray(value), depthwise=where[-1] == 'depthwise')
    else:
      problems.append(f'{name} has no place in the network')
  problems += [f'{"/".join(where)} is missing' for where in wanted if where not in found]
  problems += [
    f'{"/".join(where)} is {list(value.shape)}, needed is {list(wanted[where].shape)}'
    for where, value in found.items()
    if value.shape != wanted[where].shape
  ]
  if problems:
    more = f'; and {len(problems) - LISTED} more' if len(problems) > LISTED else ''
    raise ValueError(f'weights of another network: {"; ".join(problems[:LISTED])}{more}')
  return unflatten_dict({where: jnp.float32(value) for where, value in found.items()})


def path(name, network):
  """Where the array of an official name is in the variables, as keys; None if it is nowhere.

  >>> from unrealnas_jax import genotypes, networks
  >>> network = networks.make(genotypes.PUBLISHED['DARTS_V2'], channels=36, cells=20, classes=10)
  >>> path('cells.0._ops.0.op.1.weight', network)
  ('params', 'cell_0', 'edge_0', 'block_0', 'depthwise')
  """
  try:
    if isinstance(network, Network201):
      return _nasbench201_path(name, network.cells)
    return _darts_path(name, network.genotype, network.cells)
  except (KeyError, IndexError, AttributeError, ValueError):
    return None


def _is_of_missing_head(name, network):
  return name.startswith('auxiliary_head.') and not getattr(network, 'auxiliary', False)


def _darts_path(name, genotype, cells):
  """name: as in 'cells.3._ops.0.op.1.weight'; cells: their number"""
  layer, leaf = name.rsplit('.', 1)
  path = _OUTSIDE_CELLS[layer] if layer in _OUTSIDE_CELLS else _cell_path(layer, genotype, cells)
  return _leaf_path(path.split('/'), leaf)


def _nasbench201_path(name, cells):
  """name: as in 'cells.3.layers.0.op.1.weight', residual blocks being numbered among the cells."""
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


def array(value, depthwise=False):
  """A weight in our layout: [out, in, kh, kw] -> [kh, kw, in, out], [out, in] -> [in, out].

  depthwise: [C, 1, kh, kw] -> [kh, kw, C]
  """
  if depthwise:
    return np.transpose(value[:, 0], (1, 2, 0))
  return np.transpose(value, {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[value.ndim])


def _leaf_path(path, leaf):
  """Where the official array `leaf` of the layer at `path` is."""
  if leaf.startswith('running_'):
    return ('batch_stats', *path, leaf.removeprefix('running_'))
  if path[-1] == 'depthwise':  # a kernel of its block, not a layer
    return ('params', *path)
  norm = 'norm' in path[-1]
  return ('params', *path, {'weight': 'scale' if norm else 'kernel', 'bias': 'bias'}[leaf])


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
