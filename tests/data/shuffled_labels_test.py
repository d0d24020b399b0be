"""Real images with one another's labels."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from unrealnas_jax.data import batches, make_source
from unrealnas_jax.data.split import Dataset, in_memory

N = 1000
OWN = np.arange(N) % 4 % 3  # class 0 twice as often as the others


def make(seed=2, labels=OWN):
  train = in_memory(np.zeros((N, 1, 1, 1), np.uint8), labels)
  one = np.ones(1, np.float32)
  dataset = Dataset('made', train, train, 3, (1, 1, 1), one, one)
  return make_source(
    ConfigDict({'seed': seed, 'source': {'name': 'shuffled_labels', 'pretext': ''}}), dataset
  )


def test_every_label_stays_as_often_and_an_image_keeps_its_own():
  source = make()
  labels = source.read(np.arange(N))['label']
  assert labels.dtype == np.int32
  np.testing.assert_array_equal(np.bincount(labels), np.bincount(OWN))
  # Dealt out at random, a label is the own one with 1/4 + 1/16 + 1/16 = 0.375: 375 of 1,000.
  assert abs((labels == OWN).sum() - 375) < 5 * np.sqrt(N * 0.375 * 0.625)
  np.testing.assert_array_equal(source.read(np.array([5, 999, 5]))['label'], labels[[5, 999, 5]])
  np.testing.assert_array_equal(make().read(np.arange(N))['label'], labels)
  assert (make(seed=3).read(np.arange(N))['label'] != labels).any()


@pytest.mark.parametrize('start', [0, 3])
def test_batches_show_the_shuffled_labels_from_any_step(start):
  source = make()
  labels = source.read(np.arange(N))['label']
  for batch in batches.train_batches(source.read, np.arange(N), 100, 2, range(start, 5)):
    np.testing.assert_array_equal(batch['label'], labels[batch['index']])


def test_sets_of_several_labels_stay_together():
  own = np.random.default_rng(0).integers(-1, 2, (N, 3))
  labels = make(labels=own).read(np.arange(N))['label']
  assert (labels != own).any()
  order = np.lexsort(own.T), np.lexsort(labels.T)
  np.testing.assert_array_equal(labels[order[1]], own[order[0]])
