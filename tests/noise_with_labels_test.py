"""A whole run from noise with several random labels each to the AUC of films like CheXpert's.

By the config of the paper's scale with small networks. The search sees no film; chexpert_run_test
searches on films.
"""

import types

import numpy as np
import pytest
import quick_run  # noqa: F401  (its space)
from chexpert_films import assert_areas, write_films
from programs import assert_finite_ends, lines, result

import unrealnas_jax
from configs import noise
from unrealnas_jax import main

SIZE, BATCH, LABELS = 16, 32, 14


def make_config(folder):
  """That of the file but for the sizes and the epochs: two steps of each training."""
  config = noise.get_config('paper,chexpert')
  config.data.update(dict(path='tfds:tiny', tfds_dir=str(folder), size=SIZE))
  config.source.update(dict(examples=4 * BATCH, size=SIZE))
  config.search.update(dict(space='quick', channels=2, cells=1, batch=BATCH, epochs=1))
  config.retrain.update(dict(channels=2, cells=1, batch=20, epochs=1, auxiliary=0.0))
  config.search.augment.pad = config.retrain.augment.pad = 2
  config.log_every = 1
  return config


@pytest.fixture(scope='module')
def run(tmp_path_factory):
  """A run: its workdir, and the films that it tests on."""
  folder = tmp_path_factory.mktemp('noise')
  write_films(folder / 'tfds')
  config = make_config(folder / 'tfds')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr('platformdirs.user_cache_path', lambda name: folder / 'cache' / name)
    patch.setattr(main, 'report', lambda workdir: None)
    unrealnas_jax.run(config, folder / 'run')
    test = unrealnas_jax.datasets.load(config.data).test
  return types.SimpleNamespace(workdir=folder / 'run', test=test)


def test_labels_of_the_search_are_fair_bits(run):
  with np.load(run.workdir / 'samples.npz') as samples:
    labels = samples['labels']
  assert labels.shape[1:] == (LABELS,)
  assert {*labels.ravel()} == {0, 1}
  # Of films a quarter are 1, and some are not known.
  assert abs(labels.mean() - 0.5) < 5 * np.sqrt(0.25 / labels.size)


def test_the_search_begins_as_a_guess_of_each_label(run):
  """Bits y that know nothing of their logits z, here from unlearned weights, cost about ln 2 each.

  A fair bit costs log(2 cosh(z / 2)) on average, which is from ln 2 to ln 2 + z^2 / 8, with the
  standard deviation |z| / 2. In the first batches of the seeds 0 to 29 the mean of z^2 was 0.17 to
  0.41: 0.051 more at most. Five standard deviations of a mean over 32 * 14 bits are
  5 * sqrt(0.41 / 4 / 448) = 0.076.
  """
  first, bits = lines(run.workdir)[0], BATCH * LABELS
  assert (first['phase'], first['step']) == ('search', 1)
  for half in ('train', 'val'):
    assert -0.076 < first[f'{half}_loss'] - np.log(2) < 0.051 + 0.076
    # The sign of any logit is right for half of the bits.
    assert abs(first[f'{half}_accuracy'] - 0.5) < 5 * np.sqrt(0.25 / bits)
    right = first[f'{half}_accuracy'] * bits
    np.testing.assert_allclose(right, round(right), rtol=1e-6)


def test_films_are_tested_label_by_label(run):
  found = result(run.workdir)
  kept = unrealnas_jax.genotypes.load(str(run.workdir / 'genotype.json'))
  assert unrealnas_jax.genotypes.from_text(found['genotype']) == kept
  assert (found['search_steps'], found['retrain_steps']) == (2, 2)
  assert (found['dataset'], found['test_images']) == ('tiny/1.2.0', 20)
  assert_areas(found, run.test.read(np.arange(20))['label'])


def test_both_trainings_come_to_their_end_with_finite_numbers(run):
  assert_finite_ends(run.workdir, steps=2)
