"""Augmentation of what a discriminator sees: what it does, to whom, and that it has a gradient."""

import jax
import jax.numpy as jnp
import numpy as np

from unrealnas_jax.data.diffaugment import diffaugment

KEY = jax.random.key(5)
INDEX = np.arange(64, dtype=np.int32)
IMAGES = jnp.float32(np.random.default_rng(0).uniform(-1, 1, (64, 8, 8, 3)))
NONE = dict(color=0.0, pad=0, flip=False, cutout=0)


def change(images=IMAGES, index=INDEX, key=KEY, **settings):
  return jax.jit(lambda x: diffaugment(key, index, x, **(NONE | settings)))(images)


def test_nothing_to_change_is_the_identity():
  np.testing.assert_array_equal(change(), IMAGES)


def test_colours_by_hand():
  images = change(color=0.5)
  for number in (0, 17):
    key = jax.random.fold_in(KEY, number)
    brightness, saturation, contrast = 0.5 * jax.random.uniform(key, (3,), minval=-1)
    x = np.asarray(IMAGES[number]) + brightness / 2
    grey = x.mean(-1, keepdims=True)
    x = grey + (x - grey) * (1 + saturation)
    x = x.mean() + (x - x.mean()) * (1 + contrast / 2)
    np.testing.assert_allclose(images[number], x, atol=1e-5)


def test_each_change_has_the_range_of_the_paper():
  grey = jnp.zeros((64, 8, 8, 3))
  # Brightness alone moves a grey image: uniform from -0.5 to 0.5. The least of 64 is above -0.4, or
  # the largest below 0.4, with a probability of 0.9^64 = 0.001 each.
  moved = np.asarray(change(grey, color=1.0))
  np.testing.assert_allclose(moved, moved[:, :1, :1, :1].repeat(8, 1).repeat(8, 2).repeat(3, 3))
  assert -0.5 < moved.min() < -0.4
  assert 0.4 < moved.max() < 0.5
  # What is shifted in and cut out is 0, and nothing else changes.
  for settings, least in ((dict(pad=2), 4), (dict(cutout=4), 4)):
    changed = np.asarray(change(IMAGES * 0 + 1, **settings))
    assert set(np.unique(changed)) == {0, 1}
    assert (changed == 0).sum((1, 2, 3)).max() >= 3 * least


def test_an_image_does_not_depend_on_its_batch_but_on_the_key():
  settings = dict(color=1.0, pad=2, flip=True, cutout=4)
  images = change(**settings)
  some = change(IMAGES[10:13], INDEX[10:13], **settings)
  np.testing.assert_allclose(some, images[10:13], atol=1e-6)
  assert np.any(change(key=jax.random.key(6), **settings) != images, axis=(1, 2, 3)).all()


def test_gradients_go_to_the_pixels_that_are_seen():
  x, index = IMAGES[:4], INDEX[:4]
  settings = NONE | dict(pad=2, flip=True, cutout=4)

  def total(x):
    return (diffaugment(KEY, index, x, **settings) * weights).sum()

  weights = jnp.float32(np.random.default_rng(1).normal(size=x.shape))
  gradient = jax.grad(total)(x)
  # These changes are linear, so the gradient says all: the value is its product with the images.
  np.testing.assert_allclose((gradient * x).sum(), total(x), rtol=1e-5)
  assert np.abs(gradient).sum() > 0
  colours = jax.grad(lambda x: diffaugment(KEY, index, x, **(NONE | {'color': 1.0})).sum())(x)
  # Saturation and contrast keep the mean, and brightness adds to it.
  np.testing.assert_allclose(colours, 1, atol=1e-5)
