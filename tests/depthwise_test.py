"""Depthwise convolution: the form for CPU equals the plain one, and is what it is meant to be."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from unrealnas_jax.depthwise import depthwise_conv, grouped_conv, shifted_conv

CHANNELS = 3
shifted_conv_twice = functools.partial(shifted_conv, twice=True)


def inputs(kernel, size, dtype=jnp.float32):
  return tiny.noise(2, *size, CHANNELS).astype(dtype), tiny.noise(*kernel, CHANNELS, seed=1)


@functools.partial(jax.jit, static_argnums=(0, 3, 4))
def output_and_gradients(conv, x, kernel, stride, dilation):
  """The output and, for a gradient of noise on it, those of both inputs."""
  y, vjp = jax.vjp(lambda x, kernel: conv(x, kernel, stride, dilation), x, kernel)
  return y, *vjp(tiny.noise(*y.shape, seed=2).astype(y.dtype))


@pytest.mark.parametrize(
  ('kernel', 'size', 'stride', 'dilation'),
  [
    ((3, 3), (6, 8), 1, 1),
    ((5, 5), (7, 4), 1, 1),
    ((3, 3), (7, 4), 1, 2),
    ((5, 5), (6, 9), 1, 2),
    ((3, 3), (6, 8), 2, 1),
    ((5, 5), (7, 4), 2, 1),
    ((3, 3), (7, 7), 2, 2),
    ((5, 5), (6, 9), 2, 2),
    ((3, 5), (4, 7), 1, 2),
    ((3, 5), (4, 7), 3, 1),
    ((5, 5), (1, 2), 2, 1),
    ((5, 5), (2, 1), 2, 2),
  ],
)
def test_shifted_form_equals_grouped_form(kernel, size, stride, dilation):
  x, kernel = inputs(kernel, size)
  expected = output_and_gradients(grouped_conv, x, kernel, stride, dilation)
  for conv in (shifted_conv, shifted_conv_twice):
    found = output_and_gradients(conv, x, kernel, stride, dilation)
    assert found[0].shape == (2, -(-size[0] // stride), -(-size[1] // stride), CHANNELS)
    tiny.assert_trees_close(found, expected, 1e-6)


def test_by_hand():
  """One tap to the upper left, with weight 10, and the pixel itself."""
  x = jnp.array([[1.0, 2, 3], [4, 5, 6], [7, 8, 9]]).reshape(1, 3, 3, 1)
  kernel = jnp.array([[10.0, 0, 0], [0, 1, 0], [0, 0, 0]]).reshape(3, 3, 1)
  for stride, dilation, expected in (
    (1, 1, [[1, 2, 3], [4, 15, 26], [7, 48, 59]]),
    (2, 1, [[1, 3], [7, 59]]),
    (1, 2, [[1, 2, 3], [4, 5, 6], [7, 8, 19]]),
  ):
    y = depthwise_conv(x, kernel, stride, dilation)
    np.testing.assert_array_equal(y[0, :, :, 0], expected)


def test_bfloat16_keeps_its_digits():
  """Rounded once at the end, not once a tap; the kernel and its gradient stay float32."""
  x, kernel = inputs((5, 5), (8, 8), jnp.bfloat16)
  found = output_and_gradients(shifted_conv, x, kernel, 1, 1)
  expected = output_and_gradients(shifted_conv, jnp.float32(x), kernel, 1, 1)
  assert [value.dtype for value in found] == [jnp.bfloat16, jnp.bfloat16, jnp.float32]
  for ours, exact in zip(found, expected, strict=True):
    error = jnp.abs(ours - exact).max() / jnp.abs(exact).max()
    assert 0 < error < 2**-8


def test_form_for_cpu_holds_no_grouped_convolution_and_one_small_reduction():
  grouped, shifted = (
    output_and_gradients.lower(conv, *inputs((3, 3), (8, 8)), 1, 1).compile().as_text()
    for conv in (grouped_conv, shifted_conv)
  )
  assert ' convolution(' in grouped
  assert ' convolution(' not in shifted
  # The kernel gradient: a loop whose sums, [taps, width, channels], are all that is reduced.
  assert ' while(' in shifted
  (sums,) = re.findall(r' reduce\((%\S+), ', shifted)
  assert re.search(rf'{sums} = f32\[3,3,8,{CHANNELS}\]', shifted)


@pytest.mark.parametrize(('platform', 'grouped'), [('cpu', False), ('tpu', True), ('gpu', True)])
def test_platform_decides_the_form(monkeypatch, platform, grouped):
  monkeypatch.setattr(jax, 'default_backend', lambda: platform)
  traced = jax.make_jaxpr(lambda *args: depthwise_conv.__wrapped__(*args))  # new: not in a cache
  jaxpr = str(traced(*inputs((3, 3), (8, 8))))
  assert (f'feature_group_count={CHANNELS}' in jaxpr) == grouped
