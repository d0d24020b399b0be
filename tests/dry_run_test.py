"""What --dry_run tells: sizes, times and memory of the real steps, and that nothing is written."""

import json
import re

import jax
import numpy as np
import pytest
import quick_run

from unrealnas_jax import cost, dry_run, genotype, main, retrain, search, timing
from unrealnas_jax.data import datasets


@pytest.fixture
def config(tmp_path):
  np.savez(tmp_path / 'x.npz', **quick_run.images())
  config = quick_run.get_config()
  config.data.path = str(tmp_path / 'x.npz')
  config.search.cells = config.retrain.cells = 1  # which are traced, and most of the time
  return config


@pytest.fixture(autouse=True)
def measure(monkeypatch):
  """Stands in for the timing of compiled steps: 2 s each after 7 s; what it was given."""
  given = []

  def measure(plan, arguments, calls):
    given.append((plan.phase, arguments))
    analysis = jax.jit(lambda x: x + 1).lower(np.ones(2**20, np.float32)).compile()
    return timing.Timed(1, 4, 2, 2, 1, analysis.memory_analysis(), {})

  monkeypatch.setattr(timing, 'measure', measure)
  return given


def test_search_and_retraining(config, measure, tmp_path, capsys):
  before = sorted(tmp_path.rglob('*'))
  main.estimate(config, tmp_path / 'run')
  assert sorted(tmp_path.rglob('*')) == before
  told = capsys.readouterr().out
  resolved, _, told = told.partition('\n}\n')
  assert json.loads(resolved + '}') == json.loads(config.to_json())
  found = search.prepare(config, None)
  params, _ = jax.eval_shape(found.net.init, found.key)
  lines = told.splitlines()
  assert lines[:2] == [
    'search: 8 steps of 8 images, 4 an epoch',
    f'  size         {cost.parameters(params):,} parameters in the supernet',
  ]
  # 4 MiB are given and 4 come back; 8 steps of 2 s follow the 7 s until the first is done.
  assert lines[2].startswith('  memory       8 MiB a device by the analysis of XLA: 8 of state and')
  assert lines[3:5] == [
    '  start        7.0 s: tracing, compilation and the first step',
    '  step         2 s, the median of 3 calls',
  ]
  assert lines[5].startswith('  in all       23.0 s ')
  assert lines[6] == 'retrain: 6 steps of 16 images, 3 an epoch'
  assert re.fullmatch(
    r'  size         [\d,]+ parameters, [\d,]+ multiply-adds, of a random .*', lines[7]
  )
  assert [phase for phase, _ in measure] == ['search', 'retrain']


def test_the_program_of_several_seeds_is_timed(config, measure):
  config.seeds, config.seeds_together = (0, 1, 2), 2
  _, searched, retrained = dry_run.describe(config, datasets.load(config.data), None)
  assert 'in the supernet; 3 seeds, of which one program searches 2' in searched
  assert retrained.splitlines()[1].endswith('one of 3, each with a seed')
  (_, (keys, state, *_)), _ = measure
  assert keys.shape == state.step.shape == (2,)


def test_arguments_are_those_of_the_first_call(config, measure):
  list(dry_run.describe(config, datasets.load(config.data), None))
  for (phase, (key, state, *batches)), count in zip(measure, (2, 1), strict=True):
    assert int(state.step) == 0
    assert len(batches) == count
    size = config[phase].batch
    assert {batch['index'].shape for batch in batches} == {(4, 1, size // 4)}
    assert jax.random.key_data(key).shape == (2,)


def test_the_batches_of_the_next_call_are_counted(config):
  """16 images of 256 x 256 floats, 256 KiB each, are spread over four devices: 1 MiB on each.

  A call itself takes the 8 MiB of the stand-in.
  """
  images = np.random.default_rng(0).uniform(size=(32, 256, 256)).astype(np.float32)
  labels = np.arange(32) % 4
  arrays = dict(x_train=images, y_train=labels, x_test=images[:4], y_test=labels[:4])
  np.savez(config.data.path, **arrays)
  config.source.name, config.search.batch = 'real', 8
  _, *told = dry_run.describe(config, datasets.load(config.data), None)
  for text in told:  # two batches of 8 images in the search, one of 16 in retraining
    assert 'memory       9 MiB a device' in text


def test_a_given_genotype_is_measured(config):
  config.genotype = 'DARTS_V2'
  dataset, given = datasets.load(config.data), genotype.PUBLISHED['DARTS_V2']
  _, text = dry_run.describe(config, dataset, given)
  size = retrain.measure(retrain.make_network(config, given, 4), dataset.shape)
  assert (
    f'{size["parameters"]:,} parameters, {size["multiply_adds"]:,} multiply-adds, of the' in text
  )


def test_training_of_a_generator_in_place_of_a_search(config, measure):
  hp = config.generator
  hp.steps, hp.sheet_every, hp.batch, hp.discriminator_steps = 6, 3, 8, 2
  hp.channels = hp.discriminator_channels = 2
  dataset = datasets.load(config.data)
  _, told, retraining = dry_run.describe(config, dataset, genotype.PUBLISHED['DARTS_V2'])
  lines = told.splitlines()
  assert lines[0] == 'generator: 6 steps of 8 images, 3 an epoch'
  (_, (_, state, batch)), _ = measure
  counts = [cost.parameters(x['params']) for x in (state.generator, state.discriminator)]
  assert lines[1].split('size')[1].strip() == (
    f'{counts[0]:,} parameters in the generator, {counts[1]:,} in the discriminator'
  )
  assert batch['image'].shape == (4, 2, 2, 8, 8, 1)
  assert 'two such networks' in retraining.splitlines()[1]
  assert [phase for phase, _ in measure] == ['generator', 'retrain']


def test_a_search_that_trains_nothing_is_not_timed(config, measure):
  config.method.name = 'random'
  config.search.epochs = config.retrain.epochs = 0
  _, text = dry_run.describe(config, None, None)
  assert text.splitlines()[0] == 'search: 0 steps of 8 images, 4 an epoch'
  assert measure == []


def test_devices_without_an_analysis_of_memory():
  assert dry_run._memory(None, 0) == 'not told by XLA for this device'


def test_bad_input_is_refused(config, tmp_path):
  config.search.batch = 3
  with pytest.raises(ValueError, match='search.batch = 3; allowed: a multiple'):
    main.estimate(config, tmp_path / 'run')
  config.search.batch = 8
  (tmp_path / 'file').write_text('x')
  with pytest.raises(ValueError, match='holds files but no config.json'):
    main.estimate(config, tmp_path)
