"""Workdirs read back: finished, unfinished, and those that cannot be read."""

import json

import made_run
import numpy as np
import pytest
from PIL import Image

from unrealnas_jax import genotype, runs


def test_a_finished_run(tmp_path):
  run = runs.read(made_run.write(tmp_path / 'run'))
  assert run.name == 'run'
  assert run.config['search.epochs'] == 5
  assert run.genotype == genotype.PUBLISHED['DARTS_V2']
  steps, losses = run.series['search']['val_loss']
  np.testing.assert_array_equal(steps, [1, 2, 3, 4, 5, 6])
  np.testing.assert_allclose(losses, [2, 1, 2 / 3, 0.5, 0.4, 1 / 3])
  steps, accuracies = run.series['search']['eval_accuracy']
  np.testing.assert_array_equal(steps, [2, 4, 6])
  assert np.isnan(accuracies).all()
  assert not {'epoch', 'step', 'weights'} & run.series['search'].keys()
  epochs, tables = run.weights['reduce']
  np.testing.assert_array_equal(epochs, [1, 2, 3])
  assert tables.shape == (3, 14, 8)
  np.testing.assert_allclose(tables[:, 0, 0], [0.1, 0.2, 0.3])
  assert run.samples[0].shape == (5, 8, 8, 1)


def test_a_run_that_has_just_begun(tmp_path):
  folder = made_run.write(tmp_path / 'run')
  for path in folder.iterdir():
    if path.name != 'config.json':
      path.unlink()
  run = runs.read(folder)
  assert (run.genotype, run.samples) == (None, None)
  assert run.result == run.environment == run.series == run.weights == {}


def test_a_line_cut_short_by_a_kill_is_left_out(tmp_path):
  folder = made_run.write(tmp_path / 'run')
  with (folder / 'metrics.jsonl').open('a') as file:
    file.write('{"phase": "sea')
  assert len(runs.read(folder).series['search']['val_loss'][0]) == 6


def test_weights_of_a_stage_with_other_operations_are_left_out(tmp_path):
  folder = made_run.write(tmp_path / 'run')
  lines = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
  lines[2]['weights']['normal'] = [[1.0]]
  del lines[5]['weights']['reduce']
  (folder / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
  weights = runs.read(folder).weights
  assert [list(weights[kind][0]) for kind in ('normal', 'reduce')] == [[2, 3], [1, 3]]


def test_seeds_have_what_was_told_of_each(tmp_path):
  folder = made_run.write_seeds(tmp_path / 'run', together=(1, 2), alone=(3,))
  found = runs.read_seeds(folder)
  assert [run.config['seed'] for run in found] == [1, 2, 3]
  for run, skips in zip(found, ([10] * 3, [20] * 3, [1, 2, 3]), strict=True):
    assert list(run.series['search']['normal_skips'][1]) == skips
    assert run.weights['normal'][1].shape == (3, 14, 8)
    assert len(run.samples[0]) == 5
  (folder / 'seed_2' / 'config.json').unlink()  # it has not ended
  assert [run.config['seed'] for run in runs.read_seeds(folder)] == [1, 3]
  assert runs.read_seeds(folder / 'seed_1') == []


def test_the_newest_sheet_of_a_generator(tmp_path):
  folder = made_run.write(tmp_path / 'run')
  assert runs.read(folder).sheet is None
  (folder / 'samples').mkdir()
  for step in (250, 500, 1000):
    Image.fromarray(np.full((2, 3), step % 256, np.uint8)).save(folder / f'samples/{step:06d}.png')
  np.testing.assert_array_equal(runs.read(folder).sheet, np.full((2, 3), 1000 % 256))


@pytest.mark.parametrize(
  ('name', 'text', 'message'),
  [
    ('config.json', None, 'holds no config.json; allowed: the workdir of a run'),
    ('config.json', '{', 'config.json is not JSON'),
    ('genotype.json', '{}', 'genotype.json: a genotype needs the fields'),
    ('metrics.jsonl', 'x\n', 'metrics.jsonl is not made of lines of JSON'),
  ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, text, message):
  folder = made_run.write(tmp_path / 'run')
  if text is None:
    (folder / name).unlink()
  else:
    (folder / name).write_text(text)
  with pytest.raises(ValueError, match=message):
    runs.read(folder)
