"""Retraining around its network: the loss, the drop path's schedule, what is tested, what it costs.

The network is replaced by one that is compiled at once; whole_run_test trains real ones.
"""

import functools
import json

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
import quick_run

from configs import default
from unrealnas_jax import genotype, nasbench201, retrain
from unrealnas_jax.data.split import Dataset, Split

TRAIN, TEST = 48, 21


class StandIn(nn.Module):
  """Class 0 or 1 by the brightness of an image, and more surely the higher the drop path."""

  auxiliary: bool = True
  axis_name: str | None = None
  draw: object = None
  surely: float = 0.0

  @nn.compact
  def __call__(self, images, *, train, drop_path=None, example_keys=None):
    w = self.param('w', lambda key: jnp.zeros(3))
    self.variable('batch_stats', 'mean', lambda: jnp.zeros(2))
    sign = jnp.sign(images[:, 0, 0, 0])
    if not train:
      return jnp.stack([-sign, sign], -1) + w.sum(), None
    assert example_keys.shape == images.shape[:1]
    ones = jnp.ones_like(sign)
    logits = jnp.stack([drop_path * ones, 0 * ones], -1) + w.sum()
    return logits, jnp.stack([ones, 0 * ones], -1)


class WithoutDropPath(StandIn):
  """Refuses a drop path that is not known to be 0 when the step is compiled."""

  def __call__(self, images, *, train, drop_path=0.0, example_keys=None):
    assert isinstance(drop_path, float)
    assert drop_path == 0
    return super().__call__(images, train=train, drop_path=0.0, example_keys=example_keys)


def make_dataset(reads=None):
  """Image n is bright where n is odd, and of class 1 then; the last three test images lie."""

  def read(split, size, indices, numbers=None):
    if reads is not None:
      reads.append(split)
    bright = np.float32(indices % 2)[:, None, None, None]
    label = np.int32(indices % 2)
    if split == 'test':
      label = np.where(indices >= size - 3, 1 - label, label)
    return {'image': np.tile(bright, (1, 8, 8, 1)), 'label': label}

  splits = (
    Split(size, functools.partial(read, name, size))
    for name, size in (('train', TRAIN), ('test', TEST))
  )
  mean, std = np.full(1, 0.5, np.float32), np.ones(1, np.float32)
  return Dataset('made', *splits, 2, (8, 8, 1), mean, std)


def make_labels_dataset(second):
  """The same images with two labels: not bright, where the last three test images lie, and another.

  second: label of all images, 1, 0, or -1 for one that is not known.
  """
  dataset = make_dataset()

  def multi_hot(split):
    def read(indices, numbers=None):
      batch = split.read(indices)
      dark = 1 - batch['label']
      return {**batch, 'label': np.stack([dark, np.full_like(dark, second)], 1)}

    return split._replace(read=read)

  train, test = multi_hot(dataset.train), multi_hot(dataset.test)
  return dataset._replace(train=train, test=test, names=('dark', 'b'), scored=('dark', 'b'))


def make_config(**changes):
  config = quick_run.get_config()
  config.retrain.update({'epochs': 3, 'drop_path': 0.6, 'auxiliary': 0.4, **changes})
  return config


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch):
  networks = {True: StandIn(), False: WithoutDropPath()}
  monkeypatch.setattr(
    retrain, 'make_network', lambda config, *args: networks[config.retrain.drop_path > 0]
  )


def lines(folder):
  return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def cross_entropy(logit, accuracy):
  """Of logits (logit, 0), where `accuracy` of the labels are 0."""
  loss_of_0, loss_of_1 = np.log1p(np.exp(-logit)), np.log1p(np.exp(logit))
  return accuracy * loss_of_0 + (1 - accuracy) * loss_of_1


@pytest.mark.parametrize('auxiliary', [0.4, 0.0])
def test_loss_drop_path_and_learning_rate_by_hand(tmp_path, auxiliary):
  config = make_config(auxiliary=auxiliary)
  facts = retrain.run(config, None, make_dataset(), tmp_path)
  assert facts['retrain_steps'] == 9
  steps = [line for line in lines(tmp_path) if 'epoch' not in line]
  for number, line in enumerate(steps):
    drop_path = 0.6 * (number // 3) / 3
    expected = cross_entropy(drop_path, line['train_accuracy'])
    expected += auxiliary * cross_entropy(1, line['train_accuracy'])
    np.testing.assert_allclose(line['train_loss'], expected, rtol=1e-5)
  epochs = [line for line in lines(tmp_path) if 'epoch' in line]
  rates = 0.025 * (1 + np.cos(np.pi * np.arange(3) / 3)) / 2
  np.testing.assert_allclose([line['learning_rate'] for line in epochs], rates, rtol=1e-5)


def test_without_drop_path_none_is_computed(tmp_path):
  facts = retrain.run(make_config(epochs=1, drop_path=0.0), None, make_dataset(), tmp_path)
  assert facts['retrain_steps'] == 3


def test_every_test_image_counts_once_and_after_training(tmp_path):
  reads = []
  config = make_config(epochs=1)
  facts = retrain.run(config, None, make_dataset(reads), tmp_path)
  # 21 images are a batch of 16 and one of 5; the three that lie are wrong.
  assert facts['test_accuracy'] == 18 / 21
  assert facts['test_images'] == 21
  assert facts['dataset'] == 'made'
  assert reads == ['train'] * 3 + ['test'] * 2
  # Again: nothing is trained, and the test is the same.
  reads.clear()
  again = retrain.run(config, None, make_dataset(reads), tmp_path)
  assert {**again, 'retrain_seconds': facts['retrain_seconds']} == facts
  assert reads == ['test'] * 2


@pytest.mark.parametrize(('second', 'known'), [(1, 42), (0, 42), (-1, 21)])
def test_labels_have_an_auc_each_and_a_mean(tmp_path, second, known):
  facts = retrain.run(make_config(epochs=1), None, make_labels_dataset(second), tmp_path)
  # Of 21 images the 11 with even numbers are dark, and score high; of those 18 and 20 lie, and 19
  # of the others. So 9 of 10 dark ones by label score high, and 2 of 11 others: of 110 pairs
  # 9 * 9 are ordered rightly, and 9 * 2 + 1 * 9 are ties.
  area = (9 * 9 + (9 * 2 + 1 * 9) / 2) / 110
  np.testing.assert_allclose(facts['test_auc_per_label'].pop('dark'), area)
  # The other label has no AUC, which leaves the mean to the first.
  assert np.isnan(facts['test_auc_per_label'].pop('b'))
  assert not facts['test_auc_per_label']
  np.testing.assert_allclose(facts['test_auc'], area)
  # It is right where the sign is: of the 10 images with odd numbers it says that they have it.
  right = {1: 10, 0: 11, -1: 0}[second]
  np.testing.assert_allclose(facts['test_accuracy'], (18 + right) / known)
  assert facts['test_images'] == 21


def test_the_mean_auc_is_over_the_scored_labels():
  dataset = make_dataset()._replace(names=('a', 'b', 'c'), scored=('c', 'a'))
  scores, labels = np.arange(4.0)[:, None].repeat(3, 1), np.array([[0, 1, 1, 1]]).T
  labels = np.concatenate([labels, labels[::-1], [[0], [1], [0], [1]]], axis=1)
  assert retrain.mean_auc(dataset, scores, labels) == {
    'test_auc': (3 / 4 + 1) / 2,
    'test_auc_per_label': {'a': 1, 'b': 0, 'c': 3 / 4},
  }


def test_loss_of_labels_is_that_of_each_alone(tmp_path):
  """Logits (0, 0) cost log 2 a label that is known, divided by the number of all labels."""
  config = make_config(epochs=1, auxiliary=0.0)
  for second, expected in ((1, np.log(2)), (-1, np.log(2) / 2)):
    retrain.run(config, None, make_labels_dataset(second), tmp_path / str(second))
    first = lines(tmp_path / str(second))[0]
    np.testing.assert_allclose(first['train_loss'], expected, rtol=1e-6)


def test_learns_with_a_nasbench201_cell(tmp_path, monkeypatch):
  monkeypatch.undo()
  conv, skip, pool = 'nor_conv_3x3', 'skip_connect', 'avg_pool_3x3'
  cell = nasbench201.Architecture((skip, 'none', pool, conv, skip, skip))
  config = make_config(auxiliary=0.0, drop_path=0.0, channels=2, cells=1, epochs=6)
  facts = retrain.run(config, cell, make_dataset(), tmp_path)
  losses = [line['train_loss'] for line in lines(tmp_path) if 'epoch' not in line]
  assert losses[-1] < 0.5 * losses[0]
  # Classes are bright and dark images; the last three of the test lie.
  assert facts['test_accuracy'] == 18 / 21
  assert facts['parameters'] == 2_008


def test_size_is_that_of_the_network_that_is_tested(monkeypatch):
  monkeypatch.undo()
  config = default.get_config('paper')
  record = genotype.RECORDS['DARTS_V2']
  network = retrain.make_network(config, genotype.PUBLISHED['DARTS_V2'], 10)
  assert network.auxiliary
  counts = record['counts']
  assert retrain.measure(network, (32, 32, 3)) == {
    'parameters': counts['cifar10_C36_L20_params'],
    'multiply_adds': counts['cifar10_C36_L20_conv_fc_macs'],
  }
