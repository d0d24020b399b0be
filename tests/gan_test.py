"""The two networks of the GAN: sizes, classes, norms, and their losses by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import assert_trees_close, noise

from unrealnas_jax import gan

CLASSES, LATENT = 3, 5
GENERATOR = gan.Generator(channels=4, classes=CLASSES, shape=(8, 12, 1))
DISCRIMINATOR = gan.Discriminator(channels=4, classes=CLASSES)
LABELS = jnp.array([0, 1, 2, 0])


@functools.cache
def generator_variables():
  init = jax.jit(functools.partial(GENERATOR.init, train=False))
  variables = init(jax.random.key(0), noise(1, LATENT), LABELS[:1])
  # Classes are alike at first.
  return jax.tree.map(lambda x: x + noise(*x.shape) * 0.1 if len(x) == CLASSES else x, variables)


@functools.cache
def discriminator_variables():
  """After enough power iterations that the singular vectors stand still."""
  init = jax.jit(functools.partial(DISCRIMINATOR.init, train=False))
  variables = init(jax.random.key(1), noise(1, 8, 12, 1), LABELS[:1])

  @jax.jit
  def iterate(variables):
    def one(_, variables):
      apply = functools.partial(DISCRIMINATOR.apply, train=True, mutable=['batch_stats'])
      return {**variables, **apply(variables, noise(1, 8, 12, 1), LABELS[:1])[1]}

    return jax.lax.fori_loop(0, 300, one, variables)

  return iterate(variables)


generate = jax.jit(functools.partial(GENERATOR.apply, train=False))
score = jax.jit(functools.partial(DISCRIMINATOR.apply, train=False))


@pytest.mark.parametrize(
  ('shape', 'number'),
  [((8, 8), 1), ((14, 14), 1), ((16, 16), 2), ((28, 28), 2), ((32, 48), 3), ((224, 224), 5)],
)
def test_doublings_begin_with_four_to_seven_pixels(shape, number):
  assert gan.doublings((*shape, 3)) == number
  assert 4 <= min(shape) / 2**number < 8


@pytest.mark.parametrize(('shape', 'allowed'), [((6, 6), 2), ((30, 30), 4), ((8, 9), 2)])
def test_other_sizes_are_refused(shape, allowed):
  with pytest.raises(ValueError, match=f'at least 8 pixels and a multiple of {allowed}$'):
    gan.doublings((*shape, 3))


def test_large_images_have_64_channels_at_their_full_size():
  """Else a batch of one layer of 224 pixels would take gigabytes."""
  generator = gan.Generator(channels=512, classes=CLASSES, shape=(224, 224, 3))
  discriminator = gan.Discriminator(channels=512, classes=CLASSES)

  def shapes(network, x):
    init = functools.partial(network.init, train=False)
    return jax.eval_shape(init, jax.random.key(0), x, LABELS[:1])['params']

  made, judged = shapes(generator, noise(1, LATENT)), shapes(discriminator, noise(1, 224, 224, 3))
  widths = [made[f'conv_{n}_1']['kernel'].shape[-1] for n in range(5)]
  assert widths == [512, 512, 256, 128, 64]  # of 14, 28, 56, 112 and 224 pixels
  widths = [judged[f'block_{n}_1']['kernel'].shape[-1] for n in range(6)]
  assert widths == [64, 128, 256, 512, 512, 512]  # of 224, 112, 56, 28, 14 and 14 pixels


def test_images_depend_on_noise_and_class_and_on_no_other_image():
  z = noise(4, LATENT)
  images = generate(generator_variables(), z, LABELS)
  assert images.shape == (4, 8, 12, 1)
  assert images.dtype == jnp.float32
  assert float(jnp.abs(images).max()) < 1
  alone = generate(generator_variables(), z[1:2], LABELS[1:2])
  np.testing.assert_allclose(alone[0], images[1], atol=1e-5)
  assert (
    np.abs(generate(generator_variables(), z, (LABELS + 1) % 3) - images).max((1, 2, 3)).min() > 0
  )
  params = generator_variables()['params']
  changed = jax.tree.map(lambda x: x, params)
  changed['norm']['scale'] = params['norm']['scale'].at[1].set(2.0)
  other = generate({**generator_variables(), 'params': changed}, z, LABELS)
  np.testing.assert_array_equal(other[jnp.array([0, 2, 3])], images[jnp.array([0, 2, 3])])
  assert np.abs(other - images)[1].max() > 0


def test_what_images_are_made_of_by_hand():
  np.testing.assert_array_equal(gan.condition(jnp.array([2, 0]), 3), [[0, 0, 1], [1, 0, 0]])
  several = jnp.array([[1, 0, 1], [0, -1, 0]])  # and always a 1 before them; unknown is not there
  np.testing.assert_array_equal(gan.condition(several, 3), [[1, 1, 0, 1], [1, 0, 0, 0]])


def test_norms_of_several_labels_add_up():
  x, labels = noise(4, 4, 4, 2), jnp.array([[0, 0], [1, 0], [0, 1], [1, 1]])
  norm, classes = gan.ClassNorm(None, several=True), gan.condition(labels, 2)
  variables = norm.init(jax.random.key(0), x, classes, False)
  np.testing.assert_array_equal(variables['params']['scale'], [[1, 1], [0, 0], [0, 0]])
  tables = {'scale': jnp.float32([[1, 1], [1, 0], [2, 3]]), 'bias': jnp.zeros((3, 2))}
  y = norm.apply({**variables, 'params': tables}, x, classes, False)
  scales = np.float32([[1, 1], [2, 1], [3, 4], [4, 4]])
  np.testing.assert_allclose(y, x * scales[:, None, None], rtol=1e-4)


def test_batch_norm_is_that_of_the_batch_in_training_and_remembered():
  apply = functools.partial(GENERATOR.apply, train=True, mutable=['batch_stats'])
  images, stats = jax.jit(apply)(generator_variables(), noise(4, LATENT), LABELS)
  before = generator_variables()['batch_stats']
  assert jax.tree.structure(stats['batch_stats']) == jax.tree.structure(before)
  x = noise(6, 4, 4, 2, seed=3) * 3 + 1
  norm, classes = gan.ClassNorm(None), jax.nn.one_hot(jnp.arange(6) % 2, 2)
  variables = {
    'params': {'scale': jnp.float32([[1, 1], [2, 2]]), 'bias': jnp.float32([[0, 0], [5, 5]])},
    'batch_stats': {'mean': jnp.zeros(2), 'var': jnp.ones(2)},
  }
  y, updated = norm.apply(variables, x, classes, True, mutable=['batch_stats'])
  mean, std = np.mean(x, (0, 1, 2)), np.std(x, (0, 1, 2))
  normed = (x - mean.reshape(1, 1, 1, 2)) / std.reshape(1, 1, 1, 2)
  np.testing.assert_allclose(y[::2], normed[::2], atol=1e-4)
  np.testing.assert_allclose(y[1::2], 2 * normed[1::2] + 5, atol=1e-4)
  np.testing.assert_allclose(updated['batch_stats']['mean'], 0.1 * mean, rtol=1e-5)


def test_every_layer_of_the_discriminator_is_divided_by_its_largest_singular_value():
  variables = discriminator_variables()
  sigmas = jax.tree.leaves_with_path(variables['batch_stats'])
  sigmas = {jax.tree_util.keystr(path): x for path, x in sigmas if x.ndim == 0}
  kernels = jax.tree.leaves_with_path(variables['params'])
  kernels = {jax.tree_util.keystr(path): x for path, x in kernels if x.ndim > 1}
  assert len(sigmas) == len(kernels) == 9  # three blocks of two, the first skip, score, classes
  for path, kernel in kernels.items():
    name = path.split("'")[1]
    (found,) = [x for key, x in sigmas.items() if f'{name}/kernel' in key]
    exact = np.linalg.norm(np.reshape(kernel, (-1, kernel.shape[-1])), ord=2)
    np.testing.assert_allclose(found, exact, rtol=1e-3)
  # So what a kernel is multiplied by makes no difference.
  images = noise(4, 8, 12, 1)
  scaled = jax.tree.map(lambda x: 3 * x if x.ndim > 1 else x, variables['params'])
  expected = score(variables, images, LABELS)
  found = score({**variables, 'params': scaled}, images, LABELS)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_scores_are_of_an_image_and_its_class():
  images = noise(4, 8, 12, 1)
  scores = score(discriminator_variables(), images, LABELS)
  assert scores.shape == (4,)
  other = score(discriminator_variables(), images, LABELS.at[2].set(0))
  np.testing.assert_allclose(other[:2], scores[:2], atol=1e-5)
  assert abs(other[2] - scores[2]) > 1e-4


def test_the_singular_vectors_change_in_training_only():
  apply = functools.partial(DISCRIMINATOR.apply, mutable=['batch_stats'])
  variables = {**discriminator_variables()}
  variables['params'] = jax.tree.map(lambda x: x[::-1] if x.ndim > 1 else x, variables['params'])
  images, kept = noise(4, 8, 12, 1), variables['batch_stats']
  _, after = jax.jit(functools.partial(apply, train=False))(variables, images, LABELS)
  assert_trees_close(after['batch_stats'], kept, 0)
  _, after = jax.jit(functools.partial(apply, train=True))(variables, images, LABELS)
  pairs = zip(jax.tree.leaves(after['batch_stats']), jax.tree.leaves(kept), strict=True)
  assert sum(np.any(a != b) for a, b in pairs) >= 9


def test_doubling_and_halving_by_hand():
  x = jnp.arange(4.0).reshape(1, 2, 2, 1)
  rows = [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
  np.testing.assert_array_equal(gan.double(x)[0, :, :, 0], rows)
  np.testing.assert_array_equal(gan.mean_of_four(gan.double(x)), x)
  np.testing.assert_array_equal(gan.mean_of_four(x), [[[[1.5]]]])


def test_hinge_losses_by_hand():
  real, fake = jnp.array([2.0, 0.5, -1.0]), jnp.array([-3.0, -0.5, 1.5])
  # Real scores lose below 1: 0, 0.5, 2; generated ones above -1: 0, 0.5, 2.5.
  np.testing.assert_allclose(gan.discriminator_loss(real, fake), 2.5 / 3 + 3 / 3, rtol=1e-6)
  np.testing.assert_allclose(gan.generator_loss(fake), 2 / 3, rtol=1e-6)
