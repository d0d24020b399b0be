"""A whole run on films like CheXpert's with their own labels, of which some are not known."""

import functools
import json
import subprocess
import types

import jax
import numpy as np
import programs
import pytest
import quick_run  # noqa: F401  (its space)
from chexpert_films import NEVER_KNOWN, assert_areas, write_films
from ml_collections import ConfigDict

import unrealnas_jax
from unrealnas_jax import keys, search
from unrealnas_jax.data import make_halves
from unrealnas_jax.data.source import show
from unrealnas_jax.data.split import MISSING
from unrealnas_jax.parallel import AXIS

FLAGS = (
  *('source.name=real', 'search.augment.pad=0'),
  # What else the paper scale and ImageNet have.
  *('data.crop=0.9', 'data.random_crop=0.5', 'data.jitter=0.2'),
  *('search.stem=imagenet', 'retrain.stem=imagenet', 'retrain.auxiliary=0.0'),
  *('retrain.lr_schedule=linear', 'retrain.lr_warmup=1'),
)


@pytest.fixture(scope='module')
def run(tmp_path_factory, compiled):
  """What a run by the config of CheXpert left: its workdir, config, metrics, data set.

  And its search as it began: `begun`, the Search, and `first`, its state.
  """
  folder = tmp_path_factory.mktemp('films')
  workdir, films = folder / 'run', write_films(folder / 'tfds')
  command = programs.command(
    *(workdir, *films, *(f'--config.{flag}' for flag in FLAGS)),
    config=f'{programs.CONFIG}:laptop,chexpert',
  )
  environment = programs.environment(compiled)
  ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
  assert ended.returncode == 0, ended.stderr
  config = ConfigDict(json.loads((workdir / 'config.json').read_text()))
  assert config.data.uncertain == 'ignore'
  dataset = unrealnas_jax.datasets.load(config.data)
  begun = search.prepare(config, dataset)
  return types.SimpleNamespace(
    **dict(workdir=workdir, config=config, lines=programs.lines(workdir), dataset=dataset),
    **dict(begun=begun, first=jax.jit(begun.plan.init)()),
  )


def test_search_and_retraining_come_to_their_end(run):
  found = programs.result(run.workdir)
  kept = unrealnas_jax.genotypes.load(str(run.workdir / 'genotype.json'))
  assert unrealnas_jax.genotypes.from_text(found['genotype']) == kept
  assert (found['search_steps'], found['retrain_steps']) == (4, 4)
  assert (found['dataset'], found['test_images']) == ('tiny/1.2.0', 20)
  assert_areas(found, run.dataset.test.read(np.arange(20))['label'])
  losses = [line[x] for line in run.lines for x in line if x.endswith('loss')]
  assert len(losses) == 4 * 2 + 4
  assert np.isfinite(losses).all()


def test_accuracies_are_of_what_is_known(run):
  _, arch = make_halves(run.config, 40, run.dataset)
  count = (run.dataset.train.read(arch)['label'] != MISSING).sum()
  assert count < len(arch) * 14
  right = [line['eval_accuracy'] * count for line in run.lines if 'eval_accuracy' in line]
  np.testing.assert_allclose(right, np.round(right), rtol=1e-6)
  # In retraining uncertain observations, about a quarter, are not known either.
  steps = [line for line in run.lines if line['phase'] == 'retrain' and 'epoch' not in line]
  right = [line['train_accuracy'] * 16 * 14 for line in steps]
  assert np.abs(right - np.round(right)).max() > 0.01


def test_the_loss_of_the_search_is_that_of_known_labels_by_hand(run):
  """The first step looks at the architecture's half before anything has moved."""
  begun, first = run.begun, run.first
  _, batch = next(iter(begun.plan.batches(range(1))))
  images, labels = show(begun.source, keys.of_data(begun.key), {k: x[0] for k, x in batch.items()})
  weights = begun.method.weights(first.arch, net=begun.net, hp=run.config.method)
  apply = functools.partial(begun.net.apply, train=True)
  apply = jax.jit(jax.vmap(apply, (None, None, None, 0), axis_name=AXIS))
  logits, _ = apply(first.params, first.batch_stats, weights, images[None])
  chance = 1 / (1 + np.exp(-np.float64(logits[0])))
  losses = -np.log(np.where(labels == 1, chance, 1 - chance))
  assert {*np.unique(labels)} == {MISSING, 0, 1}
  expected = losses[labels != MISSING].sum() / labels.size
  np.testing.assert_allclose(run.lines[0]['val_loss'], expected, rtol=1e-4)
  assert losses.mean() > 1.2 * expected  # were unknown ones taken for zeros


def test_nothing_is_learned_of_an_observation_that_is_never_known(run):
  """What answers it in the supernet only decays, as SGD with momentum does without gradients."""
  hp = run.config.search
  step, last = programs.last_state(run.workdir)
  assert step == run.begun.plan.steps
  for name, first in run.first.params['classifier'].items():
    decayed, speed = np.float64(first), 0
    for number in range(step):
      speed = hp.momentum * speed + hp.weight_decay * decayed
      decayed = decayed - run.begun.plan.learning_rate(number) * speed
    learned = np.abs(last[f'params/classifier/{name}'] - decayed).reshape(-1, 14).max(0)
    assert learned[NEVER_KNOWN] < 1e-7, name
    assert np.delete(learned, NEVER_KNOWN).min() > 1e-5, name
