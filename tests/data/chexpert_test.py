"""CheXpert's observations, read from a small set of the same features in TFDS's own format."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from chexpert_films import FEATURES, NAMES, record
from data_config import data_config
from tfds_writer import encoded, write

from unrealnas_jax.data import chexpert, datasets

# That of train.csv and valid.csv.
HEADER = (
  'Path,Sex,Age,Frontal/Lateral,AP/PA,No Finding,Enlarged Cardiomediastinum,Cardiomegaly,'
  'Lung Opacity,Lung Lesion,Edema,Consolidation,Pneumonia,Atelectasis,Pneumothorax,'
  'Pleural Effusion,Pleural Other,Fracture,Support Devices'
)
# The tasks that Irvin et al. 2019 choose, and the competition scores.
COMPETITION = 'Atelectasis,Cardiomegaly,Consolidation,Edema,Pleural Effusion'

pytestmark = pytest.mark.usefixtures('cache')


def statuses(number):
  """Of patient `number`: each status in turn, beginning with another one."""
  return [NAMES[(number + observation) % 4] for observation in range(14)]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('tfds')
  train = [record(number, statuses(number)) for number in range(9)]
  valid = [record(number, statuses(1)) for number in range(4)]
  write(folder, {'train': train, 'validation': valid}, FEATURES, ('image', 'label'))
  return folder


def load(folder, **changes):
  return datasets.load(data_config('tfds:tiny', tfds_dir=str(folder), size=6, **changes))


def test_the_features_are_those_of_tfds():
  assert set(NAMES) == set(chexpert.STATUSES)


def test_observations_are_the_columns_of_the_official_files():
  """Of which TFDS takes those behind the first five, in their order."""
  assert HEADER.split(',')[5:] == [*chexpert.OBSERVATIONS]
  assert COMPETITION.split(',') == [*chexpert.COMPETITION]


@pytest.mark.parametrize(('uncertain', 'value'), [('zeros', 0), ('ones', 1), ('ignore', -1)])
def test_uncertain_observations_are_taken_as_asked(folder, uncertain, value):
  dataset = load(folder, uncertain=uncertain)
  assert (dataset.train.size, dataset.test.size) == (9, 4)
  assert (dataset.classes, dataset.shape) == (14, (6, 6, 3))
  assert dataset.names == chexpert.OBSERVATIONS
  assert dataset.scored == chexpert.COMPETITION
  batch = dataset.train.read(np.array([7, 0]))
  meaning = {'uncertain': value, 'positive': 1, 'negative': 0, 'unmentioned': 0}
  expected = [[meaning[status] for status in statuses(number)] for number in (7, 0)]
  np.testing.assert_array_equal(batch['label'], expected)
  assert batch['label'].dtype == np.int32
  np.testing.assert_allclose(batch['image'].mean((1, 2, 3)), [140, 0], atol=2)
  np.testing.assert_array_equal(dataset.train.labels()[[7, 0]], expected)


def test_a_record_without_all_observations_is_refused(tmp_path):
  short = [record(0, statuses(0)), record(1, statuses(1)[:5])]
  write(tmp_path, {'train': short, 'validation': short[:1]}, FEATURES)
  with pytest.raises(ValueError, match="a label of 5 observations in split 'train'"):
    load(tmp_path)


def test_other_sequences_of_labels_are_none(tmp_path):
  colours = tfds.features.Sequence(tfds.features.ClassLabel(names=['red', 'green']))
  features = {'image': tfds.features.Image(), 'label': colours}
  rows = [{'image': encoded(np.zeros((4, 4), np.uint8)), 'label': ['red']}]
  write(tmp_path, {'train': rows, 'test': rows}, features)
  with pytest.raises(ValueError, match=r'label \(Sequence\); allowed: one Image and one Class'):
    load(tmp_path)
