"""Measured accuracy of every NAS-Bench-201 cell: what a found cell is worth, without training it.

Source: Dong and Yang 2020, "NAS-Bench-201"; Dong et al. 2021, "NATS-Bench", and the package
nats_bench. All numbers are of networks trained for 200 epochs.
"""

import csv
import gzip
import math
import os
import zlib
from typing import NamedTuple

import numpy as np
from absl import logging

from unrealnas_jax import nasbench201
from unrealnas_jax.nasbench201 import Architecture

KEY = 'benchmark.nasbench201_csv'
ALLOWED = "'' for none, a file x.csv or x.csv.gz, NATS-Bench's x.pickle.pbz2 or its folder"
# data set -> column of a csv file with the test accuracy
COLUMNS = {
  'cifar10': 'c10_test_200ep',
  'cifar100': 'c100_test_200ep',
  'imagenet16_120': 'in16_test_200ep',
}
# data set -> its name in NATS-Bench
NATS_NAMES = {'cifar10': 'cifar10', 'cifar100': 'cifar100', 'imagenet16_120': 'ImageNet16-120'}


class Table(NamedTuple):
  """Test accuracies of the 15,625 cells.

  archs: all of them, in the order of nasbench201.architectures().
  accuracy: {data set: [15625] percent}, in that order; the data sets are those of COLUMNS.
  """

  archs: tuple[Architecture, ...]
  accuracy: dict[str, np.ndarray]


def read(path: str) -> Table:
  """Reads a csv file with the columns arch and those of COLUMNS, or NATS-Bench's topology space.

  NATS-Bench is made of pickles, which can run any code when they are read: take it from its authors
  only.
  Raises: ValueError naming the path and the line, column or cell at fault.
  """
  rows, number_of = reader_of(path), {a: n for n, a in enumerate(nasbench201.architectures())}
  accuracy = np.full((len(number_of), len(COLUMNS)), np.nan)
  for where, arch, values in rows(os.path.expanduser(path)):
    where = f'{KEY} = {path!r}, {where}'
    number = number_of[nasbench201.from_text(arch, where)]
    if not np.isnan(accuracy[number, 0]):
      raise ValueError(f'{where}: {arch} stands there a second time')
    accuracy[number] = [_percent(value, where) for value in values]
  missing = [arch for arch, number in number_of.items() if np.isnan(accuracy[number, 0])]
  if missing:
    raise ValueError(
      f'{KEY} = {path!r} lacks {len(missing):,} of the {len(number_of):,} cells, such as '
      f'{nasbench201.to_text(missing[0])}'
    )
  return Table(tuple(number_of), dict(zip(COLUMNS, accuracy.T.copy(), strict=True)))


def look_up(table: Table, architecture: Architecture) -> dict:
  """What the table says of a cell, as result.json holds it: {'nasbench201_cifar10': {...}, ...}.

  accuracy_percent: test accuracy; rank: 1 for the best of all cells, equal ones share the best;
  cells: how many there are; regret_points: how much better the best is, in percentage points.
  """
  number, facts = table.archs.index(architecture), {}
  for name, accuracy in table.accuracy.items():
    facts[f'nasbench201_{name}'] = {
      'accuracy_percent': float(accuracy[number]),
      'rank': 1 + int((accuracy > accuracy[number]).sum()),
      'cells': len(accuracy),
      'regret_points': round(float(accuracy.max() - accuracy[number]), 4),
    }
  return facts


def reader_of(path: str):
  """How a table of this name is read: a function path -> (where, arch string, accuracies) rows.

  Raises: ValueError if nothing is there, or something of another name.
  """
  name = os.path.expanduser(path)
  if os.path.isdir(name) or name.endswith('.pickle.pbz2'):
    reader = _nats_rows
  elif name.endswith(('.csv', '.csv.gz')):
    reader = _csv_rows
  else:
    raise ValueError(f'{KEY} = {path!r}; allowed: {ALLOWED}')
  if not os.path.exists(name):
    raise ValueError(f'{KEY} = {path!r}; no such file; allowed: {ALLOWED}')
  return reader


def _csv_rows(path):
  opener = gzip.open if path.endswith('.gz') else open
  try:
    with opener(path, 'rt', encoding='utf-8', newline='') as file:
      rows = csv.DictReader(file)
      missing = {'arch', *COLUMNS.values()} - set(rows.fieldnames or ())
      if not missing:
        for row in rows:
          yield f'line {rows.line_num}', row['arch'] or '', [row[c] for c in COLUMNS.values()]
  except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
    raise ValueError(f'{KEY} = {path!r} is not a csv file: {error}') from error
  if missing:
    raise ValueError(f'{KEY} = {path!r} lacks the columns {", ".join(sorted(missing))}')


def _nats_rows(path):
  try:
    import nats_bench
  except ImportError as error:
    raise ValueError(
      f"{KEY} = {path!r} needs the package nats_bench: pip install -e '.[nasbench201]'"
    ) from error
  logging.info('Reading all cells of %s', path)
  try:
    api = nats_bench.create(path, 'tss', fast_mode=os.path.isdir(path), verbose=False)
    for number in range(len(api)):
      results = [
        api.get_more_info(number, name, hp='200', is_random=False)['test-accuracy']
        for name in NATS_NAMES.values()
      ]
      del api.arch2infos_dict[number]  # or all that was read of all cells would stay in memory
      yield f'cell {number}', api.arch(number), results
  except Exception as error:  # whatever unpickling some file comes to
    raise ValueError(f'{KEY} = {path!r} is no topology space of NATS-Bench: {error!r}') from error


def _percent(value, where):
  try:
    percent = float(value)
  except (TypeError, ValueError):
    percent = math.nan
  if not 0 <= percent <= 100:
    raise ValueError(f'{where}: {value!r} is no accuracy; allowed: 0 to 100 percent')
  return percent
