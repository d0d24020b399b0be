"""From epoch to epoch training sees other views of the same images, which a source draws by number.

A number is lost without a trace where batches are made: the source then takes the one view that
tests see, and nothing fails. Here an epoch is one batch of all images, so that it can be compared
with the next image by image.
"""

import types

import jax
import numpy as np
import pytest
import quick_compile
import quick_run

from unrealnas_jax import data, generator, retrain, search
from unrealnas_jax import genotype as genotypes
from unrealnas_jax.data.split import Dataset, in_memory
from unrealnas_jax.state import SearchState

IMAGES, SIZE = 16, 8
# What images are: (source, smallest share of a random crop, jitter)
FRESH = {
  'noise anew': ('fresh_noise', 1.0, 0.0),
  'random crops': ('real', 0.3, 0.0),
  'other colours': ('real', 1.0, 0.4),
}
KEPT = {'kept noise': ('noise', 1.0, 0.0), 'stored images': ('real', 1.0, 0.0)}


def begin(kind):
  """(config, dataset) of a kind of images, with photographs larger than they are seen."""
  name, crop, jitter = (FRESH | KEPT)[kind]
  config = quick_run.get_config()
  config.data.update(dict(size=SIZE, random_crop=crop))
  config.source.update(dict(name=name, examples=IMAGES, size=SIZE, channels=3))
  config.search.batch, config.retrain.batch, config.generator.batch = IMAGES // 2, IMAGES, IMAGES
  photographs = np.random.default_rng(0).integers(0, 256, (IMAGES, 16, 16, 3), np.uint8)
  split = in_memory(photographs, np.arange(IMAGES) % 4, config.data)
  mean, std = np.full(3, 0.5, np.float32), np.full(3, 0.25, np.float32)
  return config, Dataset('made', split, split, 4, (SIZE, SIZE, 3), mean, std, jitter=jitter)


def in_order(batch, images):
  """(indices, numbers of views or None, images) [N] of a step's batch, by index."""
  batch = {name: x[0] for name, x in batch.items()}
  order = np.argsort(batch['index'])
  views = batch['view'][order] if 'view' in batch else None
  return batch['index'][order], views, np.asarray(images)[order]


def look(key, state, train, val, *, net, tx, hp):
  """The step of a method that learns nothing and tells the images it was given."""
  return state, (train[0], val[0])


def of_search(kind):
  """What the method is given in two epochs, first for the weights, then for the architecture.

  The state stays the same, and with it all that a step draws: what differs comes from the batches.
  """
  config, dataset = begin(kind)
  begun = search.prepare(config, dataset)
  assert begun.plan.epoch_steps == 1
  step = search.make_step(config, begun.source, None, types.SimpleNamespace(step=look), None, 0)
  step = quick_compile.jit_to_the_bit(step)
  state = SearchState(np.int32(0), {}, {}, {}, (), ())
  epochs = [(two, step(begun.key, state, *two)[1]) for two in begun.plan.batches(range(2))]
  return [[in_order(two[half], seen[half][0]) for two, seen in epochs] for half in (0, 1)]


def of_retraining(kind):
  """What the network is given in two epochs, before augmentation."""
  config, dataset = begin(kind)
  source = data.make_source(config, dataset)
  begun = retrain.prepare(config, genotypes.PUBLISHED['DARTS_V2'], source)
  assert begun.plan.epoch_steps == 1
  show = quick_compile.jit_to_the_bit(lambda batch: source.fn(begun.key, batch)[0])
  epochs = [batch for (batch,) in begun.plan.batches(range(2))]
  return [[in_order(x, show(jax.tree.map(lambda a: a[0], x))) for x in epochs]]


@pytest.mark.parametrize('training', [of_search, of_retraining])
@pytest.mark.parametrize('kind', FRESH)
def test_an_epoch_shows_another_view_of_every_image(training, kind):
  for (index, views, images), (again, other_views, others) in training(kind):
    np.testing.assert_array_equal(again, index)
    # Random crops are taken on the host; for the others the device needs the numbers.
    assert (views is None) == (kind == 'random crops')
    assert (images != others).any((1, 2, 3)).all()
    if views is not None:
      # One of 16 numbers is among 16 others by chance once for 2^32 / 16^2 = 17 million seeds.
      assert not np.intersect1d(views, other_views).size


@pytest.mark.parametrize('training', [of_search, of_retraining])
@pytest.mark.parametrize('kind', KEPT)
def test_what_is_kept_is_the_same_in_every_epoch(training, kind):
  """So that what differs above is not the order or the augmentation."""
  for (index, views, images), (again, other_views, others) in training(kind):
    np.testing.assert_array_equal(again, index)
    np.testing.assert_array_equal(others, images)
    assert views is other_views is None


def test_each_half_of_a_search_has_numbers_of_its_own():
  weights, arch = of_search('noise anew')
  for (index, views, _), (other_index, other_views, _) in zip(weights, arch, strict=True):
    assert not np.intersect1d(index, other_index).size
    assert not np.intersect1d(views, other_views).size


def test_a_generator_learns_from_images_as_they_are_stored():
  """Not from random views, which it would learn to draw."""
  config, dataset = begin('random crops')
  config.generator.discriminator_steps = 1
  dataset = dataset._replace(jitter=0.4)
  _, plan = generator.prepare(config, dataset, generator.describe(config, dataset), None)
  one, other = (in_order(batch, batch['image'][0]) for (batch,) in plan.batches(range(2)))
  central = dataset.train.read(np.arange(IMAGES))['image']
  for index, views, images in (one, other):
    np.testing.assert_array_equal(index, np.arange(IMAGES))
    np.testing.assert_array_equal(images, central)
    assert views is None
