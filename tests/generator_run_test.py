"""A whole run of a generator and of the two real networks that judge it, stopped among the last."""

import types

import jax
import numpy as np
import programs
import pytest
import quick_run
from kills import Killed, kill

import unrealnas_jax
from configs import train_generator
from unrealnas_jax import genotype, loop, main

TRAIN, TEST = 32, 20
EDGES = ('skip_connect', 0), ('avg_pool_3x3', 1)
STEPS = {'generator': 2, 'judge_generated': 2, 'judge_real': 2}


def make_config(folder):
  """That of the file but for the sizes: two steps of each of the three trainings."""
  config = train_generator.get_config('laptop')
  config.data.update(dict(path=f'{folder}/x.npz', size=0))
  config.genotype = f'{folder}/genotype.json'
  sizes = dict(batch=8, latent=3, channels=2, discriminator_channels=2)
  config.generator.update(dict(steps=STEPS['generator'], sheet_every=2, **sizes))
  config.generator.augment.update(dict(color=0.0, pad=0, cutout=0))
  config.retrain.update(dict(channels=2, cells=1, batch=TRAIN // 2, epochs=1, auxiliary=0.0))
  config.retrain.augment.pad = 0
  config.checkpoint.every = config.log_every = 1
  return config


@pytest.fixture(scope='module')
def runs(tmp_path_factory):
  """Workdirs of a run that nothing stopped and of one that was killed and started again.

  The kill comes at the second step of the judge of real images, which is computed and not saved;
  `left` are the checkpoints of that judge then.
  """
  folder = tmp_path_factory.mktemp('generators')
  np.savez(folder / 'x.npz', **quick_run.images(train=TRAIN, test=TEST))
  cell = genotype.Genotype(EDGES, (2,), EDGES, (2,))
  (folder / 'genotype.json').write_text(genotype.to_json(cell))
  config = make_config(folder)
  whole, killed = folder / 'whole', folder / 'killed'
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(main, 'report', lambda workdir: None)
    unrealnas_jax.run(config, whole)
    with pytest.MonkeyPatch.context() as during:
      kill(during, loop, '_check', sum(STEPS.values()))
      with pytest.raises(Killed):
        unrealnas_jax.run(config, killed)
    left = programs.saved(killed, 'judge_real')
    unrealnas_jax.run(config, killed)
  return types.SimpleNamespace(whole=whole, killed=killed, left=left)


def test_judges_say_how_good_the_images_are(runs):
  found = programs.result(runs.whole)
  assert found.keys() == {
    *('scale', 'dataset', 'test_images', 'generator_parameters'),
    *(f'{phase}_steps' for phase in STEPS),
    *('gan_train_accuracy', 'gan_test_accuracy', 'real_accuracy'),
  }
  assert {phase: found[f'{phase}_steps'] for phase in STEPS} == STEPS
  assert found['test_images'] == TEST
  for name in ('gan_train_accuracy', 'gan_test_accuracy', 'real_accuracy'):
    assert 0 <= found[name] <= 1
    # Of 20 images, real or generated, each answer is right or wrong.
    np.testing.assert_allclose(found[name] * TEST, round(found[name] * TEST), rtol=1e-12)
  steps = [(line['phase'], line['step']) for line in programs.lines(runs.whole)]
  assert [step for step, after in zip(steps, [*steps[1:], None], strict=True) if step != after] == [
    (phase, step) for phase in STEPS for step in (1, 2)
  ]


def test_killed_among_the_judges_is_never_stopped(runs):
  assert runs.left == [1]
  assert programs.result(runs.killed) == programs.result(runs.whole)
  for name in ('metrics.jsonl', 'generator.json', 'samples/000002.png'):
    assert (runs.killed / name).read_bytes() == (runs.whole / name).read_bytes(), name
  for phase, steps in STEPS.items():
    states = [programs.last_state(path, phase) for path in (runs.killed, runs.whole)]
    assert states[0][0] == states[1][0] == steps
    jax.tree.map(np.testing.assert_array_equal, states[0][1], states[1][1])
