"""Cells as the turns of loops against the same cells written out."""

import re

import jax
import jax.numpy as jnp
import pytest
import tiny

from unrealnas_jax import layers, repeat, supernet
from unrealnas_jax.spaces import SPACES


def test_a_loop_finds_what_the_row_written_out_finds(monkeypatch):
  """Fibonacci numbers, every second one doubled, and the number of the turn."""

  def body(carry, part):
    a, b = carry
    y = repeat.choose(part['double'], lambda x: 2 * x, lambda x: x, b)
    return (b, a + b), (y, part['number'])

  parts = [{'number': n, 'double': n % 2 == 1} for n in range(5)]
  start = jnp.int32(1), jnp.int32(1)
  for longest in (0, 5):
    monkeypatch.setattr(repeat, 'LONGEST', longest)
    carry, found = repeat.over(layers.Mode(True, None), body, start, parts)
    assert tuple(map(int, carry)) == (8, 13)
    assert [tuple(map(int, pair)) for pair in found] == [(1, 0), (4, 1), (3, 2), (10, 3), (8, 4)]


def kind_of(cell, cells):
  """Rows of one and three cells, of which the second begins with a reduction."""
  del cells
  return 'reduce' if cell == 1 else 'normal'


NETS = {
  'darts': {'space': tiny.TINY._replace(kind_of=kind_of), 'cells': 4},
  'one row': {'space': tiny.TINY._replace(kind_of=lambda cell, cells: 'normal'), 'cells': 4},
  'all forms': {
    'space': tiny.TINY._replace(kind_of=lambda cell, cells: 'reduce' if cell == 2 else 'normal'),
    'cells': 4,
    'channels': 4,
    'partial': 2,
    'affine': True,
    'sparse': True,
    'skip_dropout': True,
  },
  'nasbench201': {'space': SPACES['nasbench201'], 'cells': 2},
}


def differentiated(changes):
  """(gradients, (loss, (stats, logits))) of a supernet in training."""
  net = tiny.net(**changes)
  params, stats = tiny.variables(net)
  weights = tiny.mixing(net.space)
  images, labels = tiny.noise(3, 8, 8, 3), jnp.arange(3)
  dropout = {'dropout': (jax.random.key(3), 0.3)} if changes.get('skip_dropout') else {}

  def loss(params, weights):
    value, (stats_, logits) = net.loss(params, stats, weights, images, labels, **dropout)
    return value, (stats_, logits)

  run = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))
  return run(params, weights)


@pytest.mark.parametrize('name', NETS)
def test_loops_over_cells_equal_cells_written_out(name, monkeypatch):
  """Loss, logits, running statistics and all gradients."""
  expected = differentiated(NETS[name])
  monkeypatch.setattr(repeat, 'LONGEST', 0)
  tiny.assert_trees_close(differentiated(NETS[name]), expected, 2e-4)


def test_the_gradient_of_a_gradient_can_be_taken_where_rows_are_long(monkeypatch):
  """jax.jvp does not go through a loop over cells, so with twice=True rows are written out."""
  monkeypatch.setattr(repeat, 'LONGEST', 0)
  net = tiny.net(space=tiny.TINY._replace(kind_of=kind_of), cells=4)
  params, stats = tiny.variables(net)
  weights, images, labels = tiny.mixing(net.space), tiny.noise(3, 8, 8, 3), jnp.arange(3)

  def gradient(weights):
    loss = lambda w: net.loss(params, stats, w, images, labels, twice=True)[0]  # noqa: E731
    return jax.grad(loss)(weights)

  jax.jit(lambda w: jax.jvp(gradient, (w,), (w,))).lower(weights)


def test_the_text_to_compile_does_not_grow_with_the_cells_of_a_row(monkeypatch):
  monkeypatch.setattr(repeat, 'LONGEST', 0)
  space = tiny.TINY._replace(kind_of=lambda cell, cells: 'normal')
  sizes = []
  for cells in (3, 9):
    net = supernet.make(supernet.Shape(space, 2, cells, 4, 3))
    params, stats = jax.eval_shape(net.init, jax.random.key(0))
    arguments = params, stats, tiny.mixing(space), tiny.noise(2, 8, 8, 3), jnp.arange(2)
    sizes.append(jax.jit(net.loss).lower(*arguments).as_text().count('stablehlo.dot_general'))
  assert sizes[0] == sizes[1]


def test_cells_of_one_shape_that_are_written_out_are_traced_once():
  """Cells there and back: one that is alone, and two of another shape that are one function."""
  net = tiny.net(space=tiny.TINY._replace(kind_of=kind_of), cells=3)
  variables, examples = tiny.variables(net), (tiny.noise(2, 8, 8, 3), jnp.arange(2))

  def loss(params, weights):
    return net.loss(params, variables[1], weights, *examples)[0]

  arguments = variables[0], tiny.mixing(net.space)
  text = jax.jit(jax.grad(loss, (0, 1))).lower(*arguments).as_text()
  calls = re.findall(r'call @(_walk\w*)\(', text)
  assert (len(calls), len(set(calls))) == (6, 4), calls
