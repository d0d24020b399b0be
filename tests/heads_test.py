"""Heads by hand and by reduction to the head of whole images."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quick_compile
import tiny

from unrealnas_jax import heads
from unrealnas_jax.spaces import SPACES


def test_tiles_lie_side_by_side_before_one_classifier():
  # Two examples of two tiles, 1x2 places of 1 feature: means 1 and 5, then 2 and 10.
  features = jnp.array([0.0, 2, 4, 6, 1, 3, 9, 11]).reshape(4, 1, 2, 1)
  params = {'kernel': jnp.array([[1.0, 0], [10, 1]]), 'bias': jnp.array([0.0, 100])}
  logits = heads.apply(features, params, tiles=2)
  np.testing.assert_allclose(logits, [[51, 105], [102, 110]])


def test_pixels_are_classified_and_spread_between_the_corners():
  # Two places at the ends of a row: 3 pixels of it are at 0, 1/2 and 1 between them.
  features = jnp.array([0.0, 4]).reshape(1, 1, 2, 1)
  params = {'kernel': jnp.array([[1.0, -1]]), 'bias': jnp.array([0.0, 1])}
  logits = heads.apply(features, params, size=(2, 3))
  np.testing.assert_allclose(logits[0, :, :, 0], [[0, 2, 4], [0, 2, 4]])
  np.testing.assert_allclose(logits[0, :, :, 1], [[1, -1, -3], [1, -1, -3]])
  x = tiny.noise(2, 5, 4, 3)
  np.testing.assert_allclose(heads.spread(x, (5, 4)), x, atol=1e-6)
  np.testing.assert_allclose(heads.spread(x, (9, 7))[:, ::2, ::2], x, atol=1e-6)


def test_a_supernet_sees_tiles_as_it_sees_images():
  """Logits of three tiles are the sum of those of each as an image, by its part of the kernel."""
  net, single = tiny.net(tiles=3), tiny.net()
  params, stats = tiny.variables(net)
  images, weights = tiny.noise(2, 3, 8, 8, 3), tiny.mixing(net.space)
  features = len(params['classifier']['kernel']) // 3

  @quick_compile.jit_to_the_bit
  def run(images):
    apply = functools.partial(net.apply, params, stats, weights)
    parts = []
    for tile in range(3):
      rows = slice(tile * features, (tile + 1) * features)
      head = {'kernel': params['classifier']['kernel'][rows], 'bias': jnp.zeros(4)}
      parts.append((params | {'classifier': head}, images[:, tile]))
    alone = [single.apply(p, stats, weights, x, train=False)[0] for p, x in parts]
    return apply(images, train=False)[0], sum(alone) + params['classifier']['bias'][None]

  whole, parts = run(images)
  tiny.assert_trees_close(whole, parts)


@pytest.mark.parametrize('space', ['darts', 'nasbench201'])
@pytest.mark.parametrize(
  ('head', 'images', 'classes'),
  [({'tiles': 9}, (2, 9, 12, 12, 3), (2,)), ({'per_pixel': True}, (2, 13, 12, 3), (2, 13, 12))],
)
def test_both_spaces_have_both_heads(space, head, images, classes):
  net = tiny.net(space=SPACES[space], cells=3 if space == 'darts' else 1, **head)
  weights, labels = tiny.mixing(net.space), jnp.zeros(classes, jnp.int32)

  def loss(key):
    return net.loss(*net.init(key), weights, jnp.zeros(images), labels)

  value, (_, logits) = jax.eval_shape(loss, jax.random.key(0))
  assert (value.shape, logits.shape) == ((), (*classes, 4))
