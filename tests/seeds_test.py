"""Runs of several seeds: each as if alone, in one program or one after the other."""

import json
import subprocess

import numpy as np
import programs
import pytest
from ml_collections import ConfigDict

from unrealnas_jax import seeds

SEEDS = (4, 5, 6)
LIMIT = '--config.method.max_skips=2'


def run(folder, compiled, *flags):
  """Result of a search with these flags."""
  command = programs.command(folder, programs.SEARCH_ONLY, programs.ONE_CELL, *flags)
  ended = subprocess.run(
    command, env=programs.environment(compiled), capture_output=True, text=True, check=False
  )
  assert ended.returncode == 0, ended.stderr
  return json.loads((folder / 'result.json').read_text())


@pytest.fixture(scope='module')
def runs(tmp_path_factory, compiled):
  """(folder, result) of three seeds: two in one program, then one; and of the second alone."""
  folder = tmp_path_factory.mktemp('seeds')
  several = (LIMIT, '--config.seeds=(4,5,6)', '--config.seeds_together=2')
  found = {'several': run(folder / 'several', compiled, *several)}
  found['alone'] = run(folder / 'alone', compiled, LIMIT, '--config.seed=5')
  return folder, found


def test_a_search_among_others_is_the_search_alone(runs):
  folder, found = runs
  among = found['several']['seeds']['5']
  assert among['genotype'] == found['alone']['genotype']
  assert among.keys() == found['alone'].keys()
  assert among['genotype_by_skips'] == found['alone']['genotype_by_skips']
  expected = programs.last_state(folder / 'alone')[1]
  states = programs.last_state(folder / 'several' / 'seeds_4_5')[1]
  for name, x in expected.items():
    if not name.startswith('step'):
      np.testing.assert_allclose(states[name][1], x, 1e-3, 1e-4, err_msg=name)


def test_each_seed_has_a_folder_that_is_one_of_a_run(runs):
  folder, found = runs
  for seed in SEEDS:
    workdir = folder / 'several' / f'seed_{seed}'
    assert json.loads((workdir / 'config.json').read_text())['seed'] == seed
    assert json.loads((workdir / 'result.json').read_text()) == found['several']['seeds'][str(seed)]
    assert (workdir / 'genotype.json').exists()
  assert len({found['several']['seeds'][str(seed)]['genotype'] for seed in SEEDS}) > 1


def test_the_time_of_a_search_is_its_share(runs):
  """The file is written before the last checkpoint is waited for, so it says a little less."""
  folder, found = runs
  path = folder / 'several' / 'seeds_4_5' / 'checkpoints' / 'search_seconds.json'
  together = json.loads(path.read_text())['seconds']
  for seed in ('4', '5'):
    assert 0.5 <= found['several']['seeds'][seed]['search_seconds'] / together < 0.75


def test_what_is_measured_together_is_the_mean(runs):
  folder, _ = runs
  lines = programs.lines(folder / 'several' / 'seeds_4_5')
  epochs = [line for line in lines if 'epoch' in line]
  for line in epochs:
    first, second = line['each']
    np.testing.assert_allclose(
      line['eval_accuracy'], (first['eval_accuracy'] + second['eval_accuracy']) / 2, rtol=1e-6
    )
  alone = [line for line in programs.lines(folder / 'alone') if 'epoch' in line]
  assert [line['each'][1]['normal_skips'] for line in epochs] == [
    line['normal_skips'] for line in alone
  ]


def test_mean_and_deviation_are_over_what_all_results_have():
  results = {
    0: {'a': 1, 'b': {'c': 2.0, 'text': 'x'}, 'only': 3, 'flag': True},
    7: {'a': 3, 'b': {'c': 6.0, 'text': 'y'}, 'flag': True},
  }
  found = seeds.summary(results)
  assert found['mean'] == {'a': 2, 'b.c': 4}
  np.testing.assert_allclose(found['standard_deviation']['a'], np.sqrt(2))
  np.testing.assert_allclose(found['standard_deviation']['b.c'], np.sqrt(8))
  assert found['seeds'] == {'0': results[0], '7': results[7]}
  assert seeds.summary({0: results[0]})['standard_deviation']['a'] is None


def test_seeds_are_taken_in_groups():
  config = ConfigDict({'seed': 1, 'seeds': SEEDS, 'seeds_together': 2})
  grouped = [[(alone.seed, alone.seeds) for alone in group] for group in seeds.groups(config)]
  assert grouped == [[(4, ()), (5, ())], [(6, ())]]
  assert config.seed == 1
