"""A whole run on a set like ImageNet, by the config of PC-DARTS with a small network.

Photographs of different sizes in TFDS's format, classes of different sizes, test images without
labels; random crops and jitter, a part of each class for the search, the stems of ImageNet.
"""

import types

import jax
import numpy as np
import pytest
import quick_run  # noqa: F401  (its space)
import tensorflow_datasets as tfds
from programs import assert_finite_ends, lines, result
from tfds_writer import encoded, write

import unrealnas_jax
from configs import pc_darts
from unrealnas_jax import data, main, retrain, stems

CLASSES = (40, 80, 40, 40)  # training images of each
# 10 % of each class for the weights, 2.5 % for the architecture.
WEIGHTS, ARCH = (4, 8, 4, 4), (1, 2, 1, 1)
SIDE = 40  # the auxiliary head needs more than 32 pixels
FEATURES = {
  'image': tfds.features.Image(encoding_format='jpeg'),
  'label': tfds.features.ClassLabel(num_classes=len(CLASSES)),
  'file_name': tfds.features.Text(),
}


def photograph(number, label):
  """A record: noise of the colour of its class, upright or wide, larger or smaller than SIDE."""
  rng = np.random.default_rng(number)
  height, width = rng.integers(30, 70, 2)
  image = rng.integers(0, 100, (height, width, 3), np.uint8)
  image[..., label % 3] += 100
  return {'image': encoded(image, 'JPEG'), 'label': label, 'file_name': f'{number:08d}.JPEG'}


def write_photographs(folder):
  labels = np.random.default_rng(0).permutation(np.repeat(range(len(CLASSES)), CLASSES))
  splits = {'train': labels, 'validation': np.arange(20) % 4, 'test': np.full(5, -1)}
  records = {
    split: [photograph(number, int(label)) for number, label in enumerate(found)]
    for split, found in splits.items()
  }
  write(folder, records, FEATURES, ('image', 'label'))


def make_config(folder):
  """That of the paper but for the sizes, the epochs and real labels."""
  config = pc_darts.get_config('paper,imagenet')
  config.data.update(dict(path='tfds:tiny', tfds_dir=str(folder), size=SIDE))
  config.source.update(dict(name='real', classes=len(CLASSES), size=SIDE))
  config.search.update(dict(space='quick', channels=4, cells=2, batch=4, epochs=2, lr_warmup=1))
  config.method.warmup_epochs = 1
  config.retrain.update(dict(channels=4, cells=3, batch=40, epochs=2, lr_warmup=1))
  config.log_every = 1
  return config


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A run: its workdir, config, data set, the folder of caches, what its supernet's stem gave."""
  folder, seen = tmp_path_factory.mktemp('photographs'), []
  write_photographs(folder / 'tfds')
  config, stem = make_config(folder / 'tfds'), stems.STEMS['imagenet']

  def told(images, *args):
    given = stem.apply(images, *args)
    seen.append((images.shape[1:3], [x.shape[1:3] for x in given[0]]))
    return given

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr('platformdirs.user_cache_path', lambda name: folder / 'cache' / name)
    patch.setattr(main, 'report', lambda workdir: None)
    patch.setitem(stems.STEMS, 'imagenet', stem._replace(apply=told))
    unrealnas_jax.run(config, folder / 'run')
    dataset = unrealnas_jax.datasets.load(config.data)
    halves = data.make_halves(config, dataset.train.size, dataset)
  return types.SimpleNamespace(
    **dict(workdir=folder / 'run', config=config, dataset=dataset, halves=halves),
    **dict(cache=folder / 'cache', seen=seen),
  )


def test_search_and_retraining_come_to_their_end(run):
  found = result(run.workdir)
  kept = unrealnas_jax.genotypes.load(str(run.workdir / 'genotype.json'))
  assert unrealnas_jax.genotypes.from_text(found['genotype']) == kept
  # Two epochs each, of 20 images in batches of 4 and of 200 in batches of 40.
  assert (found['search_steps'], found['retrain_steps']) == (10, 10)
  assert (found['dataset'], found['test_images']) == ('tiny/1.2.0', 20)  # those with labels
  assert 0 <= found['test_accuracy'] <= 1
  assert_finite_ends(run.workdir, steps=10)


def test_the_search_sees_the_same_share_of_each_class(run):
  labels = run.dataset.train.labels()
  np.testing.assert_array_equal(np.bincount(labels), CLASSES)
  for half, expected in zip(run.halves, (WEIGHTS, ARCH), strict=True):
    np.testing.assert_array_equal(np.bincount(labels[half]), expected)
  assert not {*run.halves[0]} & {*run.halves[1]}
  evaluated = [x['eval_accuracy'] * sum(ARCH) for x in lines(run.workdir) if 'eval_accuracy' in x]
  np.testing.assert_allclose(evaluated, np.round(evaluated), rtol=1e-12)
  # They were read once, and kept.
  (kept,) = run.cache.rglob('*.npy')
  assert kept.parent.name == 'labels'


def test_training_sees_random_crops_and_tests_the_centre(run):
  index = np.arange(3)
  one, other = (run.dataset.train.read(index, np.full(3, n))['image'] for n in (0, 1))
  central = run.dataset.train.read(index)['image']
  assert one.shape == central.shape == (3, SIDE, SIDE, 3)
  for a, b in ((one, other), (one, central)):
    assert (a != b).any((1, 2, 3)).all()


def test_both_stems_have_the_strides_of_imagenet(run):
  """Three of two: the first cell gets a quarter and an eighth of the image's side."""
  expected = (SIDE, SIDE), [(SIDE // 4, SIDE // 4), (SIDE // 8, SIDE // 8)]
  assert run.seen
  assert all(each == expected for each in run.seen)
  genotype = unrealnas_jax.genotypes.load(str(run.workdir / 'genotype.json'))
  network = retrain.make_network(run.config, genotype, len(CLASSES)).clone(axis_name=None)
  images = np.zeros((1, SIDE, SIDE, 3), np.float32)

  def stem_of(key):
    _, kept = network.init_with_output(
      key, images, train=False, capture_intermediates=lambda module, _: module.name == 'stem'
    )
    return kept['intermediates']['stem']['__call__'][0]

  given = jax.eval_shape(stem_of, jax.random.key(0))
  assert [x.shape[1:3] for x in given] == expected[1]
