"""Films with the features that CheXpert has in TFDS."""

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.image_classification import chexpert as official
from tfds_writer import encoded

# The official order of the statuses, of which a record holds the numbers.
NAMES = list(official._LABELS.values())
FEATURES = {
  'name': tfds.features.Text(),
  'image': tfds.features.Image(),
  'label': tfds.features.Sequence(tfds.features.ClassLabel(names=NAMES)),
  'image_view': tfds.features.ClassLabel(names=['frontal', 'lateral']),
}


def record(number, statuses):
  image = np.full((8 + number % 3, 7), 20 * number % 256, np.uint8)  # grey, of different sizes
  return {
    'name': f'patient{number}',
    'image': encoded(image, 'JPEG'),
    'label': statuses,
    'image_view': 'lateral',
  }
