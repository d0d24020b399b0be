import jax
import jax.numpy as jnp
import numpy as np
import tiny

from unrealnas_jax.data.procedural import fractals


def test_every_map_contracts():
  def singular_values(class_key, image_key):
    maps, _ = fractals.system(class_key, jax.random.uniform(image_key, (fractals.SYSTEM,)))
    return jnp.linalg.svd(maps, compute_uv=False)

  keys = [jax.random.split(jax.random.key(n), 500) for n in (1, 2)]
  values = np.asarray(jax.jit(jax.vmap(singular_values))(*keys))
  np.testing.assert_allclose(values.max(), fractals.LARGEST, rtol=1e-5)
  assert values.min() > 0.1


def test_images_of_a_class_have_nearly_one_system():
  offs = jax.random.uniform(jax.random.key(2), (50, fractals.SYSTEM))
  systems = jax.jit(jax.vmap(fractals.system, (None, 0)))
  for seed in range(5):
    maps, shifts = systems(jax.random.key(seed), offs)
    mirrored = np.sign(np.linalg.det(maps))
    np.testing.assert_array_equal(mirrored, np.tile(mirrored[:1], (50, 1)))
    # Each number is off by half of JITTER at most, so two images differ by JITTER: a shift, which
    # goes from -1 to 1, by twice that; an angle by 2 pi of it, and there are two to a map.
    assert np.ptp(shifts, axis=0).max() <= 2 * fractals.JITTER
    assert np.ptp(maps, axis=0).max() < 2 * fractals.LARGEST * 4 * np.pi * fractals.JITTER


def quarters(steps=100):
  """(points [N, 2], colours [N, 4]) of the system whose four maps fill a square by its quarters."""
  corners = jnp.array([[0, 0], [0, 1], [1, 0], [1, 1]], jnp.float32)
  maps = jnp.tile(0.5 * jnp.eye(2), (4, 1, 1))
  choices = jax.random.bits(jax.random.key(3), (fractals.BURN_IN + steps, 64)) % 4
  points, tints = fractals.chaos_game(choices, maps, corners / 2, jnp.eye(4))
  assert points.shape == (steps, 64, 2)
  return np.asarray(points).reshape(-1, 2), np.asarray(tints).reshape(-1, 4)


def test_the_chaos_game_fills_the_attractor():
  points, _ = quarters()
  assert points.min() >= 0
  assert points.max() <= 1
  # Uniform over the square, with variance 1/12. A step halves what was before, so the n points of
  # chains count as n / 3 independent ones ((1 + 1/2) / (1 - 1/2) = 3).
  deviation = np.sqrt(3 / 12 / len(points))
  np.testing.assert_allclose(points.mean(0), 0.5, atol=5 * deviation)
  np.testing.assert_allclose(points.var(0), 1 / 12, atol=5 * deviation / 2)


def test_colours_follow_the_maps():
  points, tints = quarters()
  # The map that was applied last moved the point into its quarter, and gave half of the colour.
  last = 2 * (points[:, 0] >= 0.5) + (points[:, 1] >= 0.5)
  np.testing.assert_array_equal(tints.argmax(1), last)
  np.testing.assert_allclose(tints.sum(1), 1, atol=2**-fractals.BURN_IN)


def test_the_frame_shows_all_of_it():
  points = jnp.float32(tiny.noise(5, 7, 2)) * jnp.array([[[3, 1]]]) + 8
  framed = np.asarray(fractals.frame(points)).reshape(-1, 2)
  np.testing.assert_allclose([framed[:, 0].min(), framed[:, 0].max()], [-0.95, 0.95], rtol=1e-5)
  np.testing.assert_allclose(framed[:, 1].min(), -framed[:, 1].max(), rtol=1e-4)
  # Both axes are scaled alike.
  ratio = np.ptp(framed, axis=0) / np.ptp(points, axis=(0, 1))
  np.testing.assert_allclose(ratio[0], ratio[1], rtol=1e-4)


def test_points_fall_on_pixels_by_hand():
  # 2 rows of 4 pixels: x from -2 to 2, y from -1 to 1.
  points = jnp.array([[[-1.9, -0.5], [-1.1, -0.1]], [[0.5, 0.5], [1.9, 0.9]]])
  tints = jnp.array([[[0.0], [1.0]], [[0.2], [0.4]]])
  count, tint = fractals.splat(points, tints, (2, 4, 1))
  np.testing.assert_array_equal(count[..., 0], [[2, 0, 0, 0], [0, 0, 1, 1]])
  np.testing.assert_allclose(tint[..., 0], [[1, 0, 0, 0], [0, 0, 0.2, 0.4]], atol=1e-6)
