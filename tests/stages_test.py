"""A search in stages from its first step to its genotype: what one hands to the next, and resuming.

P-DARTS itself and all around it are real; the supernet is replaced by one that is compiled at once,
whose loss says how good each operation of each edge is.
"""

import json
import types

import jax
import jax.numpy as jnp
import numpy as np
import programs
import pytest
import quick_run
from kills import Killed, kill

from unrealnas_jax import (
  earlier_search,
  genotype,
  loop,
  objective,
  parallel,
  search,
  supernet,
  watch,
)
from unrealnas_jax.methods import alphas
from unrealnas_jax.spaces import SPACES

SPACE = SPACES['quick']
SKIP = SPACE.ops.index('skip_connect')
KEPT = 2


def make_config(**search):
  """Two stages of two epochs of four steps; the first epoch of each leaves the alphas."""
  config = quick_run.get_config()
  config.method.update(dict(name='pdarts', warmup_epochs=1, max_skips=1))
  config.search.update(search)
  config.search.augment.update(dict(pad=0, flip=False))
  config.stages = (
    {'search.cells': 2, 'search.kept_ops': 0, 'method.skip_dropout': 0.1},
    {'search.cells': 3, 'search.kept_ops': KEPT, 'method.skip_dropout': 0.4},
  )
  return config


def make_supernet(shape):
  """A Net whose params tell how many cells were asked for, and whose best operations are skips."""
  rng = np.random.default_rng(0)
  good = {kind: rng.normal(size=(len(SPACE.edges), len(SPACE.ops))) for kind in SPACE.kinds}
  for table in good.values():
    table[:, SKIP] += 3

  def init(key):
    kernel = jax.random.normal(key, (3, 3, shape.image_channels, shape.cells))
    return {'stem': {'kernel': kernel}, 'classifier': {'bias': jnp.zeros(shape.classes)}}, {}

  def apply(params, stats, weights, images, train):
    features = images.mean((1, 2)) @ params['stem']['kernel'].mean((0, 1, 3))
    return features[:, None] + params['classifier']['bias'][None], stats

  def loss(params, stats, weights, images, labels, dropout=None):
    key, rate = dropout
    logits, stats = apply(params, stats, weights, images, True)
    gain = sum((weights[kind] * good[kind]).sum() for kind in SPACE.kinds)
    seen = 1 - rate * jax.random.uniform(key)
    return objective.loss(logits, labels) - seen * gain, (stats, logits)

  return supernet.Net(SPACE, init, apply, loss)


@pytest.fixture(scope='module', autouse=True)
def light():
  """The supernet in its place."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(supernet, 'make', make_supernet)
    yield


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """A search that nothing stopped: its folder, genotype and facts."""
  folder = tmp_path_factory.mktemp('whole')
  found, facts = search.run(make_config(), None, folder)
  return types.SimpleNamespace(folder=folder, found=found, facts=facts)


def epochs(folder, phase):
  lines = map(json.loads, (folder / 'metrics.jsonl').read_text().splitlines())
  return [line for line in lines if line['phase'] == phase and 'epoch' in line]


def strongest(line):
  return alphas.strongest({kind: np.array(x) for kind, x in line['weights'].items()}, KEPT)


def assert_only_kept(folder, kept):
  """Whether all weights of the second stage are those of what the first one left, and no others."""
  for line in epochs(folder, 'search_2'):
    for kind, table in line['weights'].items():
      np.testing.assert_array_equal(np.array(table) > 0, kept[kind])


def test_a_stage_mixes_what_the_one_before_left_and_is_deeper(whole):
  assert all(np.array(x).all() for x in epochs(whole.folder, 'search_1')[-1]['weights'].values())
  assert_only_kept(whole.folder, strongest(epochs(whole.folder, 'search_1')[-1]))
  for phase, cells in (('search_1', 2), ('search_2', 3)):
    step, state = programs.last_state(whole.folder, phase)
    assert (step, state['params/stem/kernel'].shape[-1]) == (8, cells)
  assert whole.facts['search_steps'] == 16


def test_the_ladder_says_what_fewer_identities_would_have_been(whole):
  ladder = whole.facts['genotype_by_skips']
  assert whole.facts['max_skips'] == 1
  assert len(SPACE.skips(whole.found)) <= 1 < max(ladder)
  assert ladder[len(SPACE.skips(whole.found))] == genotype.to_text(whole.found)


def test_the_workdir_of_a_search_in_stages_gives_its_genotype(whole):
  assert earlier_search.genotype_of(whole.folder, make_config()) == whole.found


def test_a_search_killed_in_each_stage_goes_on_bit_for_bit(tmp_path, whole):
  """At step 5 of the first stage, then of the second; the checkpoints are of steps 3, 6 and 8."""
  for call in (5, 5 + 5):
    with pytest.MonkeyPatch.context() as patch:
      kill(patch, loop, '_check', call)
      with pytest.raises(Killed):
        search.run(make_config(), None, tmp_path)
  found, facts = search.run(make_config(), None, tmp_path)
  assert found == whole.found
  assert facts['genotype_by_skips'] == whole.facts['genotype_by_skips']
  told, expected = ((path / 'metrics.jsonl').read_bytes() for path in (tmp_path, whole.folder))
  assert told == expected
  for phase in ('search_1', 'search_2'):
    states = [programs.last_state(path, phase) for path in (tmp_path, whole.folder)]
    assert states[0][0] == states[1][0] == 8
    jax.tree.map(np.testing.assert_array_equal, states[0][1], states[1][1])


def test_a_stage_that_ends_early_hands_on_the_epoch_that_it_is_taken_of(tmp_path, monkeypatch):
  """The eigenvalue is 1, then 2: each stage ends in its second epoch, and its first one counts."""
  monkeypatch.setattr(
    watch, '_make_sharpness', lambda *_: lambda key, state, batch: parallel.mean(state.step / 4)
  )
  config = make_config(epochs=3)
  config.method.eigenvalue.update(dict(every=1, window=1, back=1, first=1))
  found, facts = search.run(config, None, tmp_path)
  first, second = map(strongest, epochs(tmp_path, 'search_1'))
  assert any((first[kind] != second[kind]).any() for kind in SPACE.kinds)
  assert_only_kept(tmp_path, first)
  assert facts['genotype_of_epoch'] == 1
  assert earlier_search.genotype_of(tmp_path, config) == found
