import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from unrealnas_jax.data.procedural import perlin


def plain_noise(gradients, y, x):
  """Perlin's noise at one place: four corners, interpolated as in 2002."""
  top, left = int(np.floor(y)), int(np.floor(x))

  def ease(t):
    return t * t * t * (t * (t * 6 - 15) + 10)

  def corner(j, i):
    return gradients[0, j, i] * (y - j) + gradients[1, j, i] * (x - i)

  upper, lower = (
    corner(j, left) + ease(x - left) * (corner(j, left + 1) - corner(j, left))
    for j in (top, top + 1)
  )
  return upper + ease(y - top) * (lower - upper)


def test_noise_is_interpolated_between_corners():
  gradients = np.float64(tiny.noise(2, 6, 6))
  place, frequency = np.array([0.3, 0.8]), np.array([0.37, 0.21])
  arrays = (jnp.float32(x) for x in (gradients, place, frequency))
  found = perlin.gradient_noise((7, 9), *arrays)
  expected = [
    [plain_noise(gradients, *(place + frequency * (j, i))) for i in range(9)] for j in range(7)
  ]
  np.testing.assert_allclose(found, expected, atol=1e-5)
  assert np.std(expected) > 0.1


def test_noise_is_zero_at_lattice_points():
  gradients, ones = jnp.float32(tiny.noise(2, 6, 6)), jnp.ones(2)
  np.testing.assert_array_equal(perlin.gradient_noise((5, 5), gradients, 0 * ones, ones), 0)


@pytest.mark.parametrize('shape', [(1, 1, 1), (5, 5, 3), (16, 32, 1), (33, 17, 1)])
def test_no_place_is_outside_of_the_lattice(shape):
  # There, jnp.take gives NaN.
  paint = lambda label, key: perlin.paint(jax.random.key(5), label, key, shape)  # noqa: E731
  labels, keys = jnp.arange(50), jax.random.split(jax.random.key(0), 50)
  assert np.isfinite(jax.jit(jax.vmap(paint))(labels, keys)).all()
