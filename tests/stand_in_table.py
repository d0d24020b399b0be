"""A table of all NAS-Bench-201 cells with made-up accuracies, written as a csv file."""

import csv
import gzip

import numpy as np

from unrealnas_jax import nasbench201

CELLS = nasbench201.architectures()
COLUMNS = ('c10_test_200ep', 'c100_test_200ep', 'in16_test_200ep')


def accuracies(seed=0):
  """[15625, 3] percent, with four decimals as in the published table, and few of them equal."""
  return np.random.default_rng(seed).uniform(1, 90, (len(CELLS), len(COLUMNS))).round(4)


def write(path, values, cells=CELLS, columns=COLUMNS):
  """Writes the rows in another order than that of `cells`, with an index before them."""
  opener = gzip.open if str(path).endswith('.gz') else open
  rows = list(zip(map(nasbench201.to_text, cells), values, strict=True))
  with opener(path, 'wt', newline='') as file:
    writer = csv.writer(file)
    writer.writerow(['index', 'arch', *columns])
    for number, (text, row) in enumerate(reversed(rows)):
      writer.writerow([number, text, *row])
  return str(path)
