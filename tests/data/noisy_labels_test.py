"""Real images of which a part has random labels."""

import jax
import numpy as np
import pytest
import quick_compile
from ml_collections import ConfigDict

from unrealnas_jax.data import make_source
from unrealnas_jax.data.split import Dataset, in_memory

KEY = jax.random.key(7)
N, CLASSES = 4000, 5
OWN = np.arange(N) % CLASSES


def dataset(labels, **changes):
  train = in_memory(np.zeros((N, 1, 1, 1), np.uint8), labels)
  one = np.ones(1, np.float32)
  return Dataset('made', train, train, CLASSES, (1, 1, 1), one, one)._replace(**changes)


def labels_at(ratio, made, name='noisy_labels', label_rate=0.0):
  source = {'name': name, 'classes': CLASSES, 'label_noise': ratio, 'label_rate': label_rate}
  source = make_source(ConfigDict({'source': {**source, 'pretext': ''}}), made)
  return np.asarray(quick_compile.jit_to_the_bit(source.fn)(KEY, source.read(np.arange(N)))[1])


@pytest.fixture(scope='module')
def drawn():
  return {ratio: labels_at(ratio, dataset(OWN)) for ratio in (0.0, 0.3, 1.0)}


def test_none_are_random_at_0_and_all_at_1(drawn):
  np.testing.assert_array_equal(drawn[0.0], OWN)
  np.testing.assert_array_equal(drawn[1.0], labels_at(0.0, dataset(OWN), 'random_labels'))


def test_as_many_differ_as_the_ratio_says(drawn):
  # A random label is another one in 4 of 5 cases: 0.24 of all, each by itself.
  expected, deviation = 0.24 * N, np.sqrt(N * 0.24 * 0.76)
  assert abs((drawn[0.3] != OWN).sum() - expected) < 5 * deviation
  # Those that differ are the ones of a ratio of 1, and of no class more than of another.
  changed = drawn[0.3] != OWN
  np.testing.assert_array_equal(drawn[0.3][changed], drawn[1.0][changed])
  np.testing.assert_allclose(
    np.bincount(OWN[changed], minlength=CLASSES), expected / 5, atol=5 * deviation / np.sqrt(5)
  )


def test_several_labels_are_replaced_together():
  own = np.random.default_rng(0).integers(-1, 2, (N, CLASSES))
  made = dataset(own, names=tuple('abcde'))
  labels = labels_at(0.3, made, label_rate=0.25)
  kept = (labels == own).all(1)
  # An image is dealt its own labels again where each comes out as it was: 1 with a probability of
  # 1/4, 0 of 3/4, and one that is not known never. Of these that is one image in 3^5 = 243.
  again = np.select([own == 1, own == 0], [0.25, 0.75], 0).prod(1)
  changed = 0.3 * (1 - again)
  assert abs((~kept).sum() - changed.sum()) < 5 * np.sqrt((changed * (1 - changed)).sum())
  share = labels[~kept].mean()
  assert abs(share - 0.25) < 6 * np.sqrt(0.25 * 0.75 / labels[~kept].size)
  with pytest.raises(ValueError, match=r'source\.label_rate = 0\.0; allowed: above 0 with images'):
    labels_at(0.3, made)
