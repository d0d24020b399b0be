"""Selection by perturbation: what it keeps where the harm of each removal is known, and its order.

The supernet is one whose answers are counted by hand; tests/methods/perturbed_test.py tunes real
ones by every method.
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
  checkpoint,
  data,
  given_genotype,
  limits,
  loop,
  objective,
  parallel,
  perturbation,
  search,
)
from unrealnas_jax import config as config_lib
from unrealnas_jax.data.source import show
from unrealnas_jax.data.split import Dataset, Split
from unrealnas_jax.methods import METHODS, darts
from unrealnas_jax.spaces import SPACES
from unrealnas_jax.supernet import Net

IMAGES, HALF = 80, 40
SPACE = SPACES['quick']
NONE, POOL, SKIP, CONV = range(4)
# The operation of each edge (rows 0-2, 1-2, 0-3, 1-3, 2-3) without which its images go wrong, and
# how many of each 40 images are an edge's.
NEEDED = {'normal': [POOL, CONV, SKIP, CONV, POOL], 'reduce': [CONV, SKIP, POOL, POOL, CONV]}
SHARES = {'normal': [4, 4, 8, 2, 2], 'reduce': [4, 4, 2, 2, 8]}


def make_config(**perturbation):
  config = quick_run.get_config()
  config.source.name = 'real'
  config.search.augment.pad = 0
  config.search.batch, config.search.epochs = 20, 1  # two steps an epoch
  config.method.selection = 'perturbation'
  config.method.perturbation.finetune_epochs = 1
  config.method.perturbation.update(perturbation)
  return config


def make_dataset():
  """Image number n is n / 1000 in every pixel, and of class 0."""

  def read(indices, numbers=None):
    pixels = np.float32(indices)[:, None, None, None] / 1000
    return {'image': np.tile(pixels, (1, 8, 8, 1)), 'label': np.zeros(len(indices), np.int32)}

  mean, std = np.zeros(1, np.float32), np.ones(1, np.float32)
  return Dataset('made', Split(IMAGES, read), None, 4, (8, 8, 1), mean, std)


def owners():
  """For each of 40 images (row of the normal, row of the reduction cell), -1: of no edge."""
  flat = [row for kind in SPACE.kinds for row, n in enumerate(SHARES[kind]) for _ in range(n)]
  owner = np.full((HALF, 2), -1)
  owner[:20, 0], owner[20:, 1] = flat[:20], flat[20:]
  return owner


def apply(params, stats, weights, images, train, dropout=None):
  """Right (class 0) unless the image's edge lacks its operation; surer the more of it there is."""
  number = jnp.round(images[:, 0, 0, 0] * 1000).astype(jnp.int32) % HALF
  total = jnp.zeros(len(images))
  for side, kind in enumerate(SPACE.kinds):
    rows = jnp.asarray(owners()[:, side])[number]
    mass = weights[kind][rows, jnp.asarray(NEEDED[kind])[rows]]
    total += jnp.where(rows >= 0, mass, 0)
  sure = jnp.where(total > 0, total, -1) + 0 * params['w'].sum()
  return jnp.stack([sure, *jnp.zeros((3, len(images)))], axis=-1), stats


def step(key, state, train, val, *, net, tx, hp):
  """Mixes all it is given into the alphas and params."""
  del hp
  seen = parallel.mean(sum(images.sum() for images, _ in (train, val)))
  _, (_, logits) = net.loss(state.params, {}, darts.weights(state.arch, net=net, hp=None), *val)
  noise = jax.random.normal(key) + seen / 100 + parallel.mean(logits.mean())
  arch = jax.tree.map(lambda x: 0.9 * x + 1e-3 * noise * jnp.cos(x * 1e4), state.arch)
  params = {'w': state.params['w'] + noise}
  metrics = {'train_loss': noise, 'schedule': state.step / tx.steps}
  return state.replace(step=state.step + 1, arch=arch, params=params), metrics


def install(monkeypatch):
  """Puts the stand-ins in place.

  bias: of the second class; traces: of the supernet's loss; harms: what removals did, decision by
  decision.
  """
  told = types.SimpleNamespace(bias=0.0, traces=0, harms=[])

  def loss(params, stats, weights, images, labels, dropout=None):
    told.traces += 1
    logits, stats = apply(params, stats, weights, images, True)
    logits = logits + jnp.array([[0, told.bias, 0, 0]])
    return objective.loss(logits, labels), (stats, logits)

  net = Net(SPACE, lambda key: ({'w': jnp.zeros(2)}, {'m': jnp.zeros(2)}), apply, loss)
  method = types.SimpleNamespace(
    init=darts.init, weights=darts.weights, decode=darts.decode, step=step, SPARSE=False
  )
  monkeypatch.setitem(METHODS, 'darts', method)
  monkeypatch.setattr(search, 'make_net', lambda *args, **kwargs: net)
  monkeypatch.setattr(perturbation, '_told', lambda names, harm: told.harms.append(harm))
  return told


@pytest.fixture
def stand_ins(monkeypatch):
  return install(monkeypatch)


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """A selection that nothing stopped: its folder, genotype, facts, and what it told."""
  folder = tmp_path_factory.mktemp('whole')
  with pytest.MonkeyPatch.context() as patch:
    told = install(patch)
    genotype, facts = search.run(make_config(), make_dataset(), folder)
  return types.SimpleNamespace(folder=folder, genotype=genotype, facts=facts, told=told)


def chosen(genotype):
  """{kind: the edges of a genotype's nodes, in the order of their rows}"""
  return {
    kind: [edge for n in (0, 2) for edge in sorted(getattr(genotype, kind)[n : n + 2], key=last)]
    for kind in SPACE.kinds
  }


def last(pair):
  return pair[-1]


# Node 3 has three edges: the one of eight images stays, and the first of the two of two.
EXPECTED = {
  'normal': [('avg_pool_3x3', 0), ('dil_conv_3x3', 1), ('skip_connect', 0), ('dil_conv_3x3', 1)],
  'reduce': [('dil_conv_3x3', 0), ('skip_connect', 1), ('avg_pool_3x3', 0), ('dil_conv_3x3', 2)],
}


def lines(folder):
  found = [json.loads(line) for line in (folder / 'metrics.jsonl').read_text().splitlines()]
  return [line for line in found if line['phase'] == 'selection']


def test_what_hurts_most_when_removed_stays(whole):
  assert chosen(whole.genotype) == EXPECTED
  # Six decisions of each kind, and an epoch of two steps after each.
  assert whole.facts['selection'] == 'perturbation'
  assert (whole.facts['search_steps'], whole.facts['selection_steps']) == (2, 12)
  assert whole.facts['selection_seconds'] > 0
  # Of 40 images as many go wrong as are the edge's; all are measured on four devices.
  harms = whole.told.harms
  assert len(harms) == 12
  for n, harm in enumerate(harms[:10]):
    kind = SPACE.kinds[n % 2]
    wrong = np.round(40 * (1 + harm)).tolist()
    assert sorted(wrong)[:2] == [0, 0]
    assert max(wrong) in SHARES[kind]
  np.testing.assert_allclose(harms[10], [-0.8, -0.95, -0.95])
  # The edge that the normal cell has dropped by now costs another 2 of 40 images.
  np.testing.assert_allclose(harms[11], [-0.9, -0.9, -0.75])


def test_all_removals_are_measured_by_one_compiled_evaluation(whole):
  assert whole.told.traces == 3  # by the search's step, the tuning's step and the evaluation


def test_alphas_alone_choose_otherwise(tmp_path, stand_ins):
  config = make_config()
  config.method.selection = 'alphas'
  genotype, facts = search.run(config, make_dataset(), tmp_path)
  assert chosen(genotype) != EXPECTED
  assert facts['selection'] == 'alphas'
  assert 'selection_seconds' not in facts
  assert not lines(tmp_path)


@pytest.mark.parametrize('criterion', ['accuracy', 'loss'])
def test_the_loss_tells_more_where_all_answers_are_wrong(tmp_path, stand_ins, criterion):
  """Without tuning, so all is decided in a row. Where nothing tells, the first candidate stays."""
  stand_ins.bias = 9.0
  config = make_config(criterion=criterion, finetune_epochs=0)
  genotype, facts = search.run(config, make_dataset(), tmp_path)
  assert facts['selection_steps'] == 2
  if criterion == 'loss':
    assert chosen(genotype) == EXPECTED
  else:
    assert {op for kind in SPACE.kinds for op, _ in chosen(genotype)[kind]} == {'avg_pool_3x3'}


def test_one_edge_after_the_other_is_decided_and_the_method_rests_its_schedule(whole):
  epochs = [line['weights'] for line in lines(whole.folder) if 'epoch' in line]
  for number, weights in enumerate(epochs, start=1):
    for kind in SPACE.kinds:
      table = np.array(weights[kind])
      alone = (table > 0).sum(1) == 1
      assert alone.sum() == (number if number < 6 else 4)
      assert (table.sum(1) == 0).sum() == (number == 6)
      np.testing.assert_allclose(table[alone].sum(1), 1, rtol=1e-6)
  steps = [line for line in lines(whole.folder) if 'epoch' not in line]
  assert {line['schedule'] for line in steps} == {1}
  assert len({line['train_loss'] for line in steps}) == len(steps)


def test_tuning_starts_at_a_tenth_of_the_learning_rate(whole):
  rates = [line['learning_rate'] for line in lines(whole.folder) if 'epoch' in line]
  # 0.001 + (0.0025 - 0.001) * (1 + cos(pi * e / 6)) / 2
  expected = 0.001 + 0.00075 * (1 + np.cos(np.pi * np.arange(6) / 6))
  np.testing.assert_allclose(rates, expected, rtol=1e-5)


@pytest.mark.parametrize(
  ('space', 'interval', 'decisions', 'epochs'),
  [('darts', 5, 17, 81), ('nasbench201', 5, 6, 26), ('quick', 2, 6, 11), ('quick', 0, 6, 1)],
)
def test_when_decisions_are_due(space, interval, decisions, epochs):
  """As in the official code: every `interval` epochs, and the last one an epoch before the end."""
  space, config = SPACES[space], make_config(finetune_epochs=interval)
  config = perturbation.tuning(config, space)
  assert (perturbation.decisions(space), config.search.epochs) == (decisions, epochs)
  due = [perturbation.due(epoch, config, space) for epoch in range(epochs)]
  expected = [n for n in range(1, decisions) for _ in range(interval)] + [decisions]
  assert due == expected


def test_the_order_depends_on_the_seed_and_the_kind_alone():
  space = SPACES['darts']
  edges, nodes = perturbation._orders(jax.random.key(0), space)
  again = perturbation._orders(jax.random.key(0), space)
  other = perturbation._orders(jax.random.key(1), space)[0]
  assert (edges, nodes) == again
  assert len({tuple(order) for order in [*edges.values(), *other.values()]}) == 4
  for kind in space.kinds:
    assert sorted(edges[kind]) == list(range(14))
    assert sorted(map(len, nodes[kind])) == [3, 4, 5]


def test_a_selection_killed_anywhere_goes_on_bit_for_bit(tmp_path, whole, stand_ins, monkeypatch):
  """Within a decision, in the middle of an epoch, at an epoch's end, again and again."""
  for module, name, call in (
    (perturbation, '_with_arch', 2),  # of the first decision, the normal cell's part is made
    (loop, '_check', 6),
    (perturbation, '_with_arch', 5),
    (loop, '_epoch', 2),
  ):
    with monkeypatch.context() as patch:
      kill(patch, module, name, call)
      with pytest.raises(Killed):
        search.run(make_config(), make_dataset(), tmp_path)
  genotype, facts = search.run(make_config(), make_dataset(), tmp_path)
  assert genotype == whole.genotype
  assert facts['selection_steps'] == 12
  told, expected = ((path / 'metrics.jsonl').read_bytes() for path in (tmp_path, whole.folder))
  assert told == expected
  states = [programs.last_state(path, 'selection') for path in (tmp_path, whole.folder)]
  assert states[0][0] == states[1][0] == 12
  jax.tree.map(np.testing.assert_array_equal, states[0][1], states[1][1])


def test_a_workdir_gives_the_genotype_of_its_selection(tmp_path):
  """Of the newest checkpoint, by the real supernet's state; its data is not read."""
  config = make_config()
  config.data.path = 'gone.npz'
  net = search.make_net(config, 5, 3)
  tx = search.make_optimizers(config, 1)
  key = jax.random.key(0)
  state = jax.jit(lambda: search.init_state(key, config, net, darts, tx))()
  arch = {kind: jnp.zeros((5, 4)).at[:, SKIP].set(1) for kind in SPACE.kinds}
  state = perturbation.begin(state.replace(arch=arch), SPACE, tx)
  left = jnp.ones((5, 4)).at[0].set(jnp.eye(4)[CONV])  # the first edge has chosen
  state.arch['left'] = {'normal': left, 'reduce': left}
  for phase, found in (('search', state.replace(arch=arch)), ('selection', state)):
    manager = checkpoint.open(tmp_path, phase, 9)
    checkpoint.save(manager, 2, parallel.replicate(found))
    checkpoint.close(manager)
  (tmp_path / 'config.json').write_text(config_lib.to_json(config))
  found = given_genotype.load_genotype(str(tmp_path))
  for kind in SPACE.kinds:
    assert getattr(found, kind)[:2] == (('dil_conv_3x3', 0), ('skip_connect', 1))


def test_what_a_limit_forbids_falls_back_on_the_alphas():
  """One identity is allowed where three edges have chosen it; the first two go to the next best."""
  config = make_config()
  config.method.max_skips = 1
  alphas = jnp.zeros((5, 4)).at[:, CONV].set(1)
  left = jnp.eye(4)[jnp.array([SKIP, SKIP, SKIP, CONV, NONE])] * jnp.array(
    [[1.0], [1], [1], [1], [0]]
  )
  tables = {'learned': dict.fromkeys(SPACE.kinds, alphas), 'left': dict.fromkeys(SPACE.kinds, left)}
  net = Net(SPACE, None, None, None)
  state = types.SimpleNamespace(arch=tables)
  found = perturbation.of(darts).decode(None, state, net=net, hp=config.method)
  assert found.normal == (
    *(('dil_conv_3x3', 0), ('dil_conv_3x3', 1)),
    *(('skip_connect', 0), ('dil_conv_3x3', 1)),
  )


def test_limits_hold_for_what_perturbation_chooses(tmp_path, stand_ins):
  """No more than the smallest cell has, so that no convolution is left."""
  config = make_config(finetune_epochs=0)
  config.search.max_parameters = int(limits._prices(config, SPACE, make_dataset()).fixed[0])
  genotype, facts = search.run(config, make_dataset(), tmp_path)
  assert {op for op, _ in genotype.reduce} <= {'avg_pool_3x3', 'skip_connect'}
  assert 'dil_conv_3x3' not in {op for op, _ in genotype.normal}
  assert facts['limits'] == {'max_parameters': config.search.max_parameters}
  assert facts['parameters'] <= config.search.max_parameters
  # What the data alone tells is not needed to know the genotype of a finished search.
  (tmp_path / 'config.json').write_text(config_lib.to_json(config))
  assert given_genotype.load_genotype(str(tmp_path)) == genotype
  (tmp_path / 'genotype.json').unlink()
  with pytest.raises(ValueError, match='allowed: the workdir of a finished search'):
    given_genotype.load_genotype(str(tmp_path))


@pytest.mark.parametrize('task', ['rotation', 'jigsaw'])
def test_removals_are_measured_on_what_the_task_shows(task):
  """The loss tells which labels and images it was given: those that the search is shown."""
  config = make_config(criterion='loss')
  config.source.pretext = task
  source = data.make_source(config, make_dataset()._replace(classes=4))

  def loss(params, stats, weights, images, labels, dropout=None):
    told = labels.mean() + images.mean()
    return told, (stats, jnp.zeros((len(labels), source.classes)))

  net = Net(SPACE, None, None, loss)
  method = types.SimpleNamespace(weights=lambda arch, net, hp: arch)
  key, half = jax.random.key(5), np.arange(20, 60)
  state = parallel.replicate(search.SearchState(0, None, None, {}, None, None))
  found = perturbation._make_measure(config, key, source, net, method, half)(state, [{}])
  images, labels = show(source, key, source.read(half))
  assert labels.max() < source.classes
  np.testing.assert_allclose(found, [labels.mean() + images.mean()], rtol=1e-5)


def test_masked_weights_by_hand():
  weights = {'normal': jnp.array([[0.25, 0.5, 0.25], [0.125, 0.125, 0.25], [0.5, 0.25, 0.25]])}
  left = {'normal': jnp.array([[1.0, 1, 1], [0, 1, 0], [0, 0, 0]])}
  found = perturbation.project(weights, left)['normal']
  # The second edge's weights sum to a half, its share among the edges of PC-DARTS.
  np.testing.assert_array_equal(found, [[0.25, 0.5, 0.25], [0, 0.5, 0], [0, 0, 0]])
