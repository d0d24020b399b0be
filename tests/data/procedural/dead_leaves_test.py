import jax
import jax.numpy as jnp
import numpy as np

from unrealnas_jax.data.procedural import dead_leaves
from unrealnas_jax.data.procedural.painted import spread, unit

SIZE = 32
WORLD, KEY = jax.random.key(5), jax.random.key(1)


def plain_image(label):
  """The leaves one after the other, by their definition."""
  direction, form, stretch, size = np.asarray(spread(WORLD, jnp.int32(label), 4), np.float64)
  form, stretch, smallest = 2 * form, 5**stretch, 0.15 * 4**size
  draws = np.asarray(unit(jax.random.bits(KEY, (5, dead_leaves.LEAVES))), np.float64)
  middles = (2 * np.arange(SIZE) + 1) / SIZE - 1
  y, x = np.meshgrid(middles, middles, indexing='ij')
  image = np.full((SIZE, SIZE), draws[4, 0])
  for top, left, angle, radius, colour in draws.T[1:]:
    dy, dx = y - (2.4 * top - 1.2), x - (2.4 * left - 1.2)
    angle = np.pi * direction + 0.3 * (2 * angle - 1)
    radius = (1 + radius * (smallest**-2 - 1)) ** -0.5
    u = np.abs(np.cos(angle) * dx + np.sin(angle) * dy) / (radius * np.sqrt(stretch))
    v = np.abs(np.cos(angle) * dy - np.sin(angle) * dx) / (radius / np.sqrt(stretch))
    image[form * (u + v) + (1 - form) * np.maximum(u, v) <= 1] = colour
  return image


def test_leaves_lie_where_and_as_they_should():
  paint = lambda label: dead_leaves.paint(WORLD, label, KEY, (SIZE, SIZE, 1))  # noqa: E731
  images = np.asarray(jax.jit(jax.vmap(paint))(jnp.arange(8)))[..., 0]
  for label, image in enumerate(images):
    expected = plain_image(label)
    # A pixel right on an edge may fall to either side.
    assert (np.abs(image - expected) > 1e-6).mean() < 2e-3
    assert len(np.unique(expected)) > 5


def test_radii_have_the_density_of_their_power():
  # Of the density 2 r^-3 / (s^-2 - 1) on s..1, the part above r is (r^-2 - 1) / (s^-2 - 1).
  radius = np.sort(np.asarray(dead_leaves.radii(jax.random.uniform(KEY, (20_000,)), 0.2)))
  assert 0.2 <= radius[0] < radius[-1] <= 1
  above = (radius**-2 - 1) / (0.2**-2 - 1)
  # The largest distance of two distribution functions (Kolmogorov): below 2 / sqrt(n) but once in
  # 1500 draws.
  assert np.abs(above - np.linspace(1, 0, len(radius))).max() < 2 / np.sqrt(len(radius))
