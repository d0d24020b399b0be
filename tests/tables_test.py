"""Results as text: units, groups of runs that differ in their seed, means and deviations."""

import made_run
import pytest

from unrealnas_jax import runs, tables


@pytest.mark.parametrize(
  ('name', 'value', 'text'),
  [
    ('test_accuracy', 0.98765, '98.77%'),
    ('test_auc', 0.98765, '0.9877'),
    ('parameters', 3169414, '3,169,414'),
    ('search_seconds', 12.34, '12.3 s'),
    ('retrain_seconds', 90061, '1 day, 1:01:01'),
    ('angle', 0.123456, '0.1235'),
    ('multiply_adds', 12345.6, '12,346'),
    ('test_accuracy', None, 'None'),
    ('ok', True, 'True'),
    ('class_accuracy', [0.5, 0.25], '50.00%, 25.00%'),
    ('genotype', 'Genotype()', 'Genotype()'),
  ],
)
def test_values_are_shown_in_their_unit(name, value, text):
  assert tables.show(name, value) == text


def run(tmp_path, name, **config):
  return runs.read(made_run.write(tmp_path / name, **config))


def test_runs_that_differ_in_their_seed_are_one_group(tmp_path):
  found = [
    run(tmp_path, 'a', seed=1, accuracy=0.5),
    run(tmp_path, 'b', seed=2, accuracy=0.7, genotype='DARTS_V1'),
    run(tmp_path, 'c', seed=3, accuracy=0.6),
  ]
  groups = tables.group(found)
  assert [(g.label, [r.name for r in g.runs]) for g in groups] == [
    ('genotype=', ['a', 'c']),
    ('genotype=DARTS_V1', ['b']),
  ]
  head, rows = tables.compare(groups)
  assert head == ['genotype', 'runs', 'test accuracy', 'parameters']
  # Deviations with n - 1: of 0.5 and 0.6 it is sqrt(0.005) = 0.0707, of 1000 and 3000 it is 1414.
  assert rows == [
    ['', '2', '55.00% ± 7.07%', '2,000 ± 1,414'],
    ['DARTS_V1', '1', '70.00%', '2,000'],
  ]


def test_what_a_run_lacks_is_left_empty(tmp_path):
  found = [run(tmp_path, 'a', seed=1), run(tmp_path, 'b', seed=2, scale='paper')]
  found[1].result.clear()
  found[1].result['auc'] = 0.5
  head, rows = tables.compare(tables.group(found))
  assert head == ['scale', 'runs', 'AUC', 'test accuracy', 'parameters']
  assert rows == [['laptop', '1', '', '50.00%', '1,000'], ['paper', '1', '0.5', '', '']]


def test_tables_within_results_are_rows_of_their_own(tmp_path):
  folder = made_run.write(tmp_path / 'run')
  (folder / 'result.json').write_text('{"nasbench201_cifar10": {"rank": 1234, "cells": 15625}}')
  assert tables.results(runs.read(folder)) == [
    ('nasbench201 cifar10: rank', '1,234'),
    ('nasbench201 cifar10: cells', '15,625'),
  ]


def test_analyses_are_rows_of_cells_on_sources():
  def facts(source, fitted, epochs, gap=None):
    measured = {'fitted_accuracy': fitted, 'epochs_to_half': epochs, 'gap_of_accuracy': gap}
    return {'genotype': 'PDARTS', 'source': source, **measured}

  one = [facts('noise', 0.5, 4), facts('real', 1.0, 1, 0.02)]
  assert tables.analysis([({}, one)]) == (
    ['source', 'genotype', 'fitted accuracy', 'gap of accuracy', 'epochs to half'],
    [['noise', 'PDARTS', '50.00%', '', '4'], ['real', 'PDARTS', '100.00%', '2.00%', '1']],
  )
  # Two seeds of one setting, one of another; deviations with n - 1: of 0.5 and 0.6 it is 0.0707.
  groups = [
    ({'retrain.epochs': 9}, [facts('noise', 0.5, None), facts('noise', 0.6, 8)]),
    ({'retrain.epochs': 2}, [facts('noise', 0.1, None)]),
  ]
  head, rows = tables.analysis(groups)
  assert head[0] == 'retrain.epochs'
  assert rows == [
    ['9', 'noise', 'PDARTS', '55.00% ± 7.07%', '', '8'],
    ['2', 'noise', 'PDARTS', '10.00%', '', ''],
  ]
  assert tables.analysis([({}, [])])[1] == []


def test_one_configuration_needs_no_settings(tmp_path):
  groups = tables.group([run(tmp_path, 'a', seed=1), run(tmp_path, 'b', seed=2)])
  assert [group.label for group in groups] == ['all runs']
  assert tables.compare(groups)[0][0] == 'runs'


def test_each_seed_has_a_column(tmp_path):
  found = [run(tmp_path, 'a', seed=1, accuracy=0.5), run(tmp_path, 'b', seed=3, accuracy=0.6)]
  found[1].result['search_steps'] = 7
  assert tables.seeds(found) == (
    ['', 'all', 'seed 1', 'seed 3'],
    [
      ['test accuracy', '55.00% ± 7.07%', '50.00%', '60.00%'],
      ['parameters', '2,000 ± 1,414', '1,000', '3,000'],
      ['search steps', '7', '', '7'],
    ],
  )
