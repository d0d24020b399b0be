"""The search around its supernet: which images it sees, what it tells, when it ends.

The supernet and the method are replaced by ones that are compiled at once and whose state depends
on all they are shown; whole_run_test searches with the real ones.
"""

import io
import json
import logging as std_logging
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quick_run
import tiny
from absl import logging
from jax import lax

from unrealnas_jax import data, parallel, search, watch
from unrealnas_jax.data.split import Dataset, Split
from unrealnas_jax.methods import METHODS, darts
from unrealnas_jax.parallel import AXIS
from unrealnas_jax.spaces import SPACES
from unrealnas_jax.state import SearchState
from unrealnas_jax.supernet import Net

IMAGES = 64
SPACE = SPACES['quick']


def make_config(source='real', **search):
  config = quick_run.get_config()
  config.source.name = source
  config.search.augment.pad = 0
  config.search.update(search)
  return config


def unreadable(indices):
  raise AssertionError('the search looked at test images')


def make_dataset():
  """Image number n is n / 1000 in every pixel, and of class n % 4; test images cannot be read."""

  def read(indices, numbers=None):
    pixels = np.float32(indices)[:, None, None, None] / 1000
    return {'image': np.tile(pixels, (1, 8, 8, 1)), 'label': np.int32(indices % 4)}

  mean, std = np.zeros(1, np.float32), np.ones(1, np.float32)
  splits = Split(IMAGES, read), Split(9, unreadable)
  return Dataset('made', *splits, 4, (8, 8, 1), mean, std)


def numbers(images):
  """Which images of `make_dataset` these are."""
  return jnp.round(images[:, 0, 0, 0] * 1000).astype(jnp.int32)


def step(key, state, train, val, *, net, tx, hp):
  """Mixes all it is given into the alphas, and tells which images it saw."""
  noise = jax.random.normal(key, (2,))
  seen = parallel.mean(jnp.stack([jnp.sum(x * (1 + y[0])) for x, y in (train, val)]))
  arch = jax.tree.map(lambda x: 0.9 * x + 0.1 * noise[0] + 0.01 * seen.sum(), state.arch)
  metrics = {'noise': noise[1], 'seen': seen[0]}
  for name, (images, labels) in (('train', train), ('val', val)):
    metrics[f'{name}_first'] = lax.pmin(numbers(images).min(), AXIS)
    metrics[f'{name}_last'] = lax.pmax(numbers(images).max(), AXIS)
    right = labels == net.loss(images)
    metrics[f'{name}_right'] = parallel.mean(right.mean())
  return state.replace(step=state.step + 1, arch=arch), metrics


@pytest.fixture
def stand_ins(monkeypatch):
  """Puts the stand-ins in place; `labels` of what it returns are the true labels to them.

  Its `judge` is 1 for mixing weights whose network answers right, -1 for others.
  """
  expected = types.SimpleNamespace(labels=jnp.arange(IMAGES) % 4, judge=lambda weights: 1)

  def label_of(images):
    return expected.labels[numbers(images) % IMAGES]

  def apply(params, stats, weights, images, train):
    assert not train
    return expected.judge(weights) * jax.nn.one_hot(label_of(images), 4), stats

  net = Net(SPACE, lambda key: ({'w': jnp.zeros(2)}, {'m': jnp.zeros(2)}), apply, label_of)
  method = types.SimpleNamespace(
    init=darts.init, weights=darts.weights, decode=darts.decode, step=step, SPARSE=False
  )
  monkeypatch.setitem(METHODS, 'darts', method)
  monkeypatch.setattr(search, 'make_net', lambda *args: net)
  return expected


def lines(folder):
  return [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]


def of_steps(folder):
  return [line for line in lines(folder) if 'epoch' not in line]


def of_epochs(folder):
  return [line for line in lines(folder) if 'epoch' in line]


def test_settings_of_the_weights_reach_optimizers_and_loss():
  """Of the gradients 7 and -2 the first is cut to 5, and Nesterov's first step is 1.9 of it."""
  config = make_config()
  config.search.update(dict(nesterov=True, clip_by='value', decayed='convolutions', lr=0.1))
  config.search.update(dict(momentum=0.9, clip=5.0, weight_decay=0.5, label_smoothing=0.1))
  weights = search.make_optimizers(config, 1).weights
  params = {'stem': {'kernel': jnp.float32(1), 'bias': jnp.float32(1)}}
  gradient = {'stem': {'kernel': jnp.float32(7), 'bias': jnp.float32(-2)}}
  updates, _ = weights.update(gradient, weights.init(params), params)
  np.testing.assert_allclose(updates['stem']['kernel'], -0.1 * 1.9 * (5 + 0.5), rtol=1e-6)
  np.testing.assert_allclose(updates['stem']['bias'], 0.1 * 1.9 * 2, rtol=1e-6)
  assert search.make_net(config, 4, 1).smoothing == 0.1


def test_halves_are_kept_apart_and_test_images_out(tmp_path, stand_ins):
  genotype, facts = search.run(make_config(), make_dataset(), tmp_path)
  assert facts['search_steps'] == 8
  for line in of_steps(tmp_path):
    assert 0 <= line['train_first'] <= line['train_last'] < 32
    assert 32 <= line['val_first'] <= line['val_last'] < 64
    assert line['train_right'] == line['val_right'] == 1
  assert len({line['noise'] for line in of_steps(tmp_path)}) == 8
  assert [line['eval_accuracy'] for line in of_epochs(tmp_path)] == [1, 1]
  # Whether the accuracy is that of the architecture's half: wrong labels there halve it.
  stand_ins.labels = (jnp.arange(IMAGES) + (jnp.arange(IMAGES) >= 48)) % 4
  search.run(make_config(), make_dataset(), tmp_path / 'other')
  assert [line['eval_accuracy'] for line in of_epochs(tmp_path / 'other')] == [0.5, 0.5]
  assert json.loads((tmp_path / 'genotype.json').read_text())['normal'] == [
    list(edge) for edge in genotype.normal
  ]


def test_a_subset_searches_on_the_same_share_of_each_class(tmp_path, stand_ins):
  """Half of 64 images of four classes: four of each for the weights, four for the architecture."""
  dataset = make_dataset()
  labels = np.arange(IMAGES) % 4
  dataset = dataset._replace(train=dataset.train._replace(labels=lambda: labels))
  config = make_config(subset=0.5, epochs=4)
  plan = search.prepare(config, dataset).plan
  assert plan.epoch_steps == 2
  calls = list(plan.batches(range(plan.steps)))
  seen = [{n for call in calls for n in call[half]['index'].ravel()} for half in (0, 1)]
  assert not seen[0] & seen[1]
  for half in seen:
    np.testing.assert_array_equal(np.bincount(labels[list(half)]), [4, 4, 4, 4])
  search.run(config, dataset, tmp_path)
  assert [line['eval_accuracy'] for line in of_epochs(tmp_path)] == [1, 1, 1, 1]


@pytest.mark.parametrize('sparse', [False, True])
def test_a_supernet_trained_path_by_path_is_judged_by_its_strongest_path(
  tmp_path, stand_ins, sparse
):
  def judge(weights):
    alone = jnp.stack([(table.max(1) == 1).all() for table in weights.values()]).all()
    return jnp.where(alone == sparse, 1, -1)

  METHODS['darts'].SPARSE = sparse
  stand_ins.judge = judge
  search.run(make_config(), make_dataset(), tmp_path)
  assert [line['eval_accuracy'] for line in of_epochs(tmp_path)] == [1, 1]


def sharper_and_sharper(*_):
  """In place of the eigenvalue: 1 after the first epoch of four steps, then 2, 3 and so on."""
  return lambda key, state, batch: parallel.mean(state.step / 4)


def test_a_search_ends_when_its_eigenvalue_has_grown(tmp_path, stand_ins, monkeypatch):
  """Averages of two are 1, 1.5, 2.5 and 3.5: the fourth grew 1.4 times, and stands on epoch 2."""
  monkeypatch.setattr(watch, '_make_sharpness', sharper_and_sharper)
  config = make_config(epochs=6)
  config.method.eigenvalue.update(dict(every=1, window=2, back=1, factor=1.3, first=2))
  genotype, facts = search.run(config, make_dataset(), tmp_path)
  epochs = of_epochs(tmp_path)
  assert [line['eigenvalue'] for line in epochs] == [1, 2, 3, 4]
  assert facts['genotype_of_epoch'] == 2
  assert facts['search_steps'] == 16
  weights = {kind: np.array(table) for kind, table in epochs[1]['weights'].items()}
  assert genotype == SPACE.decode(weights)
  # The same again, and the workdir given as a genotype, know that it has ended.
  again, facts = search.run(config, make_dataset(), tmp_path)
  assert (again, facts['search_steps']) == (genotype, 16)
  assert of_epochs(tmp_path) == epochs


def test_an_earlier_epoch_is_decoded_to_the_last_digit(tmp_path, stand_ins, monkeypatch):
  """Mixing weights that differ by some ten-millionths."""
  arch = jax.tree.map(lambda table: 1e-4 * table, tiny.state_of(SPACE).arch)

  def step(key, state, train, val, *, net, tx, hp):
    return state.replace(step=state.step + 1), {'noise': jax.random.uniform(key)}

  METHODS['darts'].init, METHODS['darts'].step = lambda key, net, hp: arch, step
  monkeypatch.setattr(watch, '_make_sharpness', sharper_and_sharper)
  config = make_config(epochs=6)
  config.method.eigenvalue.update(dict(every=1, window=2, back=1, factor=1.3, first=2))
  genotype, facts = search.run(config, make_dataset(), tmp_path)
  assert facts['genotype_of_epoch'] == 2
  exact = darts.weights(arch, net=tiny.net(), hp=None)
  assert genotype == SPACE.decode(exact)
  assert genotype != SPACE.decode({kind: table.round(5) for kind, table in exact.items()})
  told = of_epochs(tmp_path)[1]['weights']
  for kind, table in exact.items():
    np.testing.assert_array_equal(np.float32(told[kind]), table)


def test_an_eigenvalue_that_is_not_finite_decides_nothing(tmp_path, stand_ins, monkeypatch, caplog):
  """Of six epochs of four steps the second; it is null, and the search does not end for it."""

  def sharpness(key, state, batch):
    return parallel.mean(jnp.where(state.step == 8, jnp.nan, 1.0))

  monkeypatch.setattr(watch, '_make_sharpness', lambda *_: sharpness)
  config = make_config(epochs=6)
  config.method.eigenvalue.update(dict(every=1, window=2, back=1, factor=1.3, first=2))
  with caplog.at_level('WARNING'):
    _, facts = search.run(config, make_dataset(), tmp_path)
  assert 'genotype_of_epoch' not in facts
  assert [line['eigenvalue'] for line in of_epochs(tmp_path)] == [1, None, 1, 1, 1, 1]
  assert 'The eigenvalue of this epoch is nan' in caplog.text


def test_the_eigenvalue_is_that_of_the_whole_batch_with_the_decay():
  """Loss mean(images) * (3 a^2 + b^2) / 2, mean 2: the Hessian is diag(6, 2) and the decay."""
  config = make_config()
  config.method.arch_weight_decay = 0.5

  def loss(params, stats, weights, images, labels, dropout=None):
    a, b = weights['normal'][0, 0], weights['normal'][0, 1]
    return images.mean() * (3 * a**2 + b**2) / 2, None

  method = types.SimpleNamespace(weights=lambda arch, net, hp: arch)
  source = types.SimpleNamespace(fn=lambda key, batch: (batch, None), task=None)
  net = Net(SPACE, init=None, apply=None, loss=loss)
  state = SearchState(0, {}, {}, {'normal': jnp.zeros((1, 2))}, None, None)
  sharpness = watch._make_sharpness(config, source, net, method)
  run = jax.vmap(sharpness, axis_name=AXIS, in_axes=(None, None, 0), out_axes=None)
  np.testing.assert_allclose(run(jax.random.key(0), state, jnp.array([1.0, 3])), 6.5, rtol=1e-3)


@pytest.mark.parametrize('stages', [(), ({}, {'search.epochs': 2})], ids=['one stage', 'two'])
def test_random_labels_stay_the_same_and_test_images_out(tmp_path, stand_ins, stages):
  config = make_config('random_labels', epochs=1 if stages else 3)
  config.stages = stages
  source = data.make_source(config, make_dataset())
  key = jax.random.fold_in(jax.random.key(config.seed), 3)
  _, stand_ins.labels = source.fn(key, source.read(np.arange(IMAGES)))
  assert (stand_ins.labels == jnp.arange(IMAGES) % 4).mean() < 0.5
  search.run(config, make_dataset(), tmp_path)
  seen = of_steps(tmp_path)
  assert all(line['train_right'] == line['val_right'] == 1 for line in seen)
  assert [line['eval_accuracy'] for line in of_epochs(tmp_path)] == [1, 1, 1]
  # Which images a step sees is drawn anew in each stage, as in each epoch.
  assert len({(line['train_first'], line['train_last'], line['seen']) for line in seen}) == 12


def test_several_true_labels_of_which_some_are_unknown(tmp_path, stand_ins, monkeypatch):
  """Of real images: unknown ones reach the step and have no part in the accuracy."""
  labels = np.random.default_rng(0).integers(-1, 2, (IMAGES, 4)).astype(np.int32)
  assert {*labels.ravel()} == {-1, 0, 1}
  whole = make_dataset()

  def read(indices, numbers=None):
    return whole.train.read(indices) | {'label': labels[indices]}

  def apply(params, stats, weights, images, train):
    """Right but for the first label, which it never sees in an image."""
    return jnp.array([[0, 1, 1, 1]]) * (stand_ins.labels[numbers(images)] - 0.5), stats

  stand_ins.labels = jnp.asarray(labels)

  def step(key, state, train, val, *, net, tx, hp):
    metrics = {}
    for name, (images, found) in (('train', train), ('val', val)):
      metrics[f'{name}_right'] = parallel.mean((found == net.loss(images)).mean())
    return state.replace(step=state.step + 1), metrics

  METHODS['darts'].step = step
  net = search.make_net()._replace(apply=apply)
  monkeypatch.setattr(search, 'make_net', lambda *args: net)
  dataset = whole._replace(train=Split(IMAGES, read, lambda: labels), names=tuple('abcd'))
  config = make_config(epochs=1)
  search.run(config, dataset, tmp_path)
  assert all(line['train_right'] == line['val_right'] == 1 for line in of_steps(tmp_path))
  known, right = labels[32:] != -1, labels[32:] == (labels[32:] > 0) * np.array([0, 1, 1, 1])
  expected = (known & right).sum() / known.sum()
  np.testing.assert_allclose([x['eval_accuracy'] for x in of_epochs(tmp_path)], expected, 1e-6)


def test_several_steps_a_call_are_the_same_search(tmp_path, stand_ins):
  for per_call in (1, 2, 4):
    config = make_config(steps_per_call=per_call)
    config.search.augment.pad = 1  # so that augmentation draws too
    search.run(config, make_dataset(), tmp_path / str(per_call))
  for name in ('metrics.jsonl', 'genotype.json'):
    one, *many = ((tmp_path / str(n) / name).read_bytes() for n in (1, 2, 4))
    assert many == [one, one]


def test_learning_rate_of_each_epoch_is_told(tmp_path, stand_ins):
  search.run(make_config(), make_dataset(), tmp_path)
  # 0.001 + (0.025 - 0.001) * (1 + cos(pi * e / 2)) / 2
  rates = [line['learning_rate'] for line in of_epochs(tmp_path)]
  np.testing.assert_allclose(rates, [0.025, 0.013], rtol=1e-6)


@pytest.fixture
def log():
  """What absl logs."""
  stream = io.StringIO()
  handler = std_logging.StreamHandler(stream)
  logging.get_absl_logger().addHandler(handler)
  yield stream
  logging.get_absl_logger().removeHandler(handler)


@pytest.mark.parametrize(
  ('logits', 'mass', 'skips', 'message'),
  [
    ({}, 1 / 8, None, ''),
    ({'sep_conv_3x3': 1}, 1 / (7 + np.e), 0, ''),
    ({'skip_connect': 1}, 1 / (7 + np.e), 8, 'normal cell has 8 skip connections of 8 operations'),
    ({'none': 3}, np.exp(3) / (7 + np.exp(3)), None, 'operation none has 74 % of the weights'),
  ],
)
def test_collapse_is_told_and_health_is_not(log, logits, mass, skips, message):
  space = SPACES['darts']
  state = tiny.state_of(space, **logits)
  weights = darts.weights(state.arch, net=tiny.net(), hp=None)
  genotype = space.decode(weights)
  values = watch.collapse(space, weights, genotype)
  np.testing.assert_allclose(values['none_mass'], mass, rtol=0.01)
  assert values['normal_skips'] == sum(op == 'skip_connect' for op, _ in genotype.normal)
  assert skips is None or values['normal_skips'] == values['reduce_skips'] == skips
  watch.warn(values, len(genotype.normal))
  assert log.getvalue().count('\n') == (1 if message else 0)
  assert message in log.getvalue()


def test_a_collapsing_search_warns_once_an_epoch(tmp_path, stand_ins, log, monkeypatch):
  monkeypatch.setattr(METHODS['darts'], 'init', lambda key, net, hp: arch)
  for collapsed in (False, True):
    arch = tiny.state_of(SPACE, **({'skip_connect': 5} if collapsed else {'dil_conv_3x3': 5})).arch
    search.run(make_config(), make_dataset(), tmp_path / str(collapsed))
    assert log.getvalue().count('4 skip connections of 4 operations') == (2 if collapsed else 0)
    skips = [line['normal_skips'] for line in of_epochs(tmp_path / str(collapsed))]
    assert skips == ([4, 4] if collapsed else [0, 0])
