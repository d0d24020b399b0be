"""The source of generated images beyond the contract: what it restores, labels, and refuses."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_generator
from ml_collections import ConfigDict

from unrealnas_jax.data import generated, make_source

KEY = jax.random.key(7)
DESCRIPTION = tiny_generator.description()


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  folder = tmp_path_factory.mktemp('generator')
  tiny_generator.write(folder, DESCRIPTION, discriminator={'w': np.ones(3, np.float32)})
  return folder


def config(workdir, **source):
  values = {'name': 'generated', 'examples': 40, 'classes': 3, 'label_rate': 0.0, 'pretext': ''}
  values |= {'generator': str(workdir), 'labels': 'condition'}
  return ConfigDict({'dtype': 'float32', 'source': {**values, **source}})


def call(source, indices):
  return jax.tree.map(np.asarray, jax.jit(source.fn)(KEY, source.read(np.asarray(indices))))


def test_images_are_those_of_the_averaged_generator_by_the_definition(workdir):
  source = make_source(config(workdir))
  images, labels = call(source, np.arange(40))
  assert (source.shape, source.classes, source.examples) == ((8, 8, 3), 5, 40)
  assert set(source.read(np.arange(3))) == {'index'}
  network = generated.make_network(DESCRIPTION)
  variables = tiny_generator.variables(DESCRIPTION)
  for index in (0, 23):
    image_key = jax.random.fold_in(jax.random.fold_in(KEY, index), 0)
    noise = jax.random.normal(jax.random.fold_in(image_key, 0), (1, 3))
    label = jax.random.bits(jax.random.fold_in(image_key, 1)) % 5
    image = np.asarray(network.apply(variables, noise, jnp.full(1, label), train=False)[0])
    # From -1..1 to 0..1, then by mean and std of the description.
    mean, std = np.array([0.5, 0.25, 0.125]), np.array([0.5, 1, 2])
    np.testing.assert_allclose(images[index], (image / 2 + 0.5 - mean) / std, atol=1e-5)
    assert labels[index] == label
  np.testing.assert_allclose(source.pad_value, [-1, -0.25, -0.0625])


def test_random_labels_leave_the_images_as_they_are(workdir):
  images, conditions = call(make_source(config(workdir)), np.arange(40))
  source = make_source(config(workdir, labels='random'))
  same, labels = call(source, np.arange(40))
  np.testing.assert_array_equal(same, images)
  assert source.classes == 3
  assert set(labels) == {0, 1, 2}
  assert (labels == conditions).mean() < 0.6
  several = make_source(config(workdir, labels='random', label_rate=0.5))
  assert call(several, [1, 2])[1].shape == (2, 3)


def forget(folder):
  (folder / 'generator.json').unlink()


def stop_early(folder):
  (folder / 'result.json').unlink()


def cut(folder):
  (folder / 'generator.json').write_text('{"latent"')


def rename(folder):
  (folder / 'generator.json').write_text('{"latent": 3}')


def widen(folder):
  values = {**DESCRIPTION._asdict(), 'channels': 5}
  (folder / 'generator.json').write_text(json.dumps(values))


def lose_checkpoints(folder):
  (folder / 'checkpoints' / 'generator' / '7').rename(folder / 'lost')


@pytest.mark.parametrize(
  ('damage', 'message'),
  [
    (forget, 'holds no generator'),
    (stop_early, 'has not ended'),
    (cut, 'generator.json is damaged'),
    (rename, 'generator.json is damaged'),
    (widen, 'its checkpoint has no ema/batch_stats/norm/mean of shape \\[5\\]'),
    (lose_checkpoints, 'holds no checkpoint'),
  ],
)
def test_a_workdir_without_a_whole_generator_is_refused(tmp_path, damage, message):
  tiny_generator.write(tmp_path, DESCRIPTION)
  damage(tmp_path)
  with pytest.raises(ValueError, match=message) as caught:
    make_source(config(tmp_path))
  assert f'source.generator = {str(tmp_path)!r}' in str(caught.value)
  assert 'allowed: the workdir of a finished run' in str(caught.value)
