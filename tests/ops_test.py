"""Pools, batch norm and initial values, by hand and against plain forms of the same."""

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quick_compile
import tiny
from jax import lax

from unrealnas_jax import ops

SIZES = [(6, 8), (7, 5), (1, 2), (2, 1)]


def window(x, stride, start, combine):
  """XLA's own reduction over windows of 3x3 pixels."""
  padding = ((0, 0), (1, 1), (1, 1), (0, 0))
  return lax.reduce_window(x, start, combine, (1, 3, 3, 1), (1, stride, stride, 1), padding)


def plain_max_pool(x, stride):
  return window(x, stride, -jnp.inf, lax.max)


def plain_avg_pool(x, stride):
  return window(x, stride, 0.0, lax.add) / window(jnp.ones_like(x), stride, 0.0, lax.add)


@pytest.mark.parametrize('size', SIZES)
@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize(
  ('pool', 'plain'),
  [
    (ops.max_pool, plain_max_pool),
    (functools.partial(ops.max_pool, twice=True), plain_max_pool),
    (ops.avg_pool, plain_avg_pool),
  ],
)
def test_pools_equal_reduce_window(pool, plain, stride, size):
  # All below zero, where padding with zeros would win. Without ties: there gradients may differ.
  x = tiny.noise(2, *size, 3) - 10

  @jax.jit
  def run(x):
    results = []
    for function in (pool, plain):
      y, vjp = jax.vjp(lambda x: function(x, stride), x)  # noqa: B023
      results.append((y, *vjp(tiny.noise(*y.shape, seed=1))))
    return results

  found, expected = run(x)
  tiny.assert_trees_close(found, expected, 1e-6)


@pytest.mark.parametrize('size', [(8, 8), (7, 5), (2, 3)])
def test_mean_of_windows_equals_reduce_window(size):
  window, strides = tuple(min(5, pixels - 1) for pixels in size), (3, 1)
  x = tiny.noise(2, *size, 3)
  found, vjp = jax.vjp(lambda x: ops.mean_pool(x, window, strides), x)
  expected, plain_vjp = jax.vjp(lambda x: nn.avg_pool(x, window, strides), x)
  g = tiny.noise(*expected.shape, seed=1)
  tiny.assert_trees_close((found, vjp(g)), (expected, plain_vjp(g)), 1e-6)


def test_average_leaves_padding_out_by_hand():
  """A corner sees 4 pixels, the middle of an edge 6, the centre all 9."""
  x = jnp.arange(1.0, 10).reshape(1, 3, 3, 1)
  expected = [[3, 3.5, 4], [4.5, 5, 5.5], [6, 6.5, 7]]
  np.testing.assert_allclose(ops.avg_pool(x, 1)[0, :, :, 0], expected, rtol=1e-6)
  np.testing.assert_allclose(ops.avg_pool(x, 2)[0, :, :, 0], [[3, 4], [6, 7]], rtol=1e-6)


def test_equal_maxima_share_their_gradient():
  """Both outputs see both pixels, and give each half of their gradients 1 and 5."""
  _, vjp = jax.vjp(lambda x: ops.max_pool(x, 1), jnp.full((1, 1, 2, 1), 7.0))
  (gradient,) = vjp(jnp.array([1.0, 5]).reshape(1, 1, 2, 1))
  np.testing.assert_allclose(gradient.ravel(), [3, 3])


@pytest.mark.parametrize('options', [quick_compile.OPTIONS, quick_compile.DEFAULTS])
def test_gradient_of_max_pool_finds_values_that_are_computed_anew(options):
  """XLA computes a norm again where its backward pass needs it, and may round it otherwise."""
  stats = {'mean': jnp.zeros(8), 'var': jnp.ones(8)}
  scale, bias, g = tiny.noise(8, seed=1), tiny.noise(8, seed=2), tiny.noise(8, 12, 12, 8, seed=3)

  def loss(pool, x, scale):
    return (pool(ops.batch_norm(x, stats, True, scale, bias)[0], 1) * g).sum()

  found, expected = (
    jax.jit(jax.grad(functools.partial(loss, pool), (0, 1)), compiler_options=options)(
      tiny.noise(8, 12, 12, 8), scale
    )
    for pool in (ops.max_pool, plain_max_pool)
  )
  tiny.assert_trees_close(found, expected)


def test_batch_norm_by_hand():
  """Values 1 and 3: mean 2, variance 1, and 2 where it is unbiased."""
  x, stats = jnp.array([[1.0], [3.0]]), {'mean': jnp.array([10.0]), 'var': jnp.array([5.0])}
  y, seen = ops.batch_norm(x, stats, True)
  np.testing.assert_allclose(y[:, 0], np.array([-1, 1]) / np.sqrt(1 + 1e-5), rtol=1e-6)
  np.testing.assert_allclose(seen['mean'], 2, rtol=1e-6)
  np.testing.assert_allclose(seen['var'], 2, rtol=1e-6)
  moved = ops.running(stats, seen)
  np.testing.assert_allclose(moved['mean'], 0.9 * 10 + 0.1 * 2, rtol=1e-6)
  np.testing.assert_allclose(moved['var'], 0.9 * 5 + 0.1 * 2, rtol=1e-6)
  chex.assert_trees_all_equal(ops.running(stats, stats), stats)

  y, seen = ops.batch_norm(x, stats, False)
  np.testing.assert_allclose(y[:, 0], np.array([-9, -7]) / np.sqrt(5 + 1e-5), rtol=1e-6)
  assert seen == stats

  scaled, _ = ops.batch_norm(x, stats, False, scale=jnp.array([2.0]), bias=jnp.array([3.0]))
  np.testing.assert_allclose(scaled, 2 * y + 3, rtol=1e-6)


@pytest.mark.parametrize(('count', 'mean'), [(100, 1000), (5000, 30)])
def test_batch_norm_keeps_its_digits_where_the_mean_is_large(count, mean):
  x = mean + np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
  y, seen = ops.batch_norm(jnp.asarray(x), {'mean': jnp.zeros(3), 'var': jnp.zeros(3)}, True)
  exact = x.astype(np.float64)
  np.testing.assert_allclose(y, (exact - exact.mean(0)) / exact.std(0), atol=2e-3)
  np.testing.assert_allclose(seen['var'], exact.var(0, ddof=1), rtol=1e-3)


def plain_batch_norm(x):
  axes = tuple(range(x.ndim - 1))
  centred = x - x.mean(axes, keepdims=True)
  return centred / jnp.sqrt(jnp.square(centred).mean(axes, keepdims=True) + ops.EPSILON)


@pytest.mark.parametrize('shape', [(3, 4, 5, 2), (8, 12, 12, 2)], ids=['few', 'many values'])
@pytest.mark.parametrize('form', ['once', 'again', 'twice'])
def test_gradient_of_batch_norm_goes_through_the_statistics(shape, form):
  """Also where they are given, having been seen before; of the scale too."""
  assert (np.prod(shape[:-1]) < ops.MANY_VALUES) == (shape[0] == 3)
  x, g, scale = tiny.noise(*shape) + 3, tiny.noise(*shape, seed=1), jnp.array([2.0, -0.5])
  stats = {'mean': jnp.zeros(2), 'var': jnp.ones(2)}
  if form == 'again':
    _, stats = ops.batch_norm(x, stats, True)
  options = {} if form == 'once' else {form: True}

  def ours(x, scale):
    y, seen = ops.batch_norm(x, stats, True, scale, **options)
    return (y * g).sum(), (y, seen)

  def plain(x, scale):
    y, count = plain_batch_norm(x) * scale[None, None, None], x.size // 2
    seen = {'mean': x.mean((0, 1, 2)), 'var': x.var((0, 1, 2)) * count / (count - 1)}
    return (y * g).sum(), (y, seen)

  found, expected = (jax.grad(loss, (0, 1), has_aux=True)(x, scale) for loss in (ours, plain))
  # Where there are many values, they count from 0 and not from one of them.
  tiny.assert_trees_close(found, expected, 1e-5 if shape[0] == 3 else 3e-5)


def test_batch_norm_of_two_devices_equals_that_of_one():
  """Outputs, statistics and gradients, the halves of the batch having different means."""
  x = tiny.noise(4, 3, 3, 2) + jnp.arange(4.0).reshape(4, 1, 1, 1)
  g = tiny.noise(4, 3, 3, 2, seed=1)
  stats = {'mean': jnp.ones(2), 'var': jnp.full(2, 3.0)}

  def run(x, g, axis_name=None):
    y, vjp, seen = jax.vjp(
      lambda x: ops.batch_norm(x, stats, True, axis_name=axis_name), x, has_aux=True
    )
    return (y, *vjp(g)), seen

  halves = [a.reshape(2, 2, 3, 3, 2) for a in (x, g)]
  found, seen = jax.vmap(
    lambda x, g: run(x, g, 'devices'), axis_name='devices', out_axes=(0, None)
  )(*halves)
  found = jax.tree.map(lambda a: a.reshape(x.shape), found)
  tiny.assert_trees_close((found, seen), run(x, g))


@pytest.mark.parametrize('shape', [(1, 1, 1, 2), (2, 3, 3, 2)])
def test_batch_norm_of_equal_values_is_zero_and_has_a_finite_gradient(shape):
  stats = {'mean': jnp.zeros(2), 'var': jnp.ones(2)}
  y, vjp, seen = jax.vjp(
    lambda x: ops.batch_norm(x, stats, True), jnp.full(shape, 1e4), has_aux=True
  )
  np.testing.assert_array_equal(y, 0)
  assert np.isfinite(vjp(tiny.noise(*shape))[0]).all()
  np.testing.assert_array_equal(seen['var'], 0)


def test_batch_norm_counts_in_float32_for_bfloat16():
  """100 and 101 are one step apart in bfloat16, whose squares would not tell them apart."""
  x = jnp.tile(jnp.array([[100.0], [101.0]], jnp.bfloat16), (50, 1))
  y, seen = ops.batch_norm(x, {'mean': jnp.zeros(1), 'var': jnp.ones(1)}, True)
  assert y.dtype == jnp.bfloat16
  np.testing.assert_allclose(np.float32(y[:2, 0]), [-1, 1], rtol=1e-2)
  np.testing.assert_allclose(seen['mean'], 100.5, rtol=1e-6)
  np.testing.assert_allclose(seen['var'], 0.25 * 100 / 99, rtol=1e-6)


def test_alternate_pixels_by_hand():
  """Rows and columns 0 and 2, then row and column 1 and the zeros that make the size even."""
  even, odd = ops.alternate_pixels(jnp.arange(1.0, 10).reshape(1, 3, 3, 1))
  np.testing.assert_array_equal(even[0, :, :, 0], [[1, 3], [7, 9]])
  np.testing.assert_array_equal(odd[0, :, :, 0], [[5, 0], [0, 0]])


def test_initial_values_lie_within_one_over_the_root_of_the_fan_in():
  for shape, fan_in in (((3, 3, 4, 6), 36), ((5, 5, 4), 25), ((4, 6), 4)):
    largest = ops.conv_init(jnp.ones, shape, 7)
    np.testing.assert_allclose(largest, np.full((7, *shape), fan_in**-0.5), rtol=1e-6)


def test_one_draw_gives_independent_uniform_numbers():
  def init(draw):
    return {'a': draw((50, 40)), 'b': [draw((2000,)), draw((2, 1000))]}

  trees = [ops.one_draw(jax.random.key(seed), init) for seed in (0, 0, 1)]
  same, again, other = (np.stack([leaf.ravel() for leaf in jax.tree.leaves(t)]) for t in trees)
  np.testing.assert_array_equal(same, again)
  numbers = np.concatenate([same, other])
  assert numbers.min() >= -1
  assert numbers.max() < 1
  # 2,000 numbers: 0.05 is 4 standard deviations of the mean, 0.1 about 4 of a correlation
  np.testing.assert_allclose(numbers.mean(1), 0, atol=0.05)
  np.testing.assert_allclose(numbers.std(1), 3**-0.5, rtol=0.05)
  np.testing.assert_allclose(np.corrcoef(numbers), np.eye(6), atol=0.1)
