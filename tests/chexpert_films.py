"""Films with the features that CheXpert has in TFDS."""

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.image_classification import chexpert as official
from tfds_writer import encoded, write

from unrealnas_jax.data import chexpert

# The official order of the statuses, of which a record holds the numbers.
NAMES = list(official._LABELS.values())
FEATURES = {
  'name': tfds.features.Text(),
  'image': tfds.features.Image(),
  'label': tfds.features.Sequence(tfds.features.ClassLabel(names=NAMES)),
  'image_view': tfds.features.ClassLabel(names=['frontal', 'lateral']),
}
NEVER_KNOWN = 12  # an observation, Fracture, that is uncertain on all films to train on


def record(number, statuses):
  image = np.full((8 + number % 3, 7), 20 * number % 256, np.uint8)  # grey, of different sizes
  return {
    'name': f'patient{number}',
    'image': encoded(image, 'JPEG'),
    'label': statuses,
    'image_view': 'lateral',
  }


def write_films(folder):
  """The flags that name 40 films to train on and 20 to test, which are written to a folder.

  Their statuses are random, but for NEVER_KNOWN.
  """
  rng, splits = np.random.default_rng(0), {}
  for split, size in (('train', 40), ('validation', 20)):
    rows = [[str(name) for name in rng.choice(NAMES, 14)] for _ in range(size)]
    for row in rows if split == 'train' else ():
      row[NEVER_KNOWN] = 'uncertain'
    splits[split] = [record(number, row) for number, row in enumerate(rows)]
  write(folder, splits, FEATURES, ('image', 'label'))
  flags = ('data.path=tfds:tiny', f'data.tfds_dir={folder}', 'data.size=8', 'source.classes=14')
  return [f'--config.{flag}' for flag in flags]


def assert_areas(found, labels):
  """An AUC for each observation of which test labels [N, 14] hold both, and CheXpert's mean.

  found: what result.json says
  """
  areas = found['test_auc_per_label']
  assert areas.keys() == {*chexpert.OBSERVATIONS}
  for name, column in zip(chexpert.OBSERVATIONS, labels.T, strict=True):
    if {0, 1} <= {*column}:
      assert 0 <= areas[name] <= 1
    else:
      assert areas[name] is None
  np.testing.assert_allclose(found['test_auc'], np.mean([areas[x] for x in chexpert.COMPETITION]))
