"""Cells as graphs, and that a drawing shows them."""

import pytest

from unrealnas_jax import drawing, nasbench201
from unrealnas_jax.genotype import OPS, PUBLISHED, Genotype
from unrealnas_jax.nasbench201 import Architecture

SMALL = Genotype(
  normal=(('sep_conv_3x3', 0), ('skip_connect', 1), ('none', 2), ('max_pool_3x3', 0)),
  normal_concat=(3,),
  reduce=(('avg_pool_3x3', 1), ('avg_pool_3x3', 1)),
  reduce_concat=(2,),
)


def test_graphs_of_a_genotype_by_hand():
  normal, reduce = drawing.graphs(SMALL).values()
  assert normal.nodes == ('c_{k-2}', 'c_{k-1}', '0', '1', 'c_{k}')
  assert normal.edges == (
    ('c_{k-2}', '0', 'sep_conv_3x3'),
    ('c_{k-1}', '0', 'skip_connect'),
    ('0', '1', 'none'),
    ('c_{k-2}', '1', 'max_pool_3x3'),
    ('1', 'c_{k}', ''),
  )
  assert reduce.edges[:2] == (('c_{k-1}', '0', 'avg_pool_3x3'),) * 2


def test_graph_of_a_nasbench201_cell():
  ops = ('none', 'skip_connect', 'nor_conv_1x1', 'nor_conv_3x3', 'avg_pool_3x3', 'none')
  (graph,) = drawing.graphs(Architecture(ops)).values()
  assert graph.edges == (
    ('input', '1', 'none'),
    ('input', '2', 'skip_connect'),
    ('1', '2', 'nor_conv_1x1'),
    ('input', 'output', 'nor_conv_3x3'),
    ('1', 'output', 'avg_pool_3x3'),
    ('2', 'output', 'none'),
  )
  assert len(drawing.draw(Architecture(ops)).axes[0].patches) == 10


@pytest.mark.parametrize('genotype', [SMALL, *PUBLISHED.values()], ids=['small', *PUBLISHED])
def test_a_drawing_shows_every_operation_and_node(genotype):
  figure = drawing.draw(genotype)
  for axes, (kind, graph) in zip(figure.axes, drawing.graphs(genotype).items(), strict=True):
    assert axes.get_title() == kind
    shown = sorted(text.get_text().strip('$') for text in axes.texts if text.get_text())
    ops = [op for _, _, op in graph.edges if op]
    assert shown == sorted([*graph.nodes, *ops])
    assert len(axes.patches) == len(graph.edges) + len(graph.nodes)


def test_every_operation_has_a_colour():
  assert {op for op in OPS + nasbench201.OPS if drawing.colour_of(op) == drawing.QUIET} == {'none'}


def test_no_genotype_is_refused():
  with pytest.raises(TypeError, match="'DARTS_V2' is no genotype"):
    drawing.draw('DARTS_V2')
