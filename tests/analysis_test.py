"""The analysis of cells: what is measured on which source, and that it goes on where it stopped.

The network is replaced by a linear one that is compiled at once.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
import quick_run

from unrealnas_jax import analysis, genotype, loop, main, plots, runs
from unrealnas_jax import config as config_lib

EPOCHS = 4


class Linear(nn.Module):
  """One layer, with statistics that a network has and this one does not need."""

  classes: int
  axis_name: str | None = None
  draw: object = None

  @nn.compact
  def __call__(self, images, *, train, drop_path=0.0, example_keys=None):
    self.variable('batch_stats', 'count', jnp.zeros, ())
    return nn.Dense(self.classes)(images.reshape(len(images), -1)), None


@pytest.fixture
def config(tmp_path, monkeypatch):
  """Trains on 48 images of four classes, bright quarters that a linear network tells apart."""
  np.savez(tmp_path / 'x.npz', **quick_run.images())
  config = quick_run.get_config()
  config.data.path = str(tmp_path / 'x.npz')
  config.analysis.genotypes = 'random,DARTS_V2,random'
  config.source.examples = 48
  retrain = config.retrain
  retrain.auxiliary = retrain.drop_path = 0.0
  retrain.augment.pad, retrain.lr, retrain.epochs = 0, 0.05, EPOCHS
  make = lambda config, genotype, classes: Linear(classes)  # noqa: E731
  monkeypatch.setattr(analysis.retrain, 'make_network', make)
  return config


def run(config, workdir):
  return main.run(config, workdir)['analysis']


def test_rows_curves_and_report(config, tmp_path, capsys):
  rows = run(config, tmp_path / 'run')
  names = ['random', 'DARTS_V2', 'random_2']
  sources = ['random_labels', 'real', 'noise']
  pairs = [(source, name) for source in sources for name in names]
  assert [(row['source'], row['genotype']) for row in rows] == pairs
  series = runs.read_series(tmp_path / 'run')
  assert set(series) == {f'{name}_on_{source}' for source, name in pairs}
  for row in rows:
    steps, curve = series[f'{row["genotype"]}_on_{row["source"]}']['fitted_accuracy']
    assert list(steps) == [3, 6, 9, 12]
    assert row['fitted_accuracy'] == curve[-1]
    assert row['epochs_to_half'] == analysis.first_above(curve, 0.5)
    assert row['parameters'] == 4 * (8 * 8 + 1)
    if row['source'] == 'real':
      assert row['fitted_accuracy'] > 0.9
      assert row['gap_of_accuracy'] == row['fitted_accuracy'] - row['test_accuracy']
    else:
      assert row['fitted_accuracy'] < 0.9
      assert row['test_accuracy'] is row['gap_of_accuracy'] is None
  kept = runs.read_genotypes(tmp_path / 'run' / 'genotypes.json')
  assert list(kept) == names
  assert kept['DARTS_V2'] == genotype.PUBLISHED['DARTS_V2']
  assert kept['random'] != kept['random_2']
  report = (tmp_path / 'run' / 'report.html').read_text()
  for text in ('<h2>Analysis', 'noise: fitted accuracy', 'Cells random_2', 'epochs to nine tenths'):
    assert text in report
  assert 'report.html' in capsys.readouterr().out


def test_stopped_and_resumed_is_the_same_analysis(config, tmp_path, monkeypatch):
  config.analysis.genotypes, config.analysis.sources = 'random,random', 'real,noise'
  expected = run(config, tmp_path / 'whole')
  train, trained = loop.run, []

  def stopped(plan, *args):
    if len(trained) == 3:
      raise KeyboardInterrupt
    trained.append(plan.phase)
    return train(plan, *args)

  with monkeypatch.context() as patch:
    patch.setattr(loop, 'run', stopped)
    with pytest.raises(KeyboardInterrupt):
      run(config, tmp_path / 'stopped')
  assert run(config, tmp_path / 'stopped') == expected
  whole, resumed = ((tmp_path / name / 'metrics.jsonl') for name in ('whole', 'stopped'))
  assert whole.read_bytes() == resumed.read_bytes()


def test_noise_alone_needs_no_images(config, tmp_path):
  config.analysis.genotypes, config.analysis.sources = 'PDARTS', 'noise'
  config.data.path = 'nowhere.npz'
  (row,) = run(config, tmp_path / 'run')
  assert 0 <= row['fitted_accuracy'] <= 1


def test_what_is_fitted_counts_every_example_once(config):
  config.source.examples = 21  # the last batch is filled up
  config.retrain.batch = 8
  source = analysis.SOURCES['noise'](config, None)
  _, plan, network = analysis.prepare(config, None, 'x', 'noise', None)
  key = analysis.jax.random.fold_in(analysis.jax.random.key(config.seed), 4)
  state = plan.init()
  images, labels = source.fn(key, source.read(np.arange(21)))
  variables = {'params': state.params, 'batch_stats': state.batch_stats}
  logits, _ = network.apply(variables, images, train=False)
  expected = (logits.argmax(-1) == labels).mean()
  state = analysis.parallel.replicate(state)
  assert plan.end_of_epoch(state)['fitted_accuracy'] == pytest.approx(float(expected))


@pytest.mark.parametrize(
  ('given', 'name'),
  [
    ('DARTS_V2', 'DARTS_V2'),
    ('random', 'random'),
    ('a/run/', 'run'),
    ('a/b/genotype.json', 'b'),
    ('a/found.txt', 'found'),
    (
      '|none~0|+|none~0|none~1|+|none~0|none~1|none~2|',
      'none_0_none_0_none_1_none_0_none_1_none_2',
    ),
  ],
)
def test_names(given, name):
  assert analysis.name_of(given) == name


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'analysis.genotypes': 'DARTS_V2,DARTS_V9'}, "genotype='DARTS_V9' is neither .* random"),
    ({'analysis.genotypes': ','}, "genotype='' is neither"),
    ({'analysis.sources': 'real,nosie'}, "no source 'nosie'; allowed: noise, "),
    ({'genotype': 'DARTS_V2'}, "genotype = 'DARTS_V2'; allowed: '' with analysis.genotypes"),
    ({'retrain.epochs': 0}, 'retrain.epochs = 0'),
    ({'retrain.auxiliary': 0.4}, 'retrain.auxiliary = 0.4; allowed: at least 1, and 0'),
    ({'retrain.batch': 6}, 'retrain.batch = 6; allowed: a multiple of the number of devices, 4'),
  ],
)
def test_bad_input_is_named(config, changes, message):
  config.update_from_flattened_dict(changes)
  with pytest.raises(ValueError, match=message):
    config_lib.validate(config, 4)


def test_dry_run_tells_one_cell_on_each_source(config, monkeypatch, tmp_path, capsys):
  monkeypatch.setattr('unrealnas_jax.dry_run.CALLS', 1)
  main.estimate(config, tmp_path / 'run')
  out = capsys.readouterr().out
  for source in ('random_labels', 'real', 'noise'):
    assert f'\nrandom_on_{source}: 12 steps of 16 images, 3 an epoch\n' in out
  assert out.count('multiply-adds, one of 3 cells') == 3
  assert not (tmp_path / 'run').exists()


def test_published_cells_are_compared_without_a_genotype_of_their_own(config, tmp_path):
  config.analysis.genotypes, config.analysis.sources = 'PDARTS', 'noise'
  run(config, tmp_path / 'run')
  found = runs.read(tmp_path / 'run')
  assert found.genotype is None
  assert plots._subtitle(found).startswith('genotype PDARTS, ')
