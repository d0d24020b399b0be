"""SDARTS: what is perturbed, by how much, and that without perturbation it is DARTS."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from ml_collections import ConfigDict

from unrealnas_jax import optimizers
from unrealnas_jax.methods import darts, sdarts
from unrealnas_jax.parallel import AXIS
from unrealnas_jax.spaces.darts import SPACE
from unrealnas_jax.state import SearchState

KEY = jax.random.key(0)
TX = optimizers.Optimizers(optax.sgd(0.1), optax.sgd(0.5), 10, 50, unrolled=None)
NET = tiny.net(axis_name=AXIS)
LAST = 49  # a step of the last epoch
QUARTERS = {'normal': jnp.full((2, 4), 0.25)}


def hp(perturbation='random', **changes):
  # Officially there are 7 steps of 2 epsilons in all; more of them, and longer, arrive for sure.
  settings = {'epsilon_start': 0.0, 'epsilon': 0.3, 'steps': 20, 'step_size': 8.0} | changes
  settings['perturbation'] = perturbation
  return ConfigDict({'order': 1, 'warmup_epochs': 0, 'sdarts': settings})


def test_projection_by_hand():
  """Below 0 and above 1 is cut off, then rows are scaled; a row of nothing keeps its largest."""
  rows = jnp.array([[0.5, -0.1, 0.6], [1.5, 0.5, 0.5], [-0.2, -0.1, -0.3]])
  expected = [[0.5 / 1.1, 0, 0.6 / 1.1], [0.5, 0.25, 0.25], [0, 1, 0]]
  found = sdarts.project({'normal': rows}, NET)['normal']
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_projection_leaves_out_what_a_stage_has_left_out():
  """Of the second row nothing above 0 is left, so the largest that is left becomes 1."""
  rows = jnp.array([[0.5, 0.1, 0.4], [0.9, -0.1, -0.2]])
  net = NET._replace(kept={'normal': jnp.array([[False, True, True]] * 2)})
  found = sdarts.project({'normal': rows}, net)['normal']
  np.testing.assert_allclose(found, [[0, 0.2, 0.8], [0, 1, 0]], rtol=1e-6)


def test_epsilon_grows_from_epoch_to_epoch():
  """0.03 + 0.27 e / 5 in epochs 0 to 4, as officially: 0.3 would be that of epoch 5."""
  steps = jnp.array([0, 9, 10, 49])
  settings = hp(epsilon_start=0.03)
  radii = [float(sdarts.radius(step, tx=TX, hp=settings)) for step in steps]
  np.testing.assert_allclose(radii, [0.03, 0.03, 0.084, 0.246], rtol=1e-5)


def test_random_perturbation_is_uniform_within_epsilon(monkeypatch):
  monkeypatch.setattr(sdarts, 'project', lambda tables, net: tables)
  weights = {kind: jnp.full((1000, 5), 0.2) for kind in ('normal', 'reduce')}
  found = sdarts.perturb_randomly(KEY, weights, 0.3, None, net=NET, hp=hp())
  noise = {kind: np.asarray(found[kind] - weights[kind]) for kind in found}
  for values in noise.values():
    assert -0.3 <= values.min() < -0.29 < 0.29 < values.max() <= 0.3
    assert abs(values.mean()) < 0.01
    np.testing.assert_allclose(values.std(), 0.3 / np.sqrt(3), rtol=0.03)
  assert np.any(noise['normal'] != noise['reduce'])


def attack(losses, epsilon=0.1, **changes):
  """QUARTERS as perturbed by devices of whose losses (functions of the table) each has one."""

  def run(number):
    def loss(weights):
      return jnp.stack([loss(weights['normal']) for loss in losses])[number]

    settings = hp(**changes)
    return sdarts.perturb_adversarially(KEY, QUARTERS, epsilon, loss, net=NET, hp=settings)

  return jax.vmap(run, axis_name=AXIS, out_axes=None)(jnp.arange(len(losses)))['normal']


def test_adversary_goes_up_the_mean_loss_of_all_devices_as_far_as_it_may():
  """Two weights of each row gain 0.1, two lose 0.1, whatever the slopes: signs alone count.

  Each device alone would go another way: the slopes of the first and the last weight differ.
  """
  slopes = jnp.array([[5.0, 1, -2, -2], [-2.0, 3, -4, 2]])
  others = jnp.array([[-1.0, 1, -2, -3], [-1.0, 5, -4, 3]])
  found = attack([lambda table: (slopes * table).sum(), lambda table: (others * table).sum()])
  signs = np.array([[1, 1, -1, -1], [-1, 1, -1, 1]])
  np.testing.assert_allclose(found, 0.25 + 0.1 * signs, rtol=1e-5)


def test_adversary_takes_the_official_number_and_length_of_steps():
  """A single step of length epsilon from a random start, along the first weight of each row."""
  found = attack([lambda table: table[:, 0].sum()], steps=1, step_size=1.0)
  start = sdarts.perturb_randomly(KEY, QUARTERS, 0.1, None, net=NET, hp=hp())['normal']
  moved = start.at[:, 0].add(0.1)
  within = {'normal': 0.25 + jnp.clip(moved - 0.25, -0.1, 0.1)}
  np.testing.assert_allclose(found, sdarts.project(within, NET)['normal'], rtol=1e-6)


def test_adversary_that_finds_nothing_worse_leaves_the_weights():
  found = attack([lambda table: -((table - 0.25) ** 2).sum()])
  np.testing.assert_array_equal(found, QUARTERS['normal'])


@functools.cache
def program(name, devices=1):
  """(step number) -> (state, metrics) after it; epsilon is 0 in the first epoch."""
  params, batch_stats = tiny.variables(NET)
  arch = darts.init(jax.random.key(1), net=NET, hp=None)
  method, settings = (darts, hp()) if name == 'darts' else (sdarts, hp(name))

  def run(number, train, val):
    states = TX.weights.init(params), TX.arch.init(arch)
    state = SearchState(number, params, batch_stats, arch, *states)
    return method.step(KEY, state, train, val, net=NET, tx=TX, hp=settings)

  batches = []
  for seed in (1, 2):
    images, labels = tiny.noise(8, 8, 8, 3, seed=seed), jnp.arange(8) % 4
    batches.append((images.reshape(devices, -1, 8, 8, 3), labels.reshape(devices, -1)))
  run = jax.vmap(run, axis_name=AXIS, in_axes=(None, 0, 0), out_axes=(None, None))
  run = jax.jit(run)
  return functools.cache(lambda number: run(jnp.int32(number), *batches))


@pytest.mark.parametrize('name', sdarts.PERTURBATIONS)
def test_without_perturbation_it_is_darts(name):
  """But for the rounding of a division by a sum of 1; running statistics are the same too."""
  tiny.assert_trees_close(program(name)(0), program('darts')(0), 1e-5)


@pytest.mark.parametrize('name', sdarts.PERTURBATIONS)
def test_the_architecture_is_updated_as_without_perturbation(name):
  found, on_both = program(name)(LAST)
  expected, without = program('darts')(LAST)
  jax.tree.map(np.testing.assert_array_equal, found.arch, expected.arch)
  assert on_both['val_loss'] == without['val_loss']
  assert on_both['train_loss'] != without['train_loss']
  assert np.any(found.params['classifier']['kernel'] != expected.params['classifier']['kernel'])


def test_the_adversary_makes_training_harder_than_chance_does():
  """By the loss in training mode, though the adversary is found in eval mode."""
  losses = [program(name)(LAST)[1]['train_loss'] for name in ('darts', 'random', 'adversarial')]
  assert losses[2] > max(losses[:2])


def test_two_devices_find_the_adversary_of_one():
  two, one = program('adversarial', devices=2)(LAST), program('adversarial')(LAST)
  tiny.assert_trees_close(two, one, 1e-4)


def test_decode_ranks_edges_by_the_softmax():
  """Into node 3: e^2 of e^2 + 7 from 1, e of e + 7 from 2, e^3 of 4 e^3 + 4 from 0."""
  table = np.zeros((14, 8), np.float32)
  table[2, 4:] = 3
  table[3, 5], table[4, 7] = 2, 1
  state = SearchState(jnp.int32(0), {}, {}, dict.fromkeys(SPACE.kinds, table), (), ())
  settings = ConfigDict({**hp(), 'max_skips': 8})
  found = sdarts.decode(None, state, net=tiny.net(space=SPACE), hp=settings)
  assert found.normal[2:4] == found.reduce[2:4] == (('sep_conv_5x5', 1), ('dil_conv_5x5', 2))
