"""Layouts of graphs: nothing on top of another, edges from left to right and from node to node."""

import itertools
import json
import shutil

import numpy as np
import pytest

from unrealnas_jax import drawing, genotype, graph_layout
from unrealnas_jax.graph_layout import Graph

DIAMOND = Graph(
  ('in', 'a', 'b', 'out'),
  (
    ('in', 'a', 'first'),
    ('in', 'b', 'second'),
    ('a', 'b', 'third'),
    ('a', 'b', 'parallel to the third'),
    ('b', 'out', ''),
    ('in', 'out', 'far'),
  ),
)
GRAPHS = {'diamond': DIAMOND} | {
  f'{name} {kind}': graph
  for name in ('DARTS_V2', 'AmoebaNet', 'NASNet', 'PDARTS')
  for kind, graph in drawing.graphs(genotype.PUBLISHED[name]).items()
}


def size_of(text):
  return 6 * len(text), 12


def boxes(graph, layout):
  """name or label -> its left, lower, right and upper bounds."""
  centres = dict(layout.nodes)
  for number, ((_, _, label), (_, centre)) in enumerate(
    zip(graph.edges, layout.edges, strict=True)
  ):
    centres |= {(number, label): centre} if label else {}
  found = {}
  for item, (x, y) in centres.items():
    width, height = size_of(item if isinstance(item, str) else item[1])
    found[item] = x - width / 2, y - height / 2, x + width / 2, y + height / 2
  return found


def check(graph, layout, tolerance):
  """What a reader needs of a layout; tolerance in points."""
  assert set(layout.nodes) == set(graph.nodes)
  shown = boxes(graph, layout)
  for (one, a), (other, b) in itertools.combinations(shown.items(), 2):
    overlap = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    assert min(overlap) <= tolerance, f'{one} and {other} overlap by {overlap}'
  for left, lower, right, upper in shown.values():
    assert -tolerance <= left <= right <= layout.size[0] + tolerance
    assert -tolerance <= lower <= upper <= layout.size[1] + tolerance
  for (source, destination, _), (points, _) in zip(graph.edges, layout.edges, strict=True):
    assert len(points) % 3 == 1
    assert layout.nodes[source][0] < layout.nodes[destination][0]
    for end, (x, y) in ((source, points[0]), (destination, points[-1])):
      left, lower, right, upper = shown[end]
      assert left - tolerance <= x <= right + tolerance, (source, destination)
      assert lower - tolerance <= y <= upper + tolerance, (source, destination)


@pytest.mark.parametrize('name', GRAPHS)
def test_layers_are_readable(name):
  check(GRAPHS[name], graph_layout.layered(GRAPHS[name], size_of), 1e-6)


@pytest.mark.parametrize('name', GRAPHS)
def test_lines_of_layers_pass_no_node(name):
  graph = GRAPHS[name]
  layout = graph_layout.layered(graph, size_of)
  shown = {item: box for item, box in boxes(graph, layout).items() if isinstance(item, str)}
  for (source, destination, _), (points, _) in zip(graph.edges, layout.edges, strict=True):
    for start in range(0, len(points) - 1, 3):
      for t in (n / 20 for n in range(21)):
        terms = ((1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3)
        x, y = np.array(terms) @ np.array(points[start : start + 4])
        for item, (left, lower, right, upper) in shown.items():
          inside = left < x < right and lower < y < upper
          assert not inside, f'{source} to {destination} passes {item}'


def test_parallel_edges_are_told_apart():
  third, parallel = graph_layout.layered(DIAMOND, size_of).edges[2:4]
  assert third[0][0] == parallel[0][0]
  assert third[1] != parallel[1]


def test_graph_without_edges():
  layout = graph_layout.layered(Graph(('a',), ()), size_of)
  assert layout == ({'a': (3, 6)}, [], (6, 12))


@pytest.mark.skipif(not shutil.which('dot'), reason='graphviz is not installed')
@pytest.mark.parametrize('name', GRAPHS)
def test_dot_is_readable(name):
  # Dot rounds, and ends lines a point before or in a node; its labels may touch.
  check(GRAPHS[name], graph_layout._by_dot(GRAPHS[name], size_of), 3)


def put_dot(folder, monkeypatch, script):
  """Makes `dot` a shell script."""
  (folder / 'dot').write_text(f'#!/bin/sh\n{script}\n')
  (folder / 'dot').chmod(0o755)
  monkeypatch.setenv('PATH', str(folder), prepend=':')


def test_what_dot_says_is_taken(tmp_path, monkeypatch):
  told = {
    'bb': '0,0,100,50',
    'objects': [
      {'name': '%0', '_gvid': 0},
      {'name': '0', 'pos': '10,20'},
      {'name': '1', 'pos': '90,30.5'},
    ],
    'edges': [{'number': '0', 'pos': 'e,80,30 20,20 40,20 60,30 70,30', 'lp': '50,40'}],
  }
  (tmp_path / 'told.json').write_text(json.dumps(told))
  put_dot(tmp_path, monkeypatch, f'cat > /dev/null; cat {tmp_path}/told.json')
  layout = graph_layout.lay_out(Graph(('a', 'b'), (('a', 'b', 'x'),)), size_of)
  assert layout.nodes == {'a': (10, 20), 'b': (90, 30.5)}
  assert layout.edges == [([(20, 20), (40, 20), (60, 30), (80, 30)], (50, 40))]
  assert layout.size == (100, 50)


@pytest.mark.parametrize('script', ['exit 1', 'cat > /dev/null; echo no JSON', 'echo "{}"'])
def test_a_broken_dot_is_done_without(tmp_path, monkeypatch, script):
  put_dot(tmp_path, monkeypatch, script)
  assert graph_layout.lay_out(DIAMOND, size_of) == graph_layout.layered(DIAMOND, size_of)
