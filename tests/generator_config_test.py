"""What the training of a generator, and a search on its images, ask of a config."""

import numpy as np
import pytest
import tiny_generator

from configs import generated, train_generator
from unrealnas_jax import config as lib
from unrealnas_jax import phases
from unrealnas_jax.data.split import Dataset, Split


def dataset(images=100, size=16):
  split = Split(images, lambda indices: None)
  return Dataset('made', split, split, 10, (size, size + 3, 1), np.zeros(1), np.ones(1))


def refused(config, message, devices=1, images=None):
  with pytest.raises(ValueError, match=message) as caught:
    lib.validate(config, devices, images)
  assert 'allowed: ' in str(caught.value)


@pytest.mark.parametrize('scale', ['laptop', 'paper'])
def test_a_search_on_generated_images_needs_their_generator(tmp_path, scale):
  config = generated.get_config(scale)
  config.source.generator = str(tmp_path)
  refused(config, 'source.generator = .* holds no generator')
  tiny_generator.write(tmp_path, tiny_generator.description())
  config.search.augment.pad = 2
  lib.validate(config, 1)
  config.search.augment.pad = 8
  refused(config, 'augment.pad = 8; allowed: less than the size of the generated images = 8 pix')
  config.genotype = 'DARTS_V2'  # nothing is searched
  config.source.generator = ''
  lib.validate(config, 1)


def test_what_the_training_of_a_generator_needs():
  config = train_generator.get_config('laptop')
  assert phases.needs_images(config)
  lib.validate(config, 2, dataset(images=100, size=16)._replace(shape=(16, 16, 1)))
  refused(config, 'generator.batch = 64; allowed: at most 63', 1, dataset(images=63))
  refused(config, 'generator.batch = 64; allowed: a multiple of .* 3', 3)
  lib.validate(config, 1, dataset(size=16)._replace(names=('a', 'b'), shape=(16, 16, 1)))
  config.generator.augment.cutout = 16
  refused(config, 'generator.augment.cutout = 16; allowed: less than data.size = 16')
  config.generator.augment.cutout = 0
  config.data.size = 18
  refused(config, 'data.size = 18 gives .* 18 and 18; allowed: at least 8 .* a multiple of 4')
  config.data.size = 0
  lib.validate(config, 1)
  refused(config, 'data.size = 0 gives .* 16 and 19; allowed: ', 1, dataset(size=16))
  config.generator.steps = 1_001
  refused(config, 'generator.steps = 1001; allowed: a multiple of generator.sheet_every = 250')
  config.generator.steps = 1_000
  config.genotype = ''
  refused(config, "genotype = ''; allowed: a published name")
  config.retrain.epochs = 0  # nobody judges
  lib.validate(config, 1)


@pytest.mark.parametrize('name', ['digits', 'cifar10'])
def test_images_are_mirrored_where_the_data_set_allows_it(name):
  config = train_generator.get_config(f'laptop,{name}')
  assert config.generator.augment.flip == (name == 'cifar10')
  lib.validate(config, 1)


@pytest.mark.parametrize(
  ('choice', 'steps', 'widths', 'augment'),
  [
    ('paper', 50_000, (256, 128), (4, 16)),
    ('paper,fashion_mnist', 50_000, (256, 128), (3, 14)),
    ('paper,imagenet64', 50_000, (256, 128), (8, 32)),
    ('paper,imagenet', 450_000, (512, 512), (28, 112)),
    ('paper,chexpert', 50_000, (512, 512), (28, 112)),
    ('laptop', 1_000, (64, 64), (2, 8)),
    ('laptop,imagenet', 3_000, (32, 32), (4, 16)),
    ('laptop,chexpert', 3_000, (32, 32), (4, 16)),
  ],
)
def test_a_generator_is_as_large_as_its_images_ask(choice, steps, widths, augment):
  config = train_generator.get_config(choice)
  hp = config.generator
  assert (hp.steps, hp.augment.pad, hp.augment.cutout) == (steps, *augment)
  assert (hp.channels, hp.discriminator_channels) == widths
  lib.validate(config, 1)
