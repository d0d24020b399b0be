"""The dominant eigenvalue of known matrices, and when a search has gone too far."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import default
from unrealnas_jax import eigenvalue
from unrealnas_jax.methods import unrolled

HP = ConfigDict(dict(every=1, window=2, back=1, factor=1.3, first=3))
VALUES = (7.0, 2.0, -1.0)


@pytest.mark.parametrize('sign', [1, -1])
def test_the_eigenvalue_of_largest_magnitude_is_found(sign):
  """Eigenvalues 7, 2 and -1 (or minus these) of a matrix on a tree of two arrays."""
  q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
  matrix = jnp.float32(sign * q @ np.diag(VALUES) @ q.T)

  def product(v):
    image = matrix @ jnp.concatenate([v['a'], v['b']])
    return {'a': image[:1], 'b': image[1:]}

  like = {'a': jnp.zeros(1), 'b': jnp.zeros(2)}
  found = eigenvalue.dominant(product, like, jax.random.key(0))
  np.testing.assert_allclose(found, sign * 7, rtol=1e-4)


def test_differences_of_gradients_are_products_enough():
  """The loss x^T A x / 2 + sum(x^3): its Hessian at 0 is A, with eigenvalues 3 and 1."""
  matrix = jnp.array([[2.0, 1], [1, 2]])
  gradient = jax.grad(lambda x: x @ matrix @ x / 2 + (x**3).sum())

  def product(v):
    return unrolled.finite_difference(gradient, jnp.zeros(2), v)

  found = eigenvalue.dominant(product, jnp.zeros(2), jax.random.key(0))
  np.testing.assert_allclose(found, 3, rtol=1e-3)


@pytest.mark.parametrize(
  ('values', 'taken'),
  [
    ([1, 1, 1, 1, 1], None),
    # Averages over two measures: 1, 1, 1, 1, 2: from 1 to 2 is more than 1.3 times. The average
    # before is that of the third and fourth value, with the third in its middle.
    ([1, 1, 1, 1, 3], 2),
    ([1, 1, 1, 1, 1.5], None),
    # The growth from 1 to 5 would be of an epoch before the third.
    ([1, 9, 9, 9, 9], None),
    ([1, 1, 1, 3, 3], 2),
    # Of either sign: it is the magnitude that grows.
    ([-1, -1, -1, -1, -0.5], None),
    ([-1, -1, -1, 0.1, 0.1], None),
    ([-1, -1, -1, -1, -3], 2),
    ([], None),
  ],
)
def test_a_search_ends_where_the_average_has_grown(values, taken):
  assert eigenvalue.sharp_since(values, HP) == taken


@pytest.mark.parametrize(
  ('every', 'measures', 'epoch'),
  [
    # EVLocalAvg with its defaults counts epochs from 0 and takes e - freq * 2 - freq * 4, from 10
    # on. Measured each epoch, that is in epoch 16 (from 0) the epoch 10, the eleventh.
    (1, 17, 11),
    # In 16 measures no epoch from the eleventh on is far enough back.
    (1, 16, None),
    # Each second epoch: six measures before the twelfth, which is epoch 24, lies epoch 12.
    (2, 12, 12),
    (2, 11, None),
  ],
)
def test_the_epoch_is_that_of_the_official_code(every, measures, epoch):
  """Eigenvalues that double from measure to measure, so that the first epoch allowed is taken."""
  config = default.get_config('paper')
  config.method.eigenvalue.every = every
  epochs = [{'epoch': e} for e in range(1, every * measures + 1)]
  for number, values in enumerate(epochs[every - 1 :: every]):
    values['eigenvalue'] = 2.0**number
  found = eigenvalue.turning_point(epochs, config)
  assert (found and found['epoch']) == epoch
  config.search.epochs = len(epochs)  # the search has come to its end
  assert eigenvalue.turning_point(epochs, config) is None
