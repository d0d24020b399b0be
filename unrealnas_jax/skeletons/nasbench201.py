"""The skeleton of NAS-Bench-201: three stages of cells at C, 2C and 4C channels.

A residual block halves height and width between stages; a cell's output is its last node.
Source: Dong, Yang 2020, "NAS-Bench-201"; AutoDL-Projects, models/cell_searchs.
"""

import functools

import jax

from unrealnas_jax import layers, mixed, ops, repeat, rows, walks
from unrealnas_jax.stems import conv_norm, init_conv

STAGES = 3


def init(draw, shape):
  """(params, stats, channels of the features); shape.cells: of each stage."""
  space, form, channels = shape.space, shape.form, shape.channels
  pairs = {'stem': init_conv(draw, shape.image_channels, channels)}
  for stage in range(STAGES):
    if stage:
      pairs[f'reduce_{stage}'] = _init_reduce(draw, channels, form.affine)
      channels *= 2
    states = space.inputs + space.nodes
    pairs[f'cells_{stage}'] = _columns(
      mixed.init(draw, form, channels, 1, states, len(space.edges)) for _ in range(shape.cells)
    )
  pairs['last'] = layers.init_norm(channels, True)
  params, stats = ({name: pair[n] for name, pair in pairs.items()} for n in (0, 1))
  return params, stats, channels


def apply(shape, mode, params, stats, weights, images, dropout=None):
  """images: [B, H, W, C] -> (features [B, H', W', C'], seen)"""
  seen = {}
  x, seen['stem'] = conv_norm(images, params['stem'], stats['stem'], mode)
  for stage in range(STAGES):
    if stage:
      name = f'reduce_{stage}'
      x, seen[name] = _reduce(x, params[name], stats[name], mode)
    name = f'cells_{stage}'
    cells = [
      {'number': stage * shape.cells + n, 'params': params[name][n], 'stats': stats[name][n]}
      for n in range(shape.cells)
    ]
    body = functools.partial(_cell, shape, mode, weights['normal'], dropout)
    x, seen[name] = repeat.over(mode, body, x, cells)
  x, seen['last'] = layers.norm(x, params['last'], stats['last'], mode)
  return jax.nn.relu(x), seen


def edges(space, params):
  """As of skeletons.darts."""
  rows = list(range(len(space.edges)))
  for stage in range(STAGES):
    channels = params['stem']['kernel'].shape[-1] * 2**stage
    for cell_params in params[f'cells_{stage}']:
      yield 'normal', rows, 1, channels, cell_params


def _cell(shape, mode, weights, dropout, x, one):
  space, form = shape.space, shape.form
  dropout = walks.part_of_dropout(dropout, one['number'])
  bank = walks.begin(form, x[None], space.nodes)
  variables = one['params'], one['stats'], weights
  bank, seen = walks.walk(form, mode, space.edges, bank, *variables, dropout=dropout)
  return mixed.join(rows.at(bank, len(bank[0]) - 1)), seen


def _init_reduce(draw, channels, affine):
  pairs = {
    'a': layers.init_relu_conv(draw, 3, channels, 2 * channels, affine),
    'b': layers.init_relu_conv(draw, 3, 2 * channels, 2 * channels, affine),
  }
  params, stats = ({name: pair[n] for name, pair in pairs.items()} for n in (0, 1))
  return params | {'shortcut': ops.conv_init(draw, (channels, 2 * channels))}, stats


def _reduce(x, params, stats, mode):
  """Two convolutions, the first of stride 2, beside a mean of 2x2 pixels and a 1x1 convolution."""
  seen = {}
  y, seen['a'] = layers.relu_conv(x, params['a'], stats['a'], mode, strides=(2, 2))
  y, seen['b'] = layers.relu_conv(y, params['b'], stats['b'], mode)
  return y + layers.pointwise(ops.mean_of_blocks(x), params['shortcut'], mode), seen


def _columns(pairs):
  """[(params, stats), ...] -> ([params, ...], [stats, ...])"""
  return tuple(list(column) for column in zip(*pairs, strict=True))
