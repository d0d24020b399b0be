"""Figures of runs by matplotlib: curves, mixing weights over time, what a search was shown."""

import io
import re

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from unrealnas_jax.drawing import COLOURS, INK, QUIET

STYLE = {
  'font.size': 9,
  'text.color': INK,
  'text.parse_math': False,
  'axes.edgecolor': INK,
  'axes.labelcolor': INK,
  'axes.titlesize': 9,
  'axes.facecolor': 'none',
  'axes.grid': True,
  'axes.formatter.useoffset': False,
  'axes.prop_cycle': matplotlib.cycler(color=COLOURS),
  'axes.spines.top': False,
  'axes.spines.right': False,
  'grid.color': QUIET,
  'grid.alpha': 0.3,
  'xtick.color': INK,
  'ytick.color': INK,
  'lines.linewidth': 1.4,
  'legend.frameon': False,
  'legend.fontsize': 8,
}
LEGEND = {'borderpad': 0, 'handlelength': 1, 'handletextpad': 0.4, 'columnspacing': 0.8}
COLUMNS = 3  # panels of curves side by side
SMOOTH = 100  # points from which on a curve is drawn as its running mean too


def panels(series):
  """Curves that belong together: title -> label -> curve, by the last word of their names.

  series: name -> curve, where names are such as 'train_loss' and 'val_loss'
  """
  titles = {}
  for name in series:
    titles.setdefault(name.rsplit('_', 1)[-1], []).append(name)
  found = {}
  for last, names in titles.items():
    if len(names) == 1:
      found[names[0].replace('_', ' ')] = {'': series[names[0]]}
    else:
      labels = {name.removesuffix(f'_{last}').replace('_', ' '): name for name in names}
      found[last] = {label: series[name] for label, name in labels.items()}
  return found


def curves(panels, shared=False):
  """A Figure with one plot for each panel.

  panels: title -> label -> (steps [N], values [N]) or (steps, values, deviations [N])
  shared: the panels have the same labels, which one legend tells
  """
  rows, columns = -(-len(panels) // COLUMNS), min(COLUMNS, len(panels))
  with matplotlib.rc_context(STYLE):
    figure = Figure((3.4 * columns, 2.4 * rows), layout='constrained')
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    colours = {}
    for (title, named), axes in zip(panels.items(), grid, strict=False):
      for number, (label, curve) in enumerate(named.items()):
        number = colours.setdefault(label, len(colours)) if shared else number
        _curve(axes, label, COLOURS[number % len(COLOURS)], *curve)
      axes.set_title(title, loc='left')
      axes.set_xlabel('step')
      axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
      if any(named) and not shared:
        axes.legend(loc='lower right', bbox_to_anchor=(1, 0.98), ncols=len(named), **LEGEND)
    for axes in grid[len(panels) :]:
      axes.axis('off')
    if shared:
      handles = [
        matplotlib.lines.Line2D([], [], color=COLOURS[n % len(COLOURS)]) for n in colours.values()
      ]
      figure.legend(handles, colours, loc='outside upper left', **LEGEND)
  return figure


def _curve(axes, label, colour, steps, values, deviations=None):
  style = {'color': colour, 'label': label, 'marker': '.' if len(steps) < 12 else None}
  if deviations is not None:
    band = values - deviations, values + deviations
    axes.fill_between(steps, *band, color=colour, alpha=0.2, linewidth=0)
  if len(steps) >= SMOOTH:
    axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
    width = len(steps) // 25
    kernel = np.ones(width) / width
    steps, values = (np.convolve(x, kernel, 'valid') for x in (steps, values))
  axes.plot(steps, values, **style)


def weights(epochs, tables, space=None):
  """A Figure of mixing weights over time: a heatmap for each edge, operations down, epochs across.

  epochs: [T]; tables: [T, E, O]. space: gives edges and operations their names where it has as
  many; the rows of the figure are then destinations and its columns sources.
  """
  _, edges, ops = tables.shape
  places, names = [(0, edge) for edge in range(edges)], [str(op) for op in range(ops)]
  titles = [f'edge {edge}' for edge in range(edges)]
  if space is not None and (edges, ops) == (len(space.edges), len(space.ops)):
    first = min(destination for _, destination in space.edges)
    places = [(destination - first, source) for source, destination in space.edges]
    names, titles = space.ops, [f'{source} → {destination}' for source, destination in space.edges]
  rows, columns = (1 + max(place) for place in zip(*places, strict=True))
  with matplotlib.rc_context(STYLE | {'axes.grid': False, 'font.size': 8, 'axes.titlesize': 8}):
    figure = Figure((1.2 + 1.5 * columns, 0.6 + (0.4 + 0.12 * ops) * rows), layout='constrained')
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
      axes.axis('off')
    extent = (epochs[0] - 0.5, epochs[-1] + 0.5, ops - 0.5, -0.5)
    shown = {'aspect': 'auto', 'interpolation': 'nearest', 'extent': extent}
    shown |= {'vmin': tables.min(), 'vmax': tables.max()}
    for edge, place in enumerate(places):
      axes = grid[place]
      axes.axis('on')
      image = axes.imshow(tables[:, edge].T, **shown)
      axes.set_title(titles[edge], pad=2)
      axes.set_yticks(range(ops), names if place[1] == 0 else [''] * ops)
      below = any(other == (place[0] + 1, place[1]) for other in places)
      axes.tick_params(labelbottom=not below, length=2)
      axes.xaxis.get_major_locator().set_params(integer=True, nbins=4)
      if not below:
        axes.set_xlabel('epoch')
    figure.colorbar(image, ax=grid, fraction=0.03, label='weight')
  return figure


def examples(images, labels):
  """A Figure of images with their labels above them.

  images: uint8 [N, H, W, C], or [N, T, H, W, C] where an example is of T pictures;
  labels: [N] or [N, K], shown where they are few.
  """
  if images.ndim == 5:
    images = np.concatenate(list(np.moveaxis(images, 1, 0)), axis=2)
  if images.shape[-1] != 3:
    images = images.mean(-1).astype(np.uint8)
  columns = min(8, len(images))
  rows = -(-len(images) // columns)
  ratio = images.shape[2] / images.shape[1]
  with matplotlib.rc_context(STYLE | {'axes.grid': False, 'axes.titlesize': 8}):
    figure = Figure((1.15 * columns * max(1, ratio / 2), 1.4 * rows), layout='constrained')
    for axes in (grid := figure.subplots(rows, columns, squeeze=False)).flat:
      axes.axis('off')
    for axes, image, label in zip(grid.flat, images, labels, strict=False):
      axes.imshow(image, cmap='gray', vmin=0, vmax=255, interpolation='nearest')
      if np.size(label) <= 20:
        axes.set_title(' '.join(f'{value:g}' for value in np.ravel(label)), pad=2)
  return figure


def picture(pixels):
  """A Figure that is nothing but pixels, uint8 [H, W] or [H, W, 3]."""
  figure = Figure((pixels.shape[1] / 96, pixels.shape[0] / 96))
  axes = figure.add_axes((0, 0, 1, 1))
  axes.axis('off')
  axes.imshow(pixels, cmap='gray', vmin=0, vmax=255, interpolation='nearest', aspect='auto')
  return figure


def files(figure, name):
  """The same figure as {'svg': bytes, 'png': bytes}; on white, dark ink.

  name: one that no other figure of a page has, which what is defined in the SVG is named by
  """
  found = {}
  for form, style in {'svg': {'metadata': {'Date': None}}, 'png': {'dpi': 160}}.items():
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': name}):
      buffer = io.BytesIO()
      figure.savefig(buffer, format=form, facecolor='none' if form == 'svg' else 'white', **style)
      figure.set_layout_engine('none')  # it is laid out, which takes as long as drawing it
      found[form] = buffer.getvalue()
  return found


def inline(svg):
  """An SVG file as it stands within a web page, with the page's own colour as ink."""
  svg = svg.decode()
  svg = svg[svg.index('<svg') :].replace(INK, 'currentColor')
  return re.sub('<metadata>.*?</metadata>', '', svg, flags=re.DOTALL)
