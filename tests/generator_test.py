"""Training a generator: each update, on any number of devices and after a stop; judging."""

import functools
import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import quick_run
import tiny
from PIL import Image

from unrealnas_jax import checkpoint, data, generator, metrics, parallel, retrain
from unrealnas_jax.data import real
from unrealnas_jax.data.split import Dataset, in_memory

KEY = jax.random.key(3)


def make_config(**changes):
  config = quick_run.get_config()
  hp = config.generator
  hp.steps, hp.sheet_every, hp.batch = 4, 2, 8
  hp.latent, hp.channels, hp.discriminator_channels = 3, 4, 4
  hp.update(changes)
  return config


def make_dataset(several=False):
  """Two classes, or labels that exclude each other, dark and bright, with noise."""
  rng = np.random.default_rng(0)
  labels = np.arange(32) % 2
  images = rng.integers(0, 60, (32, 8, 8, 1)) + 190 * labels[:, None, None, None]
  split = in_memory(images.astype(np.uint8), np.eye(2, dtype=int)[labels] if several else labels)
  dataset = Dataset('made', split, split, 2, (8, 8, 1), np.float32([0.5]), np.float32([0.4]))
  names = ('dark', 'bright')
  return dataset._replace(names=names, scored=names) if several else dataset


@functools.cache
def parts():
  """(config, description, networks with SGD): its updates are as exact as the gradients."""
  config = make_config(discriminator_steps=2)
  config.generator.augment.update({'color': 0.5, 'pad': 1, 'flip': True, 'cutout': 2})
  description = generator.describe(config, make_dataset())
  networks = generator.make_networks(config, description)
  sgd = optax.sgd(0.1)
  return config, description, networks._replace(generator_tx=sgd, discriminator_tx=sgd)


@functools.cache
def first_state():
  _, description, networks = parts()
  return jax.jit(lambda key: generator.init_state(key, description, networks))(KEY)


@functools.cache
def after_a_step(devices):
  """(state, metrics) after one step on two batches of 8, split over some devices."""
  config, _, networks = parts()
  rows = make_dataset().train.read(np.arange(16))
  batch = {'index': np.arange(16, dtype=np.int32), **rows}
  batch = {k: x.reshape(2, devices, -1, *x.shape[1:]).swapaxes(0, 1) for k, x in batch.items()}
  step = generator.make_step(config.generator, networks)
  step = jax.vmap(step, axis_name=parallel.AXIS, in_axes=(None, None, 0), out_axes=(None, None))
  return jax.jit(step)(KEY, first_state(), batch)


def test_a_step_changes_all_that_learns_and_keeps_its_form():
  before, (after, values) = first_state(), after_a_step(1)
  describe = functools.partial(jax.tree.map, lambda x: (x.shape, x.dtype, x.weak_type))
  assert describe(before) == describe(after)
  assert int(after.step) == 1
  for name in ('generator', 'discriminator', 'ema'):
    old, new = getattr(before, name), getattr(after, name)
    for (path, x), y in zip(jax.tree.leaves_with_path(old), jax.tree.leaves(new), strict=True):
      assert np.isfinite(y).all(), path
      assert np.any(x != y), (name, path)
  assert values.keys() == {'discriminator_loss', 'generator_loss', 'real_score', 'fake_score'}
  assert all(x.shape == (1,) and np.isfinite(x).all() for x in values.values())


def test_two_devices_equal_one():
  """Batch norm, gradients and metrics are averaged, and what is drawn belongs to its example."""
  tiny.assert_trees_close(after_a_step(2), after_a_step(1), 1e-4)


def test_the_average_by_hand():
  old, new = {'w': jnp.float32([1.0, 2.0])}, {'w': jnp.float32([3.0, 2.0])}
  # (1 + step) / (10 + step): a tenth of the old one at first, later the decay.
  for step, decay in ((0, 0.1), (8, 0.5), (10_000, 0.9)):
    found = generator.average(0.9, jnp.int32(step), new, old)
    np.testing.assert_allclose(found['w'], [3 - 2 * decay, 2.0], rtol=1e-6)


def test_the_average_in_training_is_that_of_the_generator():
  before, (after, _) = first_state(), after_a_step(1)
  expected = jax.tree.map(lambda x, y: 0.1 * x + 0.9 * y, before.ema, after.generator)
  tiny.assert_trees_close(after.ema, expected)


def test_real_pixels_go_from_minus_one_to_one():
  np.testing.assert_allclose(generator.from_pixels(np.uint8([0, 255])), [-1, 1])
  np.testing.assert_allclose(generator.from_pixels(np.float32([0, 0.25, 1])), [-1, -0.5, 1])


def test_sheets_by_hand(monkeypatch):
  monkeypatch.setattr(generator, 'SHEET_PIXELS', 1)
  images = np.float32([-1, 1, 0, -0.5]).reshape(4, 1, 1, 1) * np.ones((1, 2, 1, 1), np.float32)
  np.testing.assert_array_equal(
    generator.sheet(images, 2), [[0, 255], [0, 255], [128, 64], [128, 64]]
  )
  monkeypatch.setattr(generator, 'SHEET_PIXELS', 3)
  assert generator.sheet(np.zeros((6, 2, 2, 3)), 3).shape == (2 * 4, 3 * 4, 3)


class Stopped(Exception):
  """In place of a kill."""


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """Workdirs of a training of 30 steps, and of one that was stopped twice; compiled once."""
  config, dataset = make_config(steps=30, sheet_every=10), make_dataset()
  config.generator.update({'lr': 0.02, 'discriminator_lr': 0.02, 'ema': 0.9})
  config.retrain.epochs, config.checkpoint.every = 0, 7
  folders = {name: tmp_path_factory.mktemp(name) for name in ('whole', 'stopped')}
  with pytest.MonkeyPatch.context() as patch:
    prepare, write = generator.prepare, metrics.write
    plans = functools.cache(lambda: prepare(config, dataset, description, None))
    description = generator.describe(config, dataset)

    def prepare_once(config, dataset, description, workdir):
      key, plan = plans()
      networks = generator.make_networks(config, description)
      sheets = generator._write_sheet(KEY, description, networks, workdir)
      return key, plan._replace(end_of_epoch=sheets)

    patch.setattr(generator, 'prepare', prepare_once)
    facts = generator.run(config, None, dataset, folders['whole'])
    for stop in (9, 25):

      def write_and_stop(writer, step, values, stop=stop):
        write(writer, step, values)
        if step == stop:
          raise Stopped

      patch.setattr(metrics, 'write', write_and_stop)
      with pytest.raises(Stopped):
        generator.run(config, None, dataset, folders['stopped'])
    patch.setattr(metrics, 'write', write)
    generator.run(config, None, dataset, folders['stopped'])
  return folders, facts, config


def newest(folder):
  return checkpoint.read_newest(folder, 'generator', lambda stored: stored)


def test_stopped_and_resumed_is_never_stopped(trained):
  folders, facts, _ = trained
  whole, stopped = folders['whole'], folders['stopped']
  assert facts.keys() == {
    *('generator_seconds', 'generator_steps', 'generator_parameters', 'dataset')
  }
  assert (facts['generator_steps'], facts['dataset']) == (30, 'made')
  (step, expected), (other, found) = newest(whole), newest(stopped)
  assert step == other == 30
  assert found.keys() == expected.keys()
  for name in expected:
    assert np.asarray(found[name]).tobytes() == np.asarray(expected[name]).tobytes(), name
  files = ['metrics.jsonl', 'generator.json', *(f'samples/{n:06d}.png' for n in (10, 20, 30))]
  for name in files:
    assert (stopped / name).read_bytes() == (whole / name).read_bytes(), name
  assert sorted(path.name for path in (whole / 'samples').iterdir()) == [n[8:] for n in files[2:]]


def test_sheets_show_a_row_for_each_class(trained):
  sheet = np.asarray(Image.open(trained[0]['whole'] / 'samples' / '000030.png'))
  assert sheet.shape == (2 * 32, 10 * 32)
  assert sheet.std() > 0


def test_what_was_trained_is_a_source_of_the_search(trained):
  folders, _, config = trained
  metrics.write_json(folders['whole'] / 'result.json', {})
  config.source.update({'name': 'generated', 'generator': str(folders['whole'])})
  source = data.make_source(config)
  images, labels = jax.jit(source.fn)(KEY, source.read(np.arange(64)))
  assert set(np.asarray(labels)) == {0, 1}
  # In so few steps it has learned which class is the brighter one: with ten seeds by 1.2 to 2.3,
  # where real images differ by 190 / 255 / 0.4 = 1.9.
  means = [np.asarray(images)[np.asarray(labels) == label].mean() for label in (0, 1)]
  assert means[1] - means[0] > 0.6


class Judge(nn.Module):
  """Tells two classes, or labels, by the brightness of an image."""

  axis_name: str | None = None
  draw: object = None

  @nn.compact
  def __call__(self, images, *, train, drop_path=0.0, example_keys=None):
    w = self.param('w', lambda key: jnp.zeros(()))
    self.variable('batch_stats', 'none', lambda: jnp.zeros(1))
    score = w * images.mean((1, 2, 3))
    return jnp.stack([-score, score], -1), None


@pytest.mark.parametrize(('reverse', 'several'), [(False, False), (True, True)])
def test_judges_learn_from_one_kind_of_images_and_are_tested_on_the_other(
  tmp_path, monkeypatch, reverse, several
):
  config, dataset = make_config(), make_dataset(several)
  config.retrain.update({'auxiliary': 0.0, 'drop_path': 0.0, 'epochs': 1})
  monkeypatch.setattr(retrain, 'make_network', lambda *args: Judge(parallel.AXIS))

  def fn(key, batch):
    """Of bright images class 1, or class 0 if reversed."""
    labels = batch['index'] % 2
    bright = 1 - labels if reverse else labels
    images = (2.0 * bright - 1)[:, None, None, None] * jnp.ones((1, 8, 8, 1))
    return images, jax.nn.one_hot(labels, 2, dtype=jnp.int32) if several else labels

  fakes = real.make(config, dataset)._replace(name='generated', fn=fn)
  facts = generator.judge(config, None, dataset, fakes, tmp_path)
  expected = 0.0 if reverse else 1.0
  for measure in ('accuracy', 'auc') if several else ('accuracy',):
    assert facts[f'gan_train_{measure}'] == facts[f'gan_test_{measure}'] == expected
    assert facts[f'real_{measure}'] == 1
  assert ('real_auc' in facts) == several
  assert facts['judge_generated_steps'] == facts['judge_real_steps'] == 2
  lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  assert {line['phase'] for line in lines} == {'judge_generated', 'judge_real'}
