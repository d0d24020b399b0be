"""The DARTS space: two inputs, four nodes, 14 edges, 8 candidate operations.

Source: Liu, Simonyan, Yang 2019, "DARTS: Differentiable Architecture Search", cnn/genotypes.py and
cnn/model_search.py of its official code.
"""

import numpy as np

from unrealnas_jax.genotype import Genotype
from unrealnas_jax.spaces.space import Space

OPS = (
  'none',
  'max_pool_3x3',
  'avg_pool_3x3',
  'skip_connect',
  'sep_conv_3x3',
  'sep_conv_5x5',
  'dil_conv_3x3',
  'dil_conv_5x5',
)
INPUTS, NODES, KEPT = 2, 4, 2
EDGES = tuple((source, node) for node in range(INPUTS, INPUTS + NODES) for source in range(node))


def kind_of(cell, cells):
  """Kind of cell number `cell` of `cells`: the ones at a third and two thirds reduce."""
  return 'reduce' if cell in (cells // 3, 2 * cells // 3) else 'normal'


def decode(weights):
  """Keeps for each node its two strongest edges, each with its strongest operation but none.

  weights: {'normal': [E, O], 'reduce': [E, O]}, the softmax taken over all operations, none too.
  The stronger edge comes first; of equal ones the first in order wins, as in the official code.
  """
  concat = tuple(range(INPUTS, INPUTS + NODES))
  normal, reduce = (_decode_cell(np.asarray(weights[kind])) for kind in ('normal', 'reduce'))
  return Genotype(normal, concat, reduce, concat)


def _decode_cell(weights):
  candidates = np.delete(weights, OPS.index('none'), axis=1)
  names = [op for op in OPS if op != 'none']
  gene = []
  for node in range(INPUTS, INPUTS + NODES):
    incoming = [edge for edge, (_, destination) in enumerate(EDGES) if destination == node]
    strongest = sorted(incoming, key=lambda edge: -candidates[edge].max())[:KEPT]
    gene += [(names[candidates[edge].argmax()], EDGES[edge][0]) for edge in strongest]
  return tuple(gene)


SPACE = Space(OPS, EDGES, INPUTS, NODES, ('normal', 'reduce'), kind_of, decode)
