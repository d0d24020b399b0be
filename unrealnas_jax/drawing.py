"""Cells drawn as graphs: operations are edges, nodes are sums of what their edges bring."""

from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from unrealnas_jax import nasbench201
from unrealnas_jax.genotype import Genotype
from unrealnas_jax.graph_layout import Graph, lay_out

INK = '#010203'  # text and frames; a colour of its own, so that a web page can change it
COLOURS = ('#3d8bd4', '#e0762f', '#2a9d76', '#c66aa8', '#b8930f', '#8a78d8', '#d0555a', '#5aa9b8')
QUIET = '#8a8f98'  # of what matters less
# Start of an operation's name -> colour of its edges; readable on white and on black.
OP_COLOURS = {
  'skip': COLOURS[2],
  'max_pool': COLOURS[4],
  'avg_pool': COLOURS[3],
  'sep_conv': COLOURS[0],
  'dil_conv': COLOURS[1],
  'conv': COLOURS[5],
  'nor_conv_1x1': COLOURS[5],
  'nor_conv_3x3': COLOURS[0],
}
POINTS = 9  # size of the text
MARGIN = 6  # points around a drawing


def draw(genotype):
  """A matplotlib Figure of the cells of a genotype, one below the other.

  In a notebook it shows itself; `draw(genotype).savefig('cells.svg')` makes a file of it.
  Raises TypeError: what is given is no genotype.

  >>> from unrealnas_jax import genotypes
  >>> figure = draw(genotypes.PUBLISHED['DARTS_V2'])
  >>> [axes.get_title() for axes in figure.axes]
  ['normal', 'reduce']
  """
  return _figure(graphs(genotype))


def draw_cell(graph):
  """A Figure of one Graph."""
  return _figure({'': graph})


def graphs(genotype):
  """{kind of cell: Graph}. Raises TypeError: no genotype."""
  if type(genotype) not in GRAPHS:
    raise TypeError(f'{genotype!r} is no genotype')
  return GRAPHS[type(genotype)](genotype)


def _darts_graphs(genotype):
  """Cells with the inputs c_{k-2} and c_{k-1} and nodes from 0 on, as the papers number them."""
  found = {}
  for kind in ('normal', 'reduce'):
    cell, concat = getattr(genotype, kind), getattr(genotype, f'{kind}_concat')
    computed = [str(number) for number in range(len(cell) // 2)]
    nodes = ('c_{k-2}', 'c_{k-1}', *computed, 'c_{k}')
    edges = [(nodes[source], computed[i // 2], op) for i, (op, source) in enumerate(cell)]
    edges += [(nodes[node], 'c_{k}', '') for node in concat]
    found[kind] = Graph(nodes, tuple(edges))
  return found


def _nasbench201_graphs(genotype):
  names = ('input', '1', '2', 'output')
  ends = ((names[source], names[node]) for source, node in nasbench201.EDGES)
  edges = tuple((*pair, op) for pair, op in zip(ends, genotype.ops, strict=True))
  return {'normal': Graph(names, edges)}


# kind of genotype -> its graphs
GRAPHS = {Genotype: _darts_graphs, nasbench201.Architecture: _nasbench201_graphs}


def colour_of(op):
  """The colour of an operation's edges."""
  return next((colour for start, colour in OP_COLOURS.items() if op.startswith(start)), QUIET)


def _figure(cells):
  layouts = {title: lay_out(graph, _size_of) for title, graph in cells.items()}
  title_height = 2 * POINTS if any(cells) else 0
  rooms = [(w + 2 * MARGIN, h + 2 * MARGIN + title_height) for _, _, (w, h) in layouts.values()]
  width, height = max(room[0] for room in rooms), sum(room[1] for room in rooms)
  figure, top = Figure(figsize=(width / 72, height / 72)), height
  for (title, layout), room in zip(layouts.items(), rooms, strict=True):
    top -= room[1]
    drawn = room[1] - title_height
    axes = figure.add_axes((0, top / height, room[0] / width, drawn / height))
    axes.set(xlim=(-MARGIN, room[0] - MARGIN), ylim=(-MARGIN, drawn - MARGIN))
    axes.set_title(title, fontsize=POINTS + 1, color=INK, pad=2)
    axes.axis('off')
    _draw(axes, cells[title], layout)
  return figure


def _draw(axes, graph, layout):
  for (_, _, op), (points, (x, y)) in zip(graph.edges, layout.edges, strict=True):
    path = Path(points, [Path.MOVETO] + [Path.CURVE4] * (len(points) - 1))
    style = {'color': colour_of(op), 'linewidth': 1.4 if op else 1.0}
    style['linestyle'] = 'dotted' if op == 'none' else 'solid'
    axes.add_patch(FancyArrowPatch(path=path, arrowstyle='-|>', mutation_scale=9, **style))
    axes.text(x, y, op, fontsize=POINTS, color=INK, ha='center', va='center')
  for name, (x, y) in layout.nodes.items():
    width, height = (length - 4 for length in _size_of(name))
    corner = (x - width / 2, y - height / 2)
    box = {'boxstyle': 'round,pad=2', 'facecolor': 'none', 'edgecolor': INK}
    axes.add_patch(FancyBboxPatch(corner, width, height, linewidth=1, **box))
    shown = f'${name}$' if '_' in name else name
    axes.text(x, y, shown, fontsize=POINTS, color=INK, ha='center', va='center')


def _size_of(text):
  """Room for a text in points: wide letters, so that no font is too wide."""
  if text.startswith('c_{'):
    return 5 * 0.65 * POINTS, 2 * POINTS
  if text.isdecimal():
    return 2 * POINTS, 2 * POINTS
  return 0.65 * POINTS * len(text) + 4, 1.4 * POINTS
