"""What every search method keeps to, on two tiny spaces: one list of tests over all of them."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny

from configs import default
from unrealnas_jax import genotype, methods, optimizers
from unrealnas_jax import search as search_lib
from unrealnas_jax.parallel import AXIS
from unrealnas_jax.skeletons import nasbench201
from unrealnas_jax.spaces import SPACES
from unrealnas_jax.state import SearchState

KEY = jax.random.key(3)
CONFIG = default.get_config('paper')
HP = CONFIG.method
HP.random.cells = 2
STEPS = 80
METHODS = methods.METHODS | {'darts_second_order': methods.METHODS['darts']}
SGD = functools.partial(optimizers.sgd, CONFIG.search, epoch_steps=1000)
TX = optimizers.Optimizers(SGD(), optimizers.adam(HP), 5, STEPS, unrolled=SGD(clip=False))
NETS = {
  'darts': {},
  'nasbench201': {'space': SPACES['nasbench201'], 'cells': 1, 'channels': 4},
}
ONE_CELL = {
  'space': tiny.TINY._replace(kinds=('normal',), kind_of=lambda cell, cells: 'normal'),
  'cells': 1,
}
# What a method's config changes of the supernet; of any other method nothing.
FORMS = {
  'drnas': {'channels': 8, 'partial': 2},
  'pc_darts': {'channels': 8, 'partial': 2},
  'pdarts': {'skip_dropout': True},
  'rlnas': {'affine': True},
}
# What it changes of config.method, on either space. The exact product cannot be taken of a step
# that is vmapped over batches, as these are; unrolled_test has it.
KEYS = {
  ('darts_second_order', 'darts'): {'order': 2},
  ('darts_second_order', 'nasbench201'): {'order': 2},
  ('drnas', 'nasbench201'): {'drnas': {'none': True}},
  ('pdarts', 'darts'): {'skip_dropout': 0.3},
  ('pdarts', 'nasbench201'): {'skip_dropout': 0.3},
}
# Choices that make another step of it; on one cell, which is compiled soonest. sdarts_test has the
# adversary on several devices.
VARIANTS = {
  'drnas': {'drnas': {'kl': 0.1}},
  'pc_darts': {'order': 2, 'warmup_epochs': 1},
  'sdarts': {'sdarts': {'perturbation': 'adversarial'}},
}
KEYS |= {(name, 'one_cell'): changes for name, changes in VARIANTS.items()}
SEARCHES = [*itertools.product(METHODS, NETS), *((name, 'one_cell') for name in VARIANTS)]


@pytest.fixture(scope='module', autouse=True)
def _two_stages():
  """NAS-Bench-201 with two of its three stages: methods see no difference, and compilers do."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(nasbench201, 'STAGES', 2)
    yield


every_method = pytest.mark.parametrize('name', METHODS)
every_space = pytest.mark.parametrize('space', NETS)
every_search = pytest.mark.parametrize(('name', 'space'), SEARCHES)


@functools.cache
def make_net(name, space):
  """A supernet as a search by the method would make it."""
  form = (NETS | {'one_cell': ONE_CELL})[space] | FORMS.get(name, {})
  return tiny.net(axis_name=AXIS, sparse=METHODS[name].SPARSE, **form)


def hp_of(name, space):
  """config.method as a search by the method would have it."""
  hp = HP.copy_and_resolve_references()
  hp.update(KEYS.get((name, space), {}))
  return hp


def state(name, space):
  """The state before the first step."""
  net = make_net(name, space)
  params, batch_stats = tiny.variables(net)
  arch = METHODS[name].init(KEY, net=net, hp=hp_of(name, space))
  return SearchState(
    step=jnp.zeros((), jnp.int32),
    params=params,
    batch_stats=batch_stats,
    arch=arch,
    weight_opt=TX.weights.init(params),
    arch_opt=TX.arch.init(arch),
  )


def batches(devices):
  """The same 16 noise images to train on and 16 others, over one or more devices."""
  for seed in (1, 2):
    images, labels = tiny.noise(16, 8, 8, 3, seed=seed), jnp.arange(16) % 4
    yield images.reshape(devices, -1, 8, 8, 3), labels.reshape(devices, -1)


def make_step(name, space):
  """(step for all devices at once that raises where they would not agree, list of its traces)."""
  traces = []
  hp = hp_of(name, space)

  def step(key, state, train, val):
    traces.append(1)
    return METHODS[name].step(key, state, train, val, net=make_net(name, space), tx=TX, hp=hp)

  step = jax.vmap(step, axis_name=AXIS, in_axes=(None, None, 0, 0), out_axes=(None, None))
  return jax.jit(step), traces


@functools.cache
def search(name, space):
  """States and metrics of some steps on four devices, the step, and a list of its traces."""
  step, traces = make_step(name, space)
  states, metrics = [state(name, space)], []
  for number in range(STEPS):
    after, values = step(step_key(number), states[-1], *batches(devices=4))
    states.append(after)
    metrics.append(values)
  return states, metrics, step, traces


def step_key(number):
  return jax.random.fold_in(KEY, number)


def description(tree):
  """Structure, shapes and dtypes; weak types too, which would compile a step again."""
  return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), tree)


def moved(before, after):
  """For each array whether it changed; all must be finite."""
  for path, leaf in jax.tree.leaves_with_path(after):
    assert np.isfinite(leaf).all(), path
  return [
    (jax.tree_util.keystr(path), np.any(first != last))
    for (path, first), last in zip(
      jax.tree.leaves_with_path(before), jax.tree.leaves(after), strict=True
    )
  ]


@every_search
def test_state_keeps_structure_shapes_and_dtypes(name, space):
  before, after = search(name, space)[0][:2]
  assert description(before) == description(after)
  assert after.step == 1


@every_search
def test_everything_learns_and_stays_finite(name, space):
  """What a sparse method has not sampled rests: random search only trains its few cells."""
  states = search(name, space)[0]
  changed = moved(states[0], states[-1])
  resting = [path for path, change in changed if not change]
  if not METHODS[name].SPARSE:
    assert not resting
  assert all(change for path, change in changed if 'stem' in path or 'classifier' in path)
  assert any(change for path, change in changed if path.startswith('.arch['))
  assert len(resting) < 0.6 * len(changed)


@every_search
def test_metrics_are_finite_numbers(name, space):
  metrics = search(name, space)[1]
  for values in metrics:
    assert {'train_loss', 'train_accuracy'} <= values.keys()
    for metric, value in values.items():
      assert value.shape == (), metric
      assert np.isfinite(value), metric


@every_search
def test_the_second_call_does_not_compile_again(name, space):
  assert len(search(name, space)[3]) == 1


@every_search
def test_loss_on_fixed_noise_falls(name, space):
  """Random search begins anew with its second cell."""
  metrics = search(name, space)[1]
  steps = STEPS // HP.random.cells if name == 'random' else STEPS
  losses = [float(values['train_loss']) for values in metrics[:steps]]
  assert np.mean(losses[-10:]) < 0.95 * np.mean(losses[:10])


@pytest.mark.parametrize(
  ('name', 'space'), [search for search in SEARCHES if search != ('sdarts', 'one_cell')]
)
def test_four_devices_equal_one(name, space):
  """Their parts of the batches differ, so gradients, norms and metrics must all be averaged.

  In the first step that moves the architecture.
  """
  step, _ = make_step(name, space)
  states, metrics = search(name, space)[:2]
  number = hp_of(name, space).warmup_epochs * TX.epoch_steps
  one = step(step_key(number), states[number], *batches(devices=1))
  # Biases have gradients that nearly cancel, and so more rounding than others.
  found = states[number + 1], metrics[number]
  tiny.assert_trees_close(found, one, 1e-3 if name == 'rlnas' else 1e-4)


def test_the_architecture_rests_until_its_warm_up_is_over():
  """What was compiled for the first step has both kinds of steps."""
  states = search('pc_darts', 'one_cell')[0]
  begun, over, later = (states[number].arch for number in (0, TX.epoch_steps, TX.epoch_steps + 1))
  assert not any(change for _, change in moved(begun, over))
  assert all(change for _, change in moved(over, later))


@every_search
def test_a_stored_state_goes_on_bit_for_bit(name, space):
  """In the middle, at a step where random search begins with its second cell."""
  states, metrics, step, _ = search(name, space)
  middle = STEPS // 2
  stored = jax.tree.map(np.array, states[middle])
  found = step(step_key(middle), stored, *batches(devices=4))
  jax.tree.map(np.testing.assert_array_equal, found, (states[middle + 1], metrics[middle]))


@every_space
@every_method
def test_mixing_weights_are_those_of_the_space(name, space):
  net, hp = make_net(name, space), hp_of(name, space)
  arch = METHODS[name].init(KEY, net=net, hp=hp)
  weights = METHODS[name].weights(arch, net=net, hp=hp)
  assert list(weights) == list(net.space.kinds)
  for values in weights.values():
    assert values.shape == (len(net.space.edges), len(net.space.ops))
    assert np.isfinite(values).all()
  other = METHODS[name].init(jax.random.key(4), net=net, hp=hp)
  assert any(change for _, change in moved(arch, other))
  assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(arch))


@every_method
def test_each_optimizer_holds_what_it_moves_and_nothing_else(name):
  """As a search begins: no alphas among what the weights' optimizer keeps, and the reverse."""
  tx, net = search_lib.make_optimizers(CONFIG, 5), make_net(name, 'darts')
  init = functools.partial(search_lib.init_state, KEY, CONFIG, net, METHODS[name], tx)
  state = jax.eval_shape(init)
  for opt, names, own in (
    (state.weight_opt, ['trace'], state.params),
    (state.arch_opt, ['mu', 'nu'], state.arch),
  ):
    kept = [optax.tree.get(opt, name) for name in names]
    assert kept == [own] * len(names)
    arrays = [leaf for leaf in jax.tree.leaves(opt) if leaf.shape]  # others count steps
    assert len(arrays) == len(jax.tree.leaves(kept))


@every_method
def test_decode_gives_a_genotype_that_can_be_built(name):
  for full in (SPACES['darts'], SPACES['nasbench201']):
    net = tiny.net(space=full, cells=3)
    key = jax.random.key(6)
    params, _ = net.init(key)
    arch = METHODS[name].init(KEY, net=net, hp=HP)
    found = METHODS[name].decode(
      key, state(name, 'darts').replace(params=params, arch=arch), net=net, hp=HP
    )
    genotype.validate(found)
    cells = genotype.cells(found)
    assert len(set(cells.values())) == len(full.kinds)  # each from what it learned itself
