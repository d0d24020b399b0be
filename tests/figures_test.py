"""Figures: which curves share a plot, where heatmaps stand, and that a page changes their ink."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from unrealnas_jax import figures
from unrealnas_jax.drawing import INK
from unrealnas_jax.spaces import SPACES

STEPS = np.arange(1, 4)
SVG = '{http://www.w3.org/2000/svg}'


def test_curves_share_a_plot_by_the_last_word_of_their_names():
  names = ('train_loss', 'val_loss', 'none_mass', 'eigenvalue', 'normal_skips', 'reduce_skips')
  found = figures.panels({name: name for name in names})
  assert found == {
    'loss': {'train': 'train_loss', 'val': 'val_loss'},
    'none mass': {'': 'none_mass'},
    'eigenvalue': {'': 'eigenvalue'},
    'skips': {'normal': 'normal_skips', 'reduce': 'reduce_skips'},
  }


def shown(figure):
  return [axes for axes in figure.axes if axes.axison]


def test_every_panel_is_drawn():
  panels = {f'panel {number}': {'': (STEPS, STEPS * number)} for number in range(4)}
  figure = figures.curves(panels)
  assert [axes.get_title('left') for axes in shown(figure)] == list(panels)
  for number, axes in enumerate(shown(figure)):
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), STEPS * number)
    assert axes.get_legend() is None


def test_labels_keep_their_colour_where_panels_share_them():
  panels = {'a': {'one': (STEPS, STEPS, STEPS)}, 'b': {'two': (STEPS, STEPS, 0 * STEPS)}}
  apart = [axes.lines[0].get_color() for axes in shown(figures.curves(panels))]
  figure = figures.curves(panels, shared=True)
  together = [axes.lines[0].get_color() for axes in shown(figure)]
  assert apart[0] == apart[1] == together[0] != together[1]
  assert [text.get_text() for text in figure.legends[0].texts] == ['one', 'two']


def test_long_curves_get_their_running_mean():
  steps = np.arange(200)
  (axes,) = shown(figures.curves({'loss': {'': (steps, 1.0 * steps)}}))
  curve, mean = axes.lines
  assert len(curve.get_xdata()) == 200
  # Of a straight line, the mean over some steps is the value in their middle.
  np.testing.assert_allclose(mean.get_ydata(), mean.get_xdata())
  assert len(mean.get_xdata()) == 200 - 8 + 1


def heatmaps(figure):
  return {axes.get_title(): axes for axes in figure.axes if axes.images and axes.get_title()}


def test_heatmaps_stand_at_their_edge():
  space = SPACES['darts']
  tables = np.random.default_rng(0).uniform(size=(3, 14, 8))
  found = heatmaps(figures.weights(np.array([1, 2, 3]), tables, space))
  assert list(found) == [f'{source} → {node}' for source, node in space.edges]
  for edge, axes in enumerate(found.values()):
    np.testing.assert_array_equal(axes.images[0].get_array(), tables[:, edge].T)
    assert axes.images[0].get_clim() == (tables.min(), tables.max())
    spec = axes.get_subplotspec()
    source, node = space.edges[edge]
    assert (spec.rowspan.start, spec.colspan.start) == (node - 2, source)
  labels = [label.get_text() for label in found['0 → 2'].get_yticklabels()]
  assert labels == list(space.ops)


@pytest.mark.parametrize('space', [None, SPACES['darts']])
def test_weights_of_another_shape_are_numbered(space):
  found = heatmaps(figures.weights(np.array([1]), np.ones((1, 2, 3)), space))
  assert list(found) == ['edge 0', 'edge 1']
  labels = [label.get_text() for label in found['edge 0'].get_yticklabels()]
  assert labels == ['0', '1', '2']


@pytest.mark.parametrize(
  ('images', 'labels', 'titles', 'shape'),
  [
    ((9, 4, 6, 3), np.arange(9), [str(n) for n in range(9)], (4, 6, 3)),
    ((2, 4, 4, 1), np.float32([[0, 1], [0.5, 0]]), ['0 1', '0.5 0'], (4, 4)),
    ((2, 3, 4, 5, 3), np.zeros((2, 99)), [], (4, 15, 3)),  # jigsaw: three tiles; many labels
  ],
)
def test_examples_of_every_form(images, labels, titles, shape):
  figure = figures.examples(np.zeros(images, np.uint8), labels)
  drawn = [axes for axes in figure.axes if axes.images]
  assert [axes.get_title() for axes in drawn if axes.get_title()] == titles
  assert {axes.images[0].get_array().shape for axes in drawn} == {shape}
  assert len(drawn) == images[0]


def test_files_are_the_same_each_time_and_take_the_colour_of_a_page():
  made = [
    figures.files(figures.curves({'a $x$ <b>': {'': (STEPS, STEPS)}}), 'name') for _ in range(2)
  ]
  assert made[0] == made[1]
  assert made[0]['png'].startswith(b'\x89PNG')
  assert INK in made[0]['svg'].decode()
  inline = figures.inline(made[0]['svg'])
  tree = ElementTree.fromstring(inline)
  assert INK not in inline
  assert 'currentColor' in inline
  assert tree.tag == f'{SVG}svg'
  assert 'a $x$ <b>' in [text.text for text in tree.iter(f'{SVG}text')]


def test_two_figures_of_a_page_share_no_names():
  ids = []
  for name in ('one', 'two'):
    svg = figures.files(figures.curves({'a': {'': (STEPS, STEPS)}}), name)['svg']
    tree = ElementTree.fromstring(figures.inline(svg))
    used = {a.removeprefix('#') for node in tree.iter() for k, a in node.items() if 'href' in k}
    clips = {a[5:-1] for node in tree.iter() for k, a in node.items() if k == 'clip-path'}
    assert used
    assert clips
    ids.append(used | clips)
  assert not ids[0] & ids[1]
