"""Layers of the supernet by hand: what comes before what, and which pixel goes where."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from unrealnas_jax import layers, ops

EVAL = layers.Mode(train=False, axis_name=None)
# Norms that take 1 off and halve what is left.
STATS = {'mean': jnp.array([1.0]), 'var': jnp.array([4 - ops.EPSILON])}
X = jnp.array([[1.0, -2, 3], [-4, 5, 6], [7, 8, -9]]).reshape(1, 3, 3, 1)


def image(y):
  return y[0, :, :, 0]


def test_relu_conv():
  """Times 2, less 1, halved; negative pixels count as zero."""
  y, seen = layers.relu_conv(X, {'kernel': jnp.full((1, 1, 1, 1), 2.0)}, STATS, EVAL)
  np.testing.assert_allclose(image(y), [[0.5, -0.5, 2.5], [-0.5, 4.5, 5.5], [6.5, 7.5, -0.5]])
  assert seen == STATS


def test_factorized_reduce():
  """Even pixels go to the first channel, odd ones and the padding to the second; then as above."""
  params = {'even': jnp.array([[2.0]]), 'odd': jnp.array([[10.0]])}
  stats = {name: jnp.tile(value, 2) for name, value in STATS.items()}
  y, _ = layers.factorized_reduce(X, params, stats, EVAL)
  np.testing.assert_allclose(y[0, :, :, 0], [[0.5, 2.5], [6.5, -0.5]])
  np.testing.assert_allclose(y[0, :, :, 1], [[24.5, -0.5], [-0.5, -0.5]])


def test_separable():
  """Each pixel and ten times the one to its right; then as above."""
  kernel = jnp.array([[0.0, 0, 0], [0, 1, 10], [0, 0, 0]]).reshape(3, 3, 1)
  params = {'depthwise': kernel, 'pointwise': jnp.array([[2.0]])}
  y, _ = layers.separable(X, params, STATS, EVAL, stride=1, dilation=1)
  expected = np.array([[1, 30, 3], [50, 65, 6], [87, 8, 0]]) - 0.5
  np.testing.assert_allclose(image(y), expected, rtol=1e-6)
  y, _ = layers.separable(X, params, STATS, EVAL, stride=2, dilation=2)
  np.testing.assert_allclose(image(y), np.array([[31, 3], [7, 0]]) - 0.5, rtol=1e-6)


def test_an_odd_number_of_channels_is_halved_too():
  params, stats = layers.init_factorized_reduce(jnp.ones, 4, 5, False, 3)
  assert {name: kernel.shape for name, kernel in params.items()} == {
    'even': (3, 4, 2),
    'odd': (3, 4, 3),
  }
  assert stats['mean'].shape == (3, 5)


KERNELS = {
  'relu_conv 1x1': (layers.init_relu_conv, (1, 3, 3), layers.relu_conv),
  'relu_conv 3x3': (layers.init_relu_conv, (3, 3, 3), layers.relu_conv),
  'factorized_reduce': (layers.init_factorized_reduce, (3, 4), layers.factorized_reduce),
  'separable': (layers.init_separable, (3, 3), lambda *x: layers.separable(*x, 1, 2)),
  'separable, stride 2': (layers.init_separable, (5, 3), lambda *x: layers.separable(*x, 2, 1)),
}


@pytest.mark.parametrize('name', KERNELS)
def test_kernels_that_do_not_learn_have_no_gradient_and_all_else_has_the_same(name):
  init, sizes, layer = KERNELS[name]
  params, stats = init(lambda shape: tiny.noise(*shape, seed=1), *sizes, False)

  @jax.jit
  def gradients(learns):
    mode = layers.Mode(train=True, axis_name=None, learns=learns)

    def loss(x, params):
      y, _ = layer(x, params, stats, mode)
      return (y * tiny.noise(*y.shape, seed=2)).sum()

    return jax.grad(loss, (0, 1))(tiny.noise(2, 6, 4, 3), params)

  of_x, of_kernels = gradients(None)
  assert all(np.abs(leaf).max() > 0.1 for leaf in jax.tree.leaves(of_kernels))
  tiny.assert_trees_close(gradients(True), (of_x, of_kernels))
  tiny.assert_trees_close(gradients(False), (of_x, jax.tree.map(jnp.zeros_like, of_kernels)))
