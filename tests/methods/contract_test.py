"""What every search method keeps to, on a tiny space: one list of tests over all of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from configs import default
from unrealnas_jax import genotype, optimizers
from unrealnas_jax.methods import METHODS
from unrealnas_jax.parallel import AXIS
from unrealnas_jax.spaces.darts import SPACE
from unrealnas_jax.state import SearchState

KEY = jax.random.key(3)
CONFIG = default.get_config('paper')
NET = tiny.net(axis_name=AXIS)
TX = optimizers.Optimizers(
  optimizers.sgd(CONFIG.search, epoch_steps=1000), optimizers.adam(CONFIG.method), 1000
)
STEPS = 25

every_method = pytest.mark.parametrize('name', METHODS)


def state(name):
  """The state before the first step."""
  params, batch_stats = tiny.variables(NET)
  arch = METHODS[name].init(KEY, net=NET, hp=CONFIG.method)
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


def make_step(name):
  """(step for all devices at once that raises where they would not agree, list of its traces)."""
  traces = []

  def step(key, state, train, val):
    traces.append(1)
    return METHODS[name].step(key, state, train, val, net=NET, tx=TX, hp=CONFIG.method)

  step = jax.vmap(step, axis_name=AXIS, in_axes=(None, None, 0, 0), out_axes=(None, None))
  return tiny.quick_jit(step), traces


@functools.cache
def search(name):
  """States and metrics of some steps on two devices, and how often the step was traced."""
  step, traces = make_step(name)
  states, metrics = [state(name)], []
  for _ in range(STEPS):
    after, values = step(KEY, states[-1], *batches(devices=2))
    states.append(after)
    metrics.append(values)
  return states, metrics, len(traces)


def description(tree):
  """Structure, shapes and dtypes; weak types too, which would compile a step again."""
  return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), tree)


@every_method
def test_state_keeps_structure_shapes_and_dtypes(name):
  before, after = search(name)[0][:2]
  assert description(before) == description(after)
  assert after.step == 1


@every_method
def test_everything_learns_and_stays_finite(name):
  states, _, _ = search(name)
  for (path, first), last in zip(
    jax.tree.leaves_with_path(states[0]), jax.tree.leaves(states[-1]), strict=True
  ):
    assert np.isfinite(last).all(), path
    assert np.any(first != last), path


@every_method
def test_metrics_are_finite_numbers(name):
  _, metrics, _ = search(name)
  for values in metrics:
    assert {'train_loss', 'train_accuracy', 'val_loss', 'val_accuracy'} <= values.keys()
    for metric, value in values.items():
      assert value.shape == (), metric
      assert np.isfinite(value), metric


@every_method
def test_the_second_call_does_not_compile_again(name):
  assert search(name)[2] == 1


@every_method
def test_loss_on_fixed_noise_falls(name):
  _, metrics, _ = search(name)
  losses = [float(values['train_loss']) for values in metrics]
  assert losses[-1] < 0.85 * losses[0]


@every_method
def test_two_devices_equal_one(name):
  """Their halves of the batches differ, so gradients, norms and metrics must all be averaged."""
  step, _ = make_step(name)
  one = step(KEY, state(name), *batches(devices=1))
  states, metrics, _ = search(name)
  tiny.assert_trees_close((states[1], metrics[0]), one, 1e-4)


@every_method
def test_mixing_weights_are_those_of_the_space(name):
  arch = METHODS[name].init(KEY, net=NET, hp=CONFIG.method)
  weights = METHODS[name].weights(arch, net=NET, hp=CONFIG.method)
  assert list(weights) == list(NET.space.kinds)
  for values in weights.values():
    assert values.shape == (len(NET.space.edges), len(NET.space.ops))
    assert np.isfinite(values).all()
  other = METHODS[name].init(jax.random.key(4), net=NET, hp=CONFIG.method)
  for ours, others in zip(jax.tree.leaves(arch), jax.tree.leaves(other), strict=True):
    assert ours.dtype == jnp.float32
    assert np.any(ours != others)


@every_method
def test_decode_gives_a_genotype_that_can_be_built(name):
  net = tiny.net(space=SPACE)
  arch = METHODS[name].init(KEY, net=net, hp=CONFIG.method)
  found = METHODS[name].decode(KEY, state(name).replace(arch=arch), net=net, hp=CONFIG.method)
  genotype.validate(found)
  assert found.normal != found.reduce  # each kind of cell from what it learned itself
