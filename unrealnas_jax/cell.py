"""Cells of the DARTS supernet: two inputs brought to one shape, then mixed operations.

In a normal cell all states have one shape and are walked in order. In a reduction cell the edges
that leave the inputs halve height and width and are computed first; the nodes are walked then.
Cells of one size are the turns of one loop, so that their number does not matter to the compiler:
a turn walks a cell, and matches its output for the next cell and for the one after that.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from unrealnas_jax import layers, mixed, repeat, rows, walks


def init(draw, space, form, channels, older, newer, reduce, shrunk):
  """(params, stats) of a cell.

  form: mixed.Form; channels: of the states; older, newer: channels of the outputs of the two cells
  before. reduce: the cell halves height and width; shrunk: the cell before it did.
  """
  affine = form.affine
  newer = layers.init_relu_conv(draw, 1, newer, channels, affine)
  if shrunk:
    older = layers.init_factorized_reduce(draw, older, channels, affine)
  else:
    older = layers.init_relu_conv(draw, 1, older, channels, affine)
  pairs = {'older': older, 'newer': newer}
  rows = walked_edges(space, reduce)
  states = space.nodes if reduce else space.inputs + space.nodes
  pairs['walk'] = mixed.init(draw, form, channels, 1, states, len(rows))
  if reduce:
    leading = space.inputs, space.nodes
    pairs['inputs'] = mixed.init(draw, form, channels, 2, space.inputs, *leading)
  return [{name: pair[side] for name, pair in pairs.items()} for side in (0, 1)]


def apply(space, form, mode, cells, older, newer, dropout=None):
  """Cells in a row whose states have one shape, that is up to the next reduction.

  cells: [(number in the network, weights [E, O], params, stats), ...]
  older, newer: outputs [B, H, W, C'] of the two cells before
  dropout: (key, rate) for form.skip_dropout, independent of each other in each cell
  -> (outputs [B, H', W', nodes * C] of the last two cells, seen of each cell)
  """
  bank, second, entered = _enter(space, form, mode, cells, older, newer)
  empty = jnp.zeros((*second.shape[:-1], space.nodes * second.shape[-1]), second.dtype)
  body = functools.partial(_one_cell, space, form, mode, dropout)
  parts = [_equal_part(space, form, cells, place) for place in range(len(cells))]
  (*_, previous, last), found = repeat.over(mode, body, (bank, second, empty, empty), parts)
  seen = []
  for place, (walked, _, _) in enumerate(found):
    if place:
      entered[place]['newer'] = found[place - 1][1]
    if place > 1:
      entered[place]['older'] = found[place - 2][2]
    *_, params, _ = cells[place]
    seen.append(entered[place] | {'walk': _walked_part(space, walked, 'inputs' in params)})
  return (newer if len(cells) == 1 else previous, last), seen


def _enter(space, form, mode, cells, older, newer):
  """What the first cells make of what comes from before them.

  -> (bank of the first cell, older state of the second, what was seen of each cell)
  """
  seen = [{} for _ in cells]

  def match(place, name, x):
    *_, params, stats = cells[place]
    layer = layers.factorized_reduce if 'even' in params[name] else layers.relu_conv
    y, seen[place][name] = layer(x, params[name], stats[name], mode)
    return y

  states = jnp.stack([match(0, 'older', older), match(0, 'newer', newer)])
  _, weights, params, stats = cells[0]
  if 'inputs' in params:
    arguments = params['inputs'], stats['inputs'], weights[input_edges(space)]
    nodes, seen[0]['inputs'] = walks.reduce_inputs(form, mode, states, *arguments)
    bank = walks.padded(nodes, (space.inputs, 0))
  else:
    bank = walks.begin(form, states, space.nodes)
  if len(cells) > 1:
    second = match(1, 'older', newer)
  else:
    second = jnp.zeros_like(mixed.join(rows.at(bank, 0)))
  return bank, second, seen


def _one_cell(space, form, mode, dropout, carry, part):
  """Walks a cell and makes of its output the states that the next two begin with."""
  bank, older, _, previous = carry
  dropout = walks.part_of_dropout(dropout, part['number'])
  walked = part['params']['walk'], part['stats']['walk'], part['weights']
  bank, seen = walks.walk(form, mode, space.edges, bank, *walked, dropout, part['first'])
  leave = functools.partial(_leave, space, mode, part)
  if not isinstance(part['number'], int):
    # A loop would keep the output; it is made again from the states that `walk` keeps anyway.
    leave = jax.checkpoint(leave, prevent_cse=False)
  output, (newer, seen_newer), (after, seen_older) = leave(bank)
  bank = walks.begin(form, jnp.stack([older, newer]), space.nodes)
  return (bank, after, previous, output), (seen, seen_newer, seen_older)


def _leave(space, mode, part, bank):
  """A cell's output, and the newer state of the next cell and the older of the one after it."""
  nodes = range(len(bank[0]) - space.nodes, len(bank[0]))
  output = jnp.concatenate([channels[n] for n in nodes for channels in bank], axis=-1)

  def match(x, params, stats):
    return layers.relu_conv(x, params, stats, mode)

  def leave_out(x, params, stats):
    return jnp.zeros((*x.shape[:-1], params['kernel'].shape[-1]), x.dtype), stats

  states = [
    repeat.choose(
      *(part[f'has_{name}'], match, leave_out),
      *(output, part['params'][name], part['stats'][name]),
    )
    for name in ('newer', 'older')
  ]
  return output, *states


def _equal_part(space, form, cells, place):
  """What `_one_cell` needs of a cell and of the next two, in a form that all cells share."""
  number, weights, params, stats = cells[place]
  reduces, channels = 'inputs' in params, params['newer']['kernel'].shape[-1]
  walked, walked_stats = params['walk'], stats['walk']
  if reduces:
    rows, states = walked_edges(space, True), space.inputs + space.nodes
    walked = _spread(walked, rows, len(space.edges))
    walked_stats = {
      'edges': _spread(walked_stats['edges'], rows, len(space.edges)),
      'pools': _spread(walked_stats['pools'], np.arange(space.inputs, states), states),
    }
  part = {'number': number, 'weights': weights, 'first': space.inputs if reduces else 0}
  part |= {'params': {'walk': walked}, 'stats': {'walk': walked_stats}}
  none = layers.init_relu_conv(jnp.zeros, 1, space.nodes * channels, channels, form.affine)
  for name, ahead in (('newer', 1), ('older', 2)):
    part[f'has_{name}'] = place + ahead < len(cells)
    *_, params, stats = cells[place + ahead] if part[f'has_{name}'] else [{name: x} for x in none]
    part['params'][name], part['stats'][name] = params[name], stats[name]
  return part


def _walked_part(space, seen, reduces):
  """What was seen of the edges and states that a cell has."""
  if not reduces:
    return seen
  rows = walked_edges(space, True)
  return {
    'edges': jax.tree.map(lambda leaf: leaf[rows], seen['edges']),
    'pools': jax.tree.map(lambda leaf: leaf[space.inputs :], seen['pools']),
  }


def _spread(tree, rows, count):
  """Puts the rows of each leaf among `count` rows, zeros elsewhere."""
  return jax.tree.map(lambda leaf: jnp.zeros((count, *leaf.shape[1:])).at[rows].set(leaf), tree)


def walked_edges(space, reduce):
  """Rows of the walked edges in the mixing weights."""
  first = space.inputs if reduce else 0
  return np.array([row for row, (source, _) in enumerate(space.edges) if source >= first])


def input_edges(space):
  """Rows of the edges from inputs to nodes in the mixing weights, [inputs, nodes]."""
  nodes = range(space.inputs, space.inputs + space.nodes)
  return np.array([[space.edges.index((i, n)) for n in nodes] for i in range(space.inputs)])
