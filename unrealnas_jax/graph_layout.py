"""Where the nodes and edges of a small graph go, from left to right.

Graphviz's program dot decides where it is installed, else layers as Sugiyama, Tagawa and Toda 1981
make them: nodes by their longest path from a source, edges through every layer between.
"""

import json
import shutil
import subprocess
from typing import NamedTuple

GAP = (26, 10)  # points between layers, and between what stands in one layer
SWEEPS = 12  # over all layers, of ordering and of evening out


class Graph(NamedTuple):
  """A graph without cycles.

  nodes: names. edges: (source, destination, label); a label may be ''.
  """

  nodes: tuple[str, ...]
  edges: tuple[tuple[str, str, str], ...]


class Layout(NamedTuple):
  """Positions in points, the origin at the lower left.

  nodes: name -> centre. edges: for each edge its line as 1 + 3k points of a cubic Bezier path, and
  the centre of its label. size: of the whole.
  """

  nodes: dict[str, tuple[float, float]]
  edges: list[tuple[list[tuple[float, float]], tuple[float, float]]]
  size: tuple[float, float]


def lay_out(graph, size_of):
  """The Layout of a Graph.

  size_of: text of a node or label -> (width, height) in points of the room it needs
  """
  by_dot = _by_dot(graph, size_of) if shutil.which('dot') else None
  return by_dot or layered(graph, size_of)


def _by_dot(graph, size_of):
  """What dot says, None where it fails: some installations lack its plugins."""
  numbers = {name: number for number, name in enumerate(graph.nodes)}
  lines = ['rankdir=LR; nodesep=0.2; ranksep=0.3; node [shape=box, fixedsize=true, label=""];']
  for name, number in numbers.items():
    width, height = (points / 72 for points in size_of(name))
    lines.append(f'{number} [width={width:.3f}, height={height:.3f}];')
  reached = {destination for _, destination, _ in graph.edges}
  sources = ' '.join(f'{number};' for name, number in numbers.items() if name not in reached)
  lines.append(f'{{rank=source; {sources}}}')
  for number, (source, destination, label) in enumerate(graph.edges):
    width, height = size_of(label) if label else (1, 1)
    room = f'<table border="0" fixedsize="true" width="{width:.0f}" height="{height:.0f}">'
    label = f'<{room}<tr><td></td></tr></table>>'
    ends = f'{numbers[source]} -> {numbers[destination]}'
    lines.append(f'{ends} [number={number}, label={label}];')
  text = f'digraph {{{" ".join(lines)}}}'
  try:
    ended = subprocess.run(
      ['dot', '-Tjson0'], input=text, capture_output=True, text=True, check=True, timeout=30
    )
    return _read_dot(graph, json.loads(ended.stdout))
  except (OSError, subprocess.SubprocessError, ValueError, KeyError):
    return None


def _read_dot(graph, told):
  nodes = {
    graph.nodes[int(node['name'])]: _point(node['pos'])
    for node in told['objects']
    if node['name'].isdecimal()
  }
  edges = [None] * len(graph.edges)
  for edge in told['edges']:
    tip, *points = edge['pos'].split()
    points = [_point(point) for point in points]
    points[-1] = _point(tip.removeprefix('e,'))  # dot leaves room for an arrow of its own
    edges[int(edge['number'])] = points, _point(edge['lp'])
  return Layout(nodes, edges, _point(','.join(told['bb'].split(',')[2:])))


def _point(text):
  x, y = text.split(',')
  return float(x), float(y)


def layered(graph, size_of):
  """As `lay_out`, without dot."""
  layers, chains = _layers(graph)
  sizes = {name: size_of(name) for name in graph.nodes}
  for (_, _, label), chain in zip(graph.edges, chains, strict=True):
    sizes |= dict.fromkeys(chain[1:-1], (1, 1))
    sizes[_middle(chain)] = size_of(label) if label else (1, 1)
  links = [link for chain in chains for link in zip(chain, chain[1:], strict=False)]
  layers = _ordered(layers, links)
  y = _heights(layers, links, sizes)
  x, right = {}, -GAP[0]
  for layer in layers:
    width = max(sizes[item][0] for item in layer)
    # A line that passes is level over the whole width, or it would cut corners of nodes.
    sizes |= {item: (width, sizes[item][1]) for item in layer if not isinstance(item, str)}
    x |= {item: right + GAP[0] + width / 2 for item in layer}
    right += GAP[0] + width
  bottom = min(y[item] - sizes[item][1] / 2 for item in y)
  top = max(y[item] + sizes[item][1] / 2 for item in y)
  place = {item: (x[item], y[item] - bottom) for item in y}
  edges = [_route(chain, place, sizes) for chain in chains]
  return Layout({name: place[name] for name in graph.nodes}, edges, (right, top - bottom))


def _layers(graph):
  """The items of each layer, and for each edge its chain of items from one end to the other.

  An item is the name of a node, or (edge, layer) for an edge that passes. Between two layers of
  nodes there is one for labels.
  """
  rank = dict.fromkeys(graph.nodes, 0)
  for _ in graph.nodes:
    for source, destination, _ in graph.edges:
      rank[destination] = max(rank[destination], rank[source] + 2)
  layers = [[] for _ in range(max(rank.values()) + 1)]
  for name in reversed(graph.nodes):  # heights grow upwards, and the first goes on top
    layers[rank[name]].append(name)
  chains = []
  for number, (source, destination, _) in enumerate(graph.edges):
    passed = [(number, layer) for layer in range(rank[source] + 1, rank[destination])]
    for item in passed:
      layers[item[1]].append(item)
    chains.append([source, *passed, destination])
  return [layer for layer in layers if layer], chains


def _middle(chain):
  """The item of a chain that carries the label, in a layer of labels."""
  passed = chain[1:-1]
  return passed[len(passed) // 4 * 2]


def _ordered(layers, links):
  """The layers, each in an order with few crossings: by the mean place of neighbours, in sweeps."""
  best, fewest = layers, None
  for sweep in range(SWEEPS):
    place = {item: number for layer in layers for number, item in enumerate(layer)}
    crossings = _crossings(layers, links, place)
    if fewest is None or crossings < fewest:
      best, fewest = [list(layer) for layer in layers], crossings
    forth = sweep % 2 == 0
    neighbours = _neighbours(links if forth else [link[::-1] for link in links])
    for layer in layers if forth else layers[::-1]:
      centres = [_mean([place[n] for n in neighbours.get(item, [])], place[item]) for item in layer]
      layer[:] = [item for _, item in sorted(zip(centres, layer, strict=True), key=lambda x: x[0])]
      place |= {item: number for number, item in enumerate(layer)}
  return best


def _neighbours(links):
  """item -> the items that links lead to it from."""
  found = {}
  for source, destination in links:
    found.setdefault(destination, []).append(source)
  return found


def _crossings(layers, links, place):
  number = {item: n for n, layer in enumerate(layers) for item in layer}
  ends = [(number[a], place[a], place[b]) for a, b in links]
  return sum(
    layer == other and (a - c) * (b - d) < 0
    for i, (layer, a, b) in enumerate(ends)
    for other, c, d in ends[:i]
  )


def _heights(layers, links, sizes):
  """item -> height of its centre: near its neighbours, nothing on top of another."""
  neighbours = _neighbours(links)
  for item, others in _neighbours([link[::-1] for link in links]).items():
    neighbours.setdefault(item, []).extend(others)
  y = {item: float(number) for layer in layers for number, item in enumerate(layer)}
  for _ in range(SWEEPS):
    for layer in layers:
      wanted = [_mean([y[n] for n in neighbours.get(item, [])], y[item]) for item in layer]
      y |= zip(layer, _apart(layer, wanted, sizes), strict=True)
  return y


def _apart(layer, wanted, sizes):
  """Heights near the wanted ones, in their order and far enough from each other.

  Pushing all up and pushing all down both do; so does the mean of the two.
  """
  room = [GAP[1] + (sizes[a][1] + sizes[b][1]) / 2 for a, b in zip(layer, layer[1:], strict=False)]
  up, down = list(wanted), list(wanted)
  for number, gap in enumerate(room):
    up[number + 1] = max(up[number + 1], up[number] + gap)
  for number, gap in reversed(list(enumerate(room))):
    down[number] = min(down[number], down[number + 1] - gap)
  return [(a + b) / 2 for a, b in zip(up, down, strict=True)]


def _route(chain, place, sizes):
  """The line of an edge along its chain, level where it passes a layer, and its label's centre."""
  stops = []
  for number, item in enumerate(chain):
    (x, y), (width, height) = place[item], sizes[item]
    if not isinstance(item, str):
      y -= height / 2  # a label stands on its line
    stops += [(x - width / 2, y)] if number else []
    stops += [(x + width / 2, y)] if number < len(chain) - 1 else []
  points = stops[:1]
  for (x, y), (next_x, next_y) in zip(stops, stops[1:], strict=False):
    bend = (next_x - x) / 2
    points += [(x + bend, y), (next_x - bend, next_y), (next_x, next_y)]
  return points, place[_middle(chain)]


def _mean(values, otherwise):
  return sum(values) / len(values) if values else otherwise
