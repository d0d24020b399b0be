"""Which examples search for what: DARTS's halves, and balanced subsets of each class."""

import numpy as np
import pytest

from unrealnas_jax.data.halves import draw_halves, split_halves


@pytest.mark.parametrize(
  ('size', 'portion', 'count'), [(50_000, 0.5, 25_000), (7, 0.5, 3), (10, 0.29, 2), (2, 0.5, 1)]
)
def test_halves_are_split_by_position(size, portion, count):
  weights, arch = split_halves(size, portion)
  np.testing.assert_array_equal(weights, np.arange(count))
  np.testing.assert_array_equal(arch, np.arange(count, size))


@pytest.mark.parametrize(('size', 'portion'), [(10, 0), (10, 1), (10, -0.5), (10, 1.5), (1, 0.5)])
def test_an_empty_half_is_refused(size, portion):
  with pytest.raises(
    ValueError, match=rf'search\.train_portion = {portion} leaves -?\d+ of {size}'
  ):
    split_halves(size, portion)


def test_a_subset_is_drawn_from_each_class_alike():
  """Classes of 40, 80 and 7: 10 % and 2.5 % of each, rounded down."""
  labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [40, 80, 7]))
  weights, arch = draw_halves(127, 0.8, 0.125, 3, labels)
  np.testing.assert_array_equal(np.bincount(labels[weights], minlength=3), [4, 8, 0])
  np.testing.assert_array_equal(np.bincount(labels[arch], minlength=3), [1, 2, 0])
  assert not set(weights) & set(arch)
  for half in (weights, arch):
    np.testing.assert_array_equal(half, np.unique(half))
  again = draw_halves(127, 0.8, 0.125, 3, labels)
  for half, same in zip((weights, arch), again, strict=True):
    np.testing.assert_array_equal(half, same)
  other, _ = draw_halves(127, 0.8, 0.125, 4, labels)
  assert set(other) != set(weights)


def test_imagenet_gives_pc_darts_its_numbers():
  """A class of 1,300 images gives 130 and 32, one of 1,000 gives 100 and 25."""
  weights, arch = draw_halves(2300, 0.8, 0.125, 0, np.repeat([0, 1], [1300, 1000]))
  np.testing.assert_array_equal(np.bincount(weights // 1300), [130, 100])
  np.testing.assert_array_equal(np.bincount(arch // 1300), [32, 25])


@pytest.mark.parametrize('labels', [None, np.zeros((100, 3), int)], ids=['none', 'multi-hot'])
def test_a_subset_without_classes_is_drawn_from_all(labels):
  weights, arch = draw_halves(100, 0.5, 0.2, 0, labels)
  assert (len(weights), len(arch)) == (10, 10)
  assert set(np.concatenate([weights, arch])) < set(range(100))


def test_a_subset_that_leaves_a_half_empty_is_refused():
  message = r'search\.subset = 0\.1 at search\.train_portion = 0\.9 leaves 3 of 40 .* and 0 for'
  with pytest.raises(ValueError, match=message):
    draw_halves(40, 0.9, 0.1, 0, np.zeros(40, int))
