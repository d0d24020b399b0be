"""The DARTS space: its edges, and the rule that turns mixing weights into a genotype."""

import jax
import numpy as np

from unrealnas_jax.spaces.darts import OPS, SPACE

EDGES = SPACE.edges
FIRST = 'max_pool_3x3'  # the first operation but none


def decode(normal, reduce=None):
  """The normal cell's edges, node by node."""
  reduce = normal if reduce is None else reduce
  genes = SPACE.decode({'normal': np.asarray(normal), 'reduce': np.asarray(reduce)}).normal
  return [genes[n : n + 2] for n in range(0, len(genes), 2)]


def numbers(**edges):
  """Zeros [E, O] but for edges such as e0_3 (from state 0 to 3): {operation: number}."""
  values = np.zeros((len(EDGES), len(OPS)))
  for edge, ops in edges.items():
    row = EDGES.index(tuple(int(state) for state in edge[1:].split('_')))
    for op, value in ops.items():
      values[row, OPS.index(op)] = value
  return values


def test_edges_are_in_the_official_order():
  official = [(source, node) for node in (2, 3, 4, 5) for source in range(node)]
  assert list(EDGES) == official
  assert len(EDGES) == 14


def test_both_cells_are_decoded_each_from_its_own_weights():
  normal = numbers(e1_2={'sep_conv_5x5': 0.2}, e0_2={'skip_connect': 0.1})
  reduce = numbers(e0_2={'dil_conv_5x5': 0.2}, e1_2={'avg_pool_3x3': 0.1})
  genotype = SPACE.decode({'normal': normal, 'reduce': reduce})
  # the stronger edge comes first
  assert genotype.normal[:2] == (('sep_conv_5x5', 1), ('skip_connect', 0))
  assert genotype.reduce[:2] == (('dil_conv_5x5', 0), ('avg_pool_3x3', 1))
  assert genotype.normal_concat == genotype.reduce_concat == (2, 3, 4, 5)
  assert len(genotype.normal) == len(genotype.reduce) == 8


def test_the_two_strongest_of_all_incoming_edges_stay():
  cell = decode(
    numbers(
      e4_5={'sep_conv_3x3': 0.3, 'sep_conv_5x5': 0.4},
      e2_5={'dil_conv_3x3': 0.2},
      e3_5={'skip_connect': 0.1},
    )
  )
  assert cell[3] == (('sep_conv_5x5', 4), ('dil_conv_3x3', 2))


def test_of_equal_ones_the_first_wins():
  assert decode(np.full((14, 8), 1 / 8)) == [((FIRST, 0), (FIRST, 1))] * 4
  cell = decode(numbers(e1_4={'dil_conv_3x3': 0.3}, e3_4={'sep_conv_3x3': 0.3}))
  assert cell[2] == (('dil_conv_3x3', 1), ('sep_conv_3x3', 3))


def test_none_is_never_chosen_nor_makes_an_edge_strong():
  cell = decode(
    numbers(
      e0_3={'none': 0.9, 'sep_conv_3x3': 0.01},
      e1_3={'none': 0.1, 'sep_conv_5x5': 0.02},
      e2_3={'none': 0.1, 'dil_conv_5x5': 0.03},
    )
  )
  assert cell[1] == (('dil_conv_5x5', 2), ('sep_conv_5x5', 1))


def test_the_softmax_counts_none():
  """Alphas rank the edge from 0 first, but most of what it weighs is on none."""
  alphas = numbers(
    e0_3={'none': 5, 'sep_conv_3x3': 3},
    e1_3={'sep_conv_5x5': 2},
    e2_3={'dil_conv_5x5': 1},
  )
  assert decode(jax.nn.softmax(alphas))[1] == (('sep_conv_5x5', 1), ('dil_conv_5x5', 2))
  assert decode(alphas)[1] == (('sep_conv_3x3', 0), ('sep_conv_5x5', 1))
