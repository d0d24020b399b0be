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
  # One of 3 classes is that of 5 which the image was made of in one case of 5: 8 of 40.
  assert abs((labels == conditions).sum() - 8) < 5 * np.sqrt(40 * 0.2 * 0.8)
  several = make_source(config(workdir, labels='random', label_rate=0.5))
  assert call(several, [1, 2])[1].shape == (2, 3)


ROWS = np.uint8([[1, 1, 0], [0, 0, 0], [1, 1, 0], [0, 0, 1]])
SEVERAL = tiny_generator.description(classes=3, several=True)


def test_several_labels_are_rows_of_the_training_images(tmp_path):
  tiny_generator.write(tmp_path, SEVERAL, ROWS)
  source = make_source(config(tmp_path))
  images, labels = call(source, np.arange(400))
  assert (source.classes, labels.shape, labels.dtype) == (3, (400, 3), np.int32)
  rows, counts = np.unique(labels, axis=0, return_counts=True)
  np.testing.assert_array_equal(rows, np.unique(ROWS, axis=0))  # which go together
  # Of the four rows one comes twice: 200 of 400 images, and 100 for each of the others.
  expected = np.array([100, 100, 200])
  assert (abs(counts - expected) < 5 * np.sqrt(expected * (1 - expected / 400))).all()
  network, variables = generated.make_network(SEVERAL), tiny_generator.variables(SEVERAL)
  image_key = jax.random.fold_in(jax.random.fold_in(KEY, 23), 0)
  noise = jax.random.normal(jax.random.fold_in(image_key, 0), (1, 3))
  row = ROWS[jax.random.bits(jax.random.fold_in(image_key, 1)) % 4]
  image = np.asarray(network.apply(variables, noise, row[None], train=False)[0])
  mean, std = np.float32(SEVERAL.mean), np.float32(SEVERAL.std)
  np.testing.assert_allclose(images[23], (image / 2 + 0.5 - mean) / std, atol=1e-5)
  np.testing.assert_array_equal(labels[23], row)
  bits = make_source(config(tmp_path, labels='random', label_rate=0.5))
  same, drawn = call(bits, np.arange(400))
  np.testing.assert_array_equal(same, images)
  assert len(np.unique(drawn, axis=0)) > 3


def cut_rows(folder):
  (folder / 'generator_labels.npz').write_bytes(b'PK')


def narrow_rows(folder):
  generated.save(folder, SEVERAL, ROWS[:, :2])


def lose_rows(folder):
  (folder / 'generator_labels.npz').unlink()


@pytest.mark.parametrize(
  ('damage', 'message'),
  [
    (cut_rows, 'generator_labels.npz is damaged'),
    (narrow_rows, 'is damaged .shape .4, 2. for 3 labels.'),
    (lose_rows, 'has lost generator_labels.npz'),
  ],
)
def test_a_workdir_without_the_rows_of_labels_is_refused(tmp_path, damage, message):
  tiny_generator.write(tmp_path, SEVERAL, ROWS)
  damage(tmp_path)
  with pytest.raises(ValueError, match=f'{message}.*; allowed: the workdir of a finished run'):
    make_source(config(tmp_path))


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
