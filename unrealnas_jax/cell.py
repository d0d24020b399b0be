"""A cell of the DARTS supernet: its two inputs brought to one shape, then mixed operations.

In a normal cell all states have one shape and are walked in order. In a reduction cell the edges
that leave the inputs halve height and width and are computed first; the nodes are walked then.
"""

import jax.numpy as jnp
import numpy as np

from unrealnas_jax import layers, mixed


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
  rows, _ = walked_edges(space, reduce)
  states = space.nodes if reduce else space.inputs + space.nodes
  pairs['walk'] = mixed.init(draw, form, channels, 1, states, len(rows))
  if reduce:
    leading = space.inputs, space.nodes
    pairs['inputs'] = mixed.init(draw, form, channels, 2, space.inputs, *leading)
  return [{name: pair[side] for name, pair in pairs.items()} for side in (0, 1)]


def apply(space, form, mode, reduce, shrunk, params, stats, weights, older, newer, dropout=None):
  """older, newer: [B, H, W, C'], weights: [E, O] -> ([B, H', W', nodes * C], seen).

  dropout: (key, rate) for form.skip_dropout
  """
  seen = {}
  match = layers.factorized_reduce if shrunk else layers.relu_conv
  older, seen['older'] = match(older, params['older'], stats['older'], mode)
  newer, seen['newer'] = layers.relu_conv(newer, params['newer'], stats['newer'], mode)
  bank = jnp.stack([older, newer])
  if reduce:
    bank, seen['inputs'] = mixed.reduce_inputs(
      form, mode, bank, params['inputs'], stats['inputs'], weights[input_edges(space)]
    )
  else:
    bank = jnp.pad(mixed.unshuffle(form, bank), [(0, space.nodes)] + [(0, 0)] * 4)
  rows, edges = walked_edges(space, reduce)
  bank, seen['walk'] = mixed.walk(
    form, mode, edges, bank, params['walk'], stats['walk'], weights[rows], dropout
  )
  return jnp.concatenate(list(bank[-space.nodes :]), axis=-1), seen


def walked_edges(space, reduce):
  """Rows of the walked edges in the mixing weights, and the edges between walked states."""
  first = space.inputs if reduce else 0
  rows = [row for row, (source, _) in enumerate(space.edges) if source >= first]
  return np.array(rows), tuple((s - first, d - first) for s, d in (space.edges[r] for r in rows))


def input_edges(space):
  """Rows of the edges from inputs to nodes in the mixing weights, [inputs, nodes]."""
  nodes = range(space.inputs, space.inputs + space.nodes)
  return np.array([[space.edges.index((i, n)) for n in nodes] for i in range(space.inputs)])
