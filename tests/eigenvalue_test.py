"""The dominant eigenvalue of known matrices, and when a search has gone too far."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from unrealnas_jax import eigenvalue
from unrealnas_jax.methods import unrolled

HP = ConfigDict(dict(window=2, back=1, factor=1.3, first=3))
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
  ('values', 'epoch'),
  [
    ([1, 1, 1, 1, 1], None),
    # Averages over two measures: 1, 1, 1, 1, 2: from 1 to 2 is more than 1.3 times.
    ([1, 1, 1, 1, 3], 3),
    ([1, 1, 1, 1, 1.5], None),
    # The growth from 1 to 5 comes before the first comparison.
    ([1, 9, 9, 9, 9], None),
    ([1, 1, 1, 3, 3], 2),
    # Of either sign: it is the magnitude that grows.
    ([-1, -1, -1, -1, -0.5], None),
    ([-1, -1, -1, 0.1, 0.1], None),
    ([-1, -1, -1, -1, -3], 3),
    ([], None),
  ],
)
def test_a_search_ends_where_the_average_has_grown(values, epoch):
  assert eigenvalue.sharp_since(values, HP) == epoch
