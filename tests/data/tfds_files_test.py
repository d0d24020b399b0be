import io
import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds
from absl import logging
from data_config import data_config
from PIL import Image
from tfds_writer import encoded, write

from unrealnas_jax.data import datasets, real, tfds_files
from unrealnas_jax.data.batches import train_batches
from unrealnas_jax.data.tfds_files import prepare_command

COLOUR = tfds.features.Image(shape=(6, 5, 3))
ANY_SIZE = tfds.features.Image(shape=(None, None, 3))
THREE = tfds.features.ClassLabel(num_classes=3)


def config(path, data_dir, **changes):
  return data_config(path, tfds_dir=str(data_dir), **changes)


def pictures(count, shape=(6, 5, 3), seed=0):
  return np.random.default_rng(seed).integers(0, 256, (count, *shape), np.uint8)


def examples(images, image='image', label='label'):
  return [{image: encoded(x), label: i % 3} for i, x in enumerate(images)]


pytestmark = pytest.mark.usefixtures('cache')


@pytest.fixture
def log(monkeypatch):
  """What is logged from now on."""
  texts = []
  for level in ('info', 'warning'):
    monkeypatch.setattr(logging, level, lambda text, *args: texts.append(text % args))
  return texts


@pytest.fixture(scope='module')
def tiny(tmp_path_factory):
  """30 training and 9 test images on disk; image i is of class i % 3."""
  data_dir = tmp_path_factory.mktemp('tfds')
  splits = {'train': examples(pictures(30)), 'test': examples(pictures(9, seed=1))}
  write(data_dir, splits, {'image': COLOUR, 'label': THREE})
  return data_dir


def test_reads_what_was_written(tiny):
  dataset = datasets.load(config('tfds:tiny', tiny))
  assert (dataset.name, dataset.classes, dataset.shape) == ('tiny/1.2.0', 3, (6, 5, 3))
  assert (dataset.train.size, dataset.test.size) == (30, 9)
  indices = np.array([7, 29, 0, 7])
  batch = dataset.train.read(indices)
  np.testing.assert_array_equal(batch['image'], pictures(30)[indices])
  np.testing.assert_array_equal(batch['label'], indices % 3)
  assert batch['image'].dtype == np.uint8
  assert batch['label'].dtype == np.int32
  np.testing.assert_array_equal(dataset.test.read(np.arange(9))['image'], pictures(9, seed=1))
  np.testing.assert_allclose(dataset.mean, (pictures(30) / 255).mean((0, 1, 2)), rtol=1e-6)


def test_by_version(tiny):
  assert datasets.load(config('tfds:tiny:1.2.0', tiny)).train.size == 30


def test_batches_read_ahead_from_disk(tiny):
  """Two streams at once, each with a thread of its own, over one set of files."""
  dataset = datasets.load(config('tfds:tiny', tiny))
  source = real.make(None, dataset)
  streams = [train_batches(source.read, np.arange(30), 8, seed, range(20)) for seed in (0, 1)]
  for pair in zip(*streams, strict=True):
    for batch in pair:
      np.testing.assert_array_equal(batch['image'], pictures(30)[batch['index']])
      np.testing.assert_array_equal(batch['label'], batch['index'] % 3)


def test_tensorflow_is_never_imported(tiny):
  code = f"""
import sys
import numpy as np
from configs import default
from unrealnas_jax.data import datasets
config = default.get_config('laptop').data
config.update(path='tfds:tiny', tfds_dir={str(tiny)!r}, size=4)
dataset = datasets.load(config)
assert dataset.test.read(np.arange(9))['image'].shape == (9, 4, 4, 3)
assert 'tensorflow_datasets' in sys.modules
assert 'tensorflow' not in sys.modules
print('read')
"""
  done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
  assert done.stdout.endswith('read\n'), done.stderr


def test_images_of_different_sizes_and_kinds(tmp_path):
  """Resized, with a grey JPEG and a palette PNG among colour images, as ImageNet has them."""
  grey = encoded(np.full((9, 4), 128, np.uint8), 'JPEG')
  palette = io.BytesIO()
  Image.new('RGB', (7, 3), (0, 0, 255)).convert('P').save(palette, 'PNG')
  red = encoded(np.full((2, 2, 3), (255, 0, 0), np.uint8))
  train = [{'image': x, 'label': i} for i, x in enumerate((grey, palette.getvalue(), red))]
  write(tmp_path, {'train': train, 'test': train[:1]}, {'image': ANY_SIZE, 'label': THREE})
  images = datasets.load(config('tfds:tiny', tmp_path, size=5)).train.read(np.arange(3))['image']
  assert images.shape == (3, 5, 5, 3)
  for image, colour in zip(images, [(128, 128, 128), (0, 0, 255), (255, 0, 0)], strict=True):
    np.testing.assert_array_equal(image, np.full((5, 5, 3), colour, np.uint8))
  with pytest.raises(ValueError, match=r'\[None, None, 3\], with data\.size = 0; allowed: data\.s'):
    datasets.load(config('tfds:tiny', tmp_path))


def test_grey_images(tmp_path):
  images = pictures(3, (4, 4))
  feature = tfds.features.Image(shape=(4, 4, 1))
  write(
    tmp_path,
    {'train': examples(images), 'test': examples(images)},
    {'image': feature, 'label': THREE},
  )
  dataset = datasets.load(config('tfds:tiny', tmp_path))
  assert dataset.shape == (4, 4, 1)
  np.testing.assert_array_equal(dataset.train.read(np.arange(3))['image'][..., 0], images)


def test_features_are_found_by_type(tmp_path):
  features = {'photo': COLOUR, 'species': THREE, 'weight': tfds.features.Scalar(np.float32)}
  train = [{**x, 'weight': 1.5} for x in examples(pictures(3), 'photo', 'species')]
  write(tmp_path, {'train': train, 'test': train}, features)
  batch = datasets.load(config('tfds:tiny', tmp_path)).train.read(np.arange(3))
  np.testing.assert_array_equal(batch['image'], pictures(3))
  np.testing.assert_array_equal(batch['label'], [0, 1, 2])


@pytest.mark.parametrize(
  ('supervised', 'expected'), [(('image', 'coarse'), [1, 1, 1]), (None, [0, 1, 2])]
)
def test_of_several_labels_the_supervised_one_or_else_label(tmp_path, supervised, expected):
  features = {'image': COLOUR, 'coarse': tfds.features.ClassLabel(num_classes=2), 'label': THREE}
  train = [{**x, 'coarse': 1} for x in examples(pictures(3))]
  write(tmp_path, {'train': train, 'test': train}, features, supervised)
  dataset = datasets.load(config('tfds:tiny', tmp_path))
  np.testing.assert_array_equal(dataset.train.read(np.arange(3))['label'], expected)


def test_validation_serves_where_there_is_no_test(tmp_path):
  splits = {'train': examples(pictures(6)), 'validation': examples(pictures(4, seed=1))}
  write(tmp_path, splits, {'image': COLOUR, 'label': THREE})
  dataset = datasets.load(config('tfds:tiny', tmp_path))
  np.testing.assert_array_equal(dataset.test.read(np.arange(4))['image'], pictures(4, seed=1))


def test_not_prepared_names_the_command(tmp_path):
  with pytest.raises(
    ValueError, match=r'data\.path tfds:cifar10: not prepared in data\.tfds_dir'
  ) as error:
    datasets.load(config('tfds:cifar10', tmp_path))
  assert str(error.value).endswith(prepare_command('cifar10', str(tmp_path)))


class TinyMade(tfds.core.GeneratorBasedBuilder):
  """A data set that TFDS knows by name, and that nobody has prepared yet."""

  VERSION = tfds.core.Version('1.0.0')

  def _info(self):
    features = tfds.features.FeaturesDict({'image': COLOUR, 'label': THREE})
    return tfds.core.DatasetInfo(builder=self, features=features)

  def _split_generators(self, dl_manager):
    return {name: self._generate_examples() for name in ('train', 'test')}

  def _generate_examples(self):
    yield from enumerate(examples(pictures(6)))


def test_prepare_command_prepares(tmp_path):
  with pytest.raises(ValueError, match='tfds:tiny_made: not prepared'):
    datasets.load(config('tfds:tiny_made', tmp_path))
  command = prepare_command('tiny_made', str(tmp_path))
  install, python = command.split(' && ')
  assert install == "pip install -e '.[prepare]'"
  exec(shlex.split(python)[2], {})
  assert datasets.load(config('tfds:tiny_made', tmp_path)).train.size == 6


@pytest.mark.parametrize('data_dir', ['', "/a b/it's"])
def test_prepare_command_survives_the_shell(data_dir):
  python = prepare_command('mnist', data_dir).split(' && ')[1]
  echoed = subprocess.run(
    ['bash', '-c', f'python() {{ echo "$2"; }}; {python}'],
    capture_output=True,
    text=True,
    check=True,
  )
  where = f'data_dir={json.dumps(data_dir)}, ' if data_dir else ''
  assert f'tfds.builder("mnist", {where}file_format="array_record")' in echoed.stdout


def test_unknown_name(tmp_path):
  with pytest.raises(ValueError, match=r'tfds:cifar11: no files in .*TFDS .* has no data set'):
    datasets.load(config('tfds:cifar11', tmp_path))


@pytest.mark.parametrize('name', ['a b', '../up', 'tiny:1'])
def test_malformed_name(tmp_path, name):
  with pytest.raises(ValueError, match=r'tfds:.*: unreadable .*allowed: NAME\[/CONFIG\]'):
    datasets.load(config(f'tfds:{name}', tmp_path))


def test_prepared_in_a_format_that_needs_tensorflow(tiny, tmp_path):
  # Such a folder is made from ours by the format's name, since writing a tfrecord needs TensorFlow.
  folder = tmp_path / 'tiny' / '1.2.0'
  folder.mkdir(parents=True)
  for file in (tiny / 'tiny' / '1.2.0').iterdir():
    target = folder / file.name.replace('array_record', 'tfrecord')
    target.write_bytes(file.read_bytes().replace(b'array_record', b'tfrecord'))
  with pytest.raises(
    ValueError, match=r'another format \(tfrecord\) in .*remove that folder'
  ) as error:
    datasets.load(config('tfds:tiny', tmp_path))
  assert str(error.value).endswith(prepare_command('tiny', str(tmp_path)))


BROKEN = {
  'no test': ({'train': 3}, {'image': COLOUR, 'label': THREE}, r"the splits train; allowed: a 'tr"),
  'no train': (
    {'extra': 3, 'test': 3},
    {'image': COLOUR, 'label': THREE},
    r'the splits extra, test;',
  ),
  'no label': (
    {'train': 3, 'test': 3},
    {'image': COLOUR, 'label': tfds.features.Scalar(np.int64)},
    r'features image \(Image\), label \(Scalar\); allowed: one Image and one ClassLabel',
  ),
  'no image': (
    {'train': 3, 'test': 3},
    {'image': tfds.features.Text(), 'label': THREE},
    r'features image \(Text\), label \(ClassLabel\); allowed',
  ),
  'four channels': (
    {'train': 3, 'test': 3},
    {'image': tfds.features.Image(shape=(6, 5, 4)), 'label': THREE},
    r'uint8 images with 4 channels; allowed: uint8 images with 1 or 3',
  ),
  'sixteen bits': (
    {'train': 3, 'test': 3},
    {'image': tfds.features.Image(shape=(6, 5, 1), dtype=np.uint16), 'label': THREE},
    r'uint16 images with 1 channels',
  ),
}


@pytest.mark.parametrize(('sizes', 'features', 'message'), BROKEN.values(), ids=BROKEN.keys())
def test_unusable_data_set(tmp_path, sizes, features, message):
  splits = {name: examples(pictures(size)) for name, size in sizes.items()}
  if isinstance(features['image'], tfds.features.Text):
    splits = {name: [{'image': 'a', 'label': 0}] for name in sizes}
  write(tmp_path, splits, features)
  with pytest.raises(ValueError, match=message):
    datasets.load(config('tfds:tiny', tmp_path))


def test_validation_serves_where_test_images_are_not_labelled(tmp_path):
  """As ImageNet's are not."""
  hidden = [{**x, 'label': -1} for x in examples(pictures(3))]
  shown = examples(pictures(4, seed=1))
  splits = {'train': examples(pictures(6)), 'validation': shown, 'test': hidden}
  write(tmp_path, splits, {'image': COLOUR, 'label': THREE})
  dataset = datasets.load(config('tfds:tiny', tmp_path))
  np.testing.assert_array_equal(dataset.test.read(np.arange(4))['image'], pictures(4, seed=1))


def test_test_images_serve_where_they_are_labelled(tmp_path):
  splits = {name: examples(pictures(3, seed=n)) for n, name in enumerate(('train', 'test'))}
  splits['validation'] = examples(pictures(5, seed=2))
  write(tmp_path, splits, {'image': COLOUR, 'label': THREE})
  dataset = datasets.load(config('tfds:tiny', tmp_path))
  np.testing.assert_array_equal(dataset.test.read(np.arange(3))['image'], pictures(3, seed=1))


def test_labels_of_a_split_alone(tmp_path, monkeypatch):
  """All of them in order, in parts, and read once."""
  monkeypatch.setattr(tfds_files, 'LABELS_AT_ONCE', 4)
  splits = {'train': examples(pictures(10)), 'test': examples(pictures(3))}
  write(tmp_path, splits, {'image': COLOUR, 'label': THREE})
  dataset = datasets.load(config('tfds:tiny', tmp_path))
  np.testing.assert_array_equal(dataset.train.labels(), np.arange(10) % 3)
  assert dataset.train.labels() is dataset.train.labels()


def test_labels_are_kept_on_disk_and_read_anew_where_they_do_not_fit(tmp_path, cache, log):
  """By the next start; not of other files, and not what is left of a damaged file."""

  def labels(train=10):
    splits = {'train': examples(pictures(train)), 'test': examples(pictures(3))}
    if not (tmp_path / str(train)).exists():
      write(tmp_path / str(train), splits, {'image': COLOUR, 'label': THREE})
    log.clear()
    found = datasets.load(config('tfds:tiny', tmp_path / str(train))).train.labels()
    np.testing.assert_array_equal(found, np.arange(train) % 3)
    assert found.dtype == np.int32
    return any('Reading the labels' in text for text in log)

  assert labels()
  assert not labels()
  assert labels(train=11)
  assert labels()
  (kept,) = cache.rglob('*.npy')
  assert kept.name == 'tiny-1.2.0-train-ignore.npy'
  whole = kept.read_bytes()
  for damaged in (b'', whole[:-1], whole[:-1] + b'?', whole[1:]):
    kept.write_bytes(damaged)
    assert labels()
    assert kept.read_bytes() == whole
    assert not labels()
  kept.unlink()
  kept.mkdir()  # a file cannot be written there
  assert labels()
  assert any('cannot be written' in text for text in log)


def test_test_split_without_labels(tmp_path):
  hidden = [{**x, 'label': -1} for x in examples(pictures(3))]
  write(
    tmp_path, {'train': examples(pictures(3)), 'test': hidden}, {'image': COLOUR, 'label': THREE}
  )
  with pytest.raises(ValueError, match=r"a label outside 0\.\.2 in split 'test'"):
    datasets.load(config('tfds:tiny', tmp_path))


@pytest.mark.parametrize(
  ('file', 'content'),
  [
    ('tiny-train.array_record-00000-of-00001', None),
    ('tiny-train.array_record-00000-of-00001', b''),
    ('tiny-train.array_record-00000-of-00001', b'?' * 200_000),
    ('dataset_info.json', b'{'),
    ('features.json', b'{'),
  ],
  ids=['gone', 'empty', 'garbage', 'info', 'features'],
)
def test_damaged_files(tiny, tmp_path, file, content):
  folder = tmp_path / 'tiny' / '1.2.0'
  folder.mkdir(parents=True)
  for source in (tiny / 'tiny' / '1.2.0').iterdir():
    (folder / source.name).write_bytes(source.read_bytes())
  if content is None:
    (folder / file).unlink()
  else:
    (folder / file).write_bytes(content)
  with pytest.raises(ValueError, match=r'data\.path tfds:tiny: unreadable'):
    datasets.load(config('tfds:tiny', tmp_path))
