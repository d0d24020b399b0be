"""Results as text: one run's, and several runs' as mean and standard deviation over seeds."""

import datetime
import re
import statistics
from typing import NamedTuple

from unrealnas_jax.runs import Run, is_number

TESTED = ('accuracy', 'auc', 'rank', 'regret')  # words in the names of what stands first


class Group(NamedTuple):
  """Runs of one configuration that differ in their seed at most.

  settings: the keys of the config in which groups differ.
  """

  settings: dict[str, object]
  runs: list[Run]

  @property
  def label(self):
    return ', '.join(f'{key}={value}' for key, value in self.settings.items()) or 'all runs'


def results(run):
  """[(name, text)] of what a run's result.json says, what was tested first.

  Without the genotype, which is drawn, an analysis, which is a table of its own, and the scale,
  which the config tells.
  """
  names = run.result.keys() - {'genotype', 'analysis', 'scale'}
  names = sorted(names, key=_tested_first)
  return [(_words(name), show(name, run.result[name])) for name in names]


def analysis(groups):
  """(head, rows) of analyses: a row for each cell on each source, its mean and deviation.

  groups: (settings, what analysis.run gave for the runs that share them) each
  """
  places, names, rows = ('source', 'genotype'), {}, {}
  for settings, analysed in groups:
    for facts in analysed:
      names |= dict.fromkeys(facts.keys() - set(places))
      row = *map(str, settings.values()), *(facts[name] for name in places)
      rows.setdefault(row, []).append(facts)
  names = sorted(names, key=_tested_first)
  head = [*groups[0][0], *places, *map(_words, names)]
  return head, [
    [*row, *(_spread(name, [facts.get(name) for facts in same]) for name in names)]
    for row, same in rows.items()
  ]


def aligned(head, rows):
  """The lines of a table as plain text.

  >>> aligned(['source', 'fit'], [['noise', '99.00%'], ['real', '']])
  ['source  fit', 'noise   99.00%', 'real']
  """
  widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
  return [
    '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    for row in (head, *rows)
  ]


def group(runs):
  """The Groups of runs, in the order of their first runs."""
  kept = [{key: run.config[key] for key in run.config if key != 'seed'} for run in runs]
  keys = dict.fromkeys(key for config in kept for key in config)
  differing = [key for key in keys if any(kept[0].get(key) != c.get(key) for c in kept)]
  groups = {}
  for run, config in zip(runs, kept, strict=True):
    settings = {key: config.get(key) for key in differing}
    groups.setdefault(repr(settings), Group(settings, [])).runs.append(run)
  return list(groups.values())


def compare(groups):
  """(head, rows) of a table with a row for each Group: settings, runs, mean and deviation."""
  numbers = _numbers(run for group in groups for run in group.runs)
  settings = list(groups[0].settings)
  head = [*settings, 'runs', *(_words(name) for name in numbers)]
  rows = [
    [
      *(str(group.settings[key]) for key in settings),
      str(len(group.runs)),
      *(_spread(name, [run.result.get(name) for run in group.runs]) for name in numbers),
    ]
    for group in groups
  ]
  return head, rows


def seeds(runs):
  """(head, rows) of a table with a row for each number in the results of runs of one config."""
  head = ['', 'all', *(f'seed {run.config["seed"]}' for run in runs)]
  rows = []
  for name in _numbers(runs):
    values = [run.result.get(name) for run in runs]
    shown = [show(name, value) if is_number(value) else '' for value in values]
    rows.append([_words(name), _spread(name, values), *shown])
  return head, rows


def show(name, value):
  """A value of a result as text, in the unit that its name tells.

  >>> show('test_accuracy', 0.975), show('parameters', 3169414), show('search_seconds', 4000)
  ('97.50%', '3,169,414', '1:06:40')
  """
  if isinstance(value, list):
    return ', '.join(show(name, item) for item in value)
  if not is_number(value):
    return str(value)
  if name.endswith('_seconds'):
    return f'{value:.1f} s' if value < 100 else str(datetime.timedelta(seconds=round(value)))
  if 'accuracy' in name and abs(value) <= 1:
    return f'{value:.2%}'
  return f'{value:,.0f}' if isinstance(value, int) or abs(value) >= 1000 else f'{value:.4g}'


def _numbers(runs):
  names = {name for run in runs for name, value in run.result.items() if is_number(value)}
  return sorted(names, key=_tested_first)


def _spread(name, values):
  values = [value for value in values if is_number(value)]
  if not values:
    return ''
  mean = show(name, statistics.mean(values))
  return mean if len({*values}) < 2 else f'{mean} ± {show(name, statistics.stdev(values))}'


def _tested_first(name):
  return not any(word in name for word in TESTED), name


def _words(name):
  name = name.replace('_seconds', '_time').replace('_', ' ').replace('.', ': ')
  return re.sub(r'\bauc\b', 'AUC', name)
