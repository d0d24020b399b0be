"""CheXpert: 14 observations on radiographs, each positive, negative, uncertain or unmentioned.

Source: Irvin et al. 2019 (arXiv 1901.07031), whose names for the ways to take an uncertain one are
U-Zeros, U-Ones and U-Ignore; one that the report does not mention counts as negative there too.
"""

import numpy as np

from unrealnas_jax.data.split import MISSING, Labels

# In the order of the columns of the official csv files, which TFDS keeps.
OBSERVATIONS = (
  'No Finding',
  'Enlarged Cardiomediastinum',
  'Cardiomegaly',
  'Lung Opacity',
  'Lung Lesion',
  'Edema',
  'Consolidation',
  'Pneumonia',
  'Atelectasis',
  'Pneumothorax',
  'Pleural Effusion',
  'Pleural Other',
  'Fracture',
  'Support Devices',
)
COMPETITION = ('Atelectasis', 'Cardiomegaly', 'Consolidation', 'Edema', 'Pleural Effusion')
LABELS = Labels(len(OBSERVATIONS), OBSERVATIONS, COMPETITION)
# data.uncertain: what an uncertain observation is taken for
POLICIES = {'zeros': 0, 'ones': 1, 'ignore': MISSING}
STATUSES = ('uncertain', 'positive', 'negative', 'unmentioned')


def multi_hot(statuses: np.ndarray, names: list[str], uncertain: str) -> np.ndarray:
  """Multi-hot labels int32 [N, 14] of statuses int [N, 14].

  names: of the statuses by number, all of STATUSES; uncertain: a key of POLICIES
  """
  values = {'positive': 1, 'negative': 0, 'unmentioned': 0, 'uncertain': POLICIES[uncertain]}
  return np.array([values[name] for name in names], np.int32)[statuses]
