"""The analysis of cells: what is measured on which source, and that it goes on where it stopped.

The network is replaced by a linear one that is compiled at once.
"""

import flax.linen as nn
import jax
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
  config.analysis.genotypes = 'random,DARTS_V2'
  config.source.examples = 48
  config.checkpoint.every = 3 * EPOCHS  # one a training
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
  names = ['random', 'DARTS_V2']
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
    assert row['examples'] == 48
    if row['source'] == 'real':
      assert row['fitted_accuracy'] > 0.9
      assert row['gap_of_accuracy'] == row['fitted_accuracy'] - row['test_accuracy']
    else:
      assert row['fitted_accuracy'] < 0.9
      assert row['test_accuracy'] is row['gap_of_accuracy'] is None
  kept = runs.read_genotypes(tmp_path / 'run' / 'genotypes.json')
  assert set(kept) == set(names)
  assert kept['DARTS_V2'] == genotype.PUBLISHED['DARTS_V2']
  report = (tmp_path / 'run' / 'report.html').read_text()
  for text in ('<h2>Analysis', 'noise: fitted accuracy', 'Cells of DARTS_V2', 'epochs to half'):
    assert text in report
  assert '<h2>Random_on_real' not in report
  head, *told = capsys.readouterr().out.splitlines()[:7]
  assert head.startswith('source         genotype  fitted accuracy  gap of accuracy  test accuracy')
  assert [tuple(line.split()[:2]) for line in told] == pairs


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


def test_an_analysis_that_goes_on_keeps_the_cells_it_began_with(config, tmp_path, monkeypatch):
  file = tmp_path / 'found.txt'
  file.write_text(genotype.to_text(genotype.PUBLISHED['DARTS_V1']))
  config.analysis.genotypes, config.analysis.sources = f'random,{file}', 'noise'

  def stopped(*args):
    raise KeyboardInterrupt

  def cells():
    with pytest.raises(KeyboardInterrupt):
      run(config, tmp_path / 'run')
    return runs.read_genotypes(tmp_path / 'run' / 'genotypes.json')

  monkeypatch.setattr(loop, 'run', stopped)
  began = cells()
  file.write_text(genotype.to_text(genotype.PUBLISHED['DARTS_V2']))
  assert cells() == began == {'random': began['random'], 'found': genotype.PUBLISHED['DARTS_V1']}
  # Another config may have a folder in which nothing was trained, and then not its cells.
  config.seed += 1
  other = cells()
  assert other['found'] == genotype.PUBLISHED['DARTS_V2']
  assert other['random'] != began['random']


def test_seeds_are_compared(config, tmp_path):
  config.analysis.genotypes, config.analysis.sources = 'random,DARTS_V2', 'real'
  rows = []
  for seed in (1, 2):
    config.seed = seed
    rows.append(run(config, tmp_path / str(seed)))
  path = plots.compare([tmp_path / '1', tmp_path / '2'], tmp_path / 'out')
  page = path.read_text()
  found = [row[1]['test_accuracy'] for row in rows]
  spread = ' ± ' if found[0] != found[1] else '<'
  for text in ('<h2>Analysis', f'{np.mean(found):.2%}{spread}', 'real: train loss'):
    assert text in page
  assert '_on_' not in page
  assert (tmp_path / 'out' / 'figures' / 'analysis.svg').exists()


def test_cells_of_nasbench201(config, tmp_path):
  none = '|none~0|+|none~0|none~1|+|none~0|none~1|none~2|'
  config.search.space, config.analysis.genotypes = 'nasbench201', f'random,{none}'
  config.analysis.sources = 'noise'
  assert [row['source'] for row in run(config, tmp_path / 'run')] == ['noise', 'noise']
  kept = runs.read_genotypes(tmp_path / 'run' / 'genotypes.json')
  assert genotype.to_text(kept.pop('random')) != none
  assert [genotype.to_text(cell) for cell in kept.values()] == [none]
  config.retrain.drop_path = 0.1
  for space, given in (('darts', f'DARTS_V2,{none}'), ('nasbench201', 'random')):
    config.search.space, config.analysis.genotypes = space, given
    with pytest.raises(ValueError, match='retrain.drop_path = 0.1; allowed: 0 for a NAS-Bench-201'):
      config_lib.validate(config, 4)


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
  key = jax.random.fold_in(jax.random.key(config.seed), 4)
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
    ('gs://bucket/lr 0.5/', 'lr_0.5'),
    ('..', 'cell'),
    (
      '|none~0|+|none~0|none~1|+|none~0|none~1|none~2|',
      'none_0_none_0_none_1_none_0_none_1_none_2',
    ),
  ],
)
def test_names(given, name):
  assert analysis.name_of(given) == name


def test_cells_of_one_name_are_told_apart(config, tmp_path):
  (tmp_path / 'random_2').write_text(genotype.to_text(genotype.PUBLISHED['DARTS_V2']))
  config.analysis.genotypes = f'{tmp_path}/random_2,random,random,random'
  cells = analysis.load_cells(config)
  assert list(cells) == ['random_2', 'random', 'random_2_2', 'random_3']
  assert len(set(cells.values())) == 4


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'analysis.genotypes': 'DARTS_V2,DARTS_V9'}, "genotype='DARTS_V9' is neither .* random"),
    ({'analysis.genotypes': ','}, "genotype='' is neither"),
    ({'analysis.sources': 'real,nosie'}, "no source 'nosie'; allowed: noise, "),
    ({'genotype': 'DARTS_V2'}, "genotype = 'DARTS_V2'; allowed: '' with analysis.genotypes"),
    ({'retrain.epochs': 0}, 'retrain.epochs = 0'),
    ({'source.pretext': 'rotation'}, "source.pretext = 'rotation'; allowed: '' with analysis.gen"),
    ({'source.label_rate': 0.5}, 'label_rate = 0.5; allowed: 0 .* whose one class a network'),
    ({'retrain.auxiliary': 0.4}, 'retrain.auxiliary = 0.4; allowed: 0 with analysis.genotypes'),
    ({'source.examples': 15}, 'retrain.batch = 16; allowed: at most source.examples = 15 with'),
    ({'retrain.augment.pad': 8}, 'retrain.augment.pad = 8; allowed: less than source.size = 8'),
    ({'retrain.batch': 6}, 'retrain.batch = 6; allowed: a multiple of the number of devices, 4'),
  ],
)
def test_bad_input_is_named(config, changes, message):
  config.update_from_flattened_dict(changes)
  with pytest.raises(ValueError, match=message):
    config_lib.validate(config, 4)


def test_real_images_with_several_labels_are_refused(config, tmp_path):
  arrays = quick_run.images()
  several = {name: np.eye(4, dtype=int)[x] if name[0] == 'y' else x for name, x in arrays.items()}
  np.savez(tmp_path / 'x.npz', **several)
  with pytest.raises(ValueError, match='x.npz.*, whose images have several labels; allowed: one'):
    main.run(config, tmp_path / 'run')
  assert not (tmp_path / 'run').exists()


def test_dry_run_tells_one_cell_on_each_source(config, monkeypatch, tmp_path, capsys):
  monkeypatch.setattr('unrealnas_jax.dry_run.CALLS', 1)
  main.estimate(config, tmp_path / 'run')
  out = capsys.readouterr().out
  for source in ('random_labels', 'real', 'noise'):
    assert f'\nrandom_on_{source}: 12 steps of 16 images, 3 an epoch\n' in out
  assert out.count('multiply-adds, one of 2 cells') == 3
  assert not (tmp_path / 'run').exists()


def test_published_cells_are_compared_without_a_genotype_of_their_own(config, tmp_path):
  config.analysis.genotypes, config.analysis.sources = 'PDARTS', 'noise'
  run(config, tmp_path / 'run')
  found = runs.read(tmp_path / 'run')
  assert found.genotype is None
  assert plots._subtitle(found).startswith('analysis of PDARTS, ')
