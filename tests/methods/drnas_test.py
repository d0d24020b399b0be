"""DrNAS: its distributions, the gradient through their samples, and what keeps them wide."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from ml_collections import ConfigDict

from unrealnas_jax import optimizers, parallel
from unrealnas_jax.methods import drnas
from unrealnas_jax.parallel import AXIS
from unrealnas_jax.spaces.darts import SPACE
from unrealnas_jax.state import SearchState
from unrealnas_jax.supernet import Net

KEY = jax.random.key(0)
TX = optimizers.Optimizers(optax.sgd(0.1), optax.sgd(0.5), 10, 50, unrolled=None)
EDGES, OPS = len(tiny.TINY.edges), len(tiny.TINY.ops)
KINDS, NONE = tiny.TINY.kinds, tiny.TINY.ops.index('none')


def hp(kl=0.0, none=False):
  drnas = {'kl': kl, 'none': none}
  return ConfigDict({'order': 1, 'warmup_epochs': 0, 'max_skips': 8, 'drnas': drnas})


def arch_of(row):
  """The same alphas on every edge."""
  return {kind: jnp.tile(jnp.float32(row), (EDGES, 1)) for kind in KINDS}


def draws(arch, settings, count=5000, kept=None):
  draw = functools.partial(drnas.draw, net=tiny.net()._replace(kept=kept), hp=settings)
  return jax.vmap(draw, (0, None))(jax.random.split(KEY, count), arch)


@pytest.mark.parametrize('none', [False, True])
def test_weights_are_the_means_of_what_is_drawn(none):
  """Concentrations are 1 + alpha for positive alphas, exp(alpha) for others."""
  row = [0.5, 2.0, 0.0, -1.0]
  concentration = np.array([1.5, 3, 1, np.exp(-1)])
  if not none:
    concentration[NONE] = 0
  arch, settings = arch_of(row), hp(none=none)
  means = drnas.weights(arch, net=tiny.net(), hp=settings)
  found = draws(arch, settings)
  for kind in KINDS:
    expected = np.tile(concentration / concentration.sum(), (EDGES, 1))
    np.testing.assert_allclose(means[kind], expected, rtol=1e-5)
    np.testing.assert_allclose(found[kind].mean(0), expected, atol=0.015)
    np.testing.assert_allclose(found[kind].sum(-1), 1, rtol=1e-5)
    assert np.all(found[kind][..., NONE] == 0) == (not none)
  assert np.all(found['normal'][..., 1] != found['reduce'][..., 1])


def test_what_a_stage_has_left_over_is_drawn_as_if_there_were_nothing_else():
  """Dirichlet(2, 1) has the means 2/3 and 1/3 and the variance 2/9 / 4."""
  kept = {kind: jnp.tile(jnp.array([True, True, False, True]), (EDGES, 1)) for kind in KINDS}
  arch = arch_of([7, 1.0, 2.0, 0.0])  # none is no candidate
  means = drnas.weights(arch, net=tiny.net()._replace(kept=kept), hp=hp())
  found = draws(arch, hp(), kept=kept)
  for kind in KINDS:
    np.testing.assert_allclose(means[kind], [[0, 2 / 3, 0, 1 / 3]] * EDGES, rtol=1e-6)
    np.testing.assert_allclose(found[kind].mean(0), means[kind], atol=0.015)
    np.testing.assert_allclose(found[kind][..., 1].var(0), 2 / 36, rtol=0.1)
    assert np.all(found[kind][..., [0, 2]] == 0)


def test_gradient_through_samples_is_that_of_the_expectation():
  """Of v w + q w w, whose expectation is v c / c0 + q c (c + 1) / (c0 (c0 + 1))."""
  v, q = np.random.default_rng(0).normal(size=(2, OPS)).astype(np.float32)
  arch = arch_of([0.5, 1.5, 0.2, -0.7])

  def moments(arch):
    c = jax.nn.elu(arch['normal']) + 1
    total = c.sum(-1, keepdims=True)
    return (v * c / total + q * c * (c + 1) / (total * (total + 1))).sum()

  def sampled(arch):
    w = draws(arch, hp(none=True), count=20_000)['normal']
    return (v * w + q * w**2).sum((-2, -1)).mean()

  with jax.numpy_rank_promotion('allow'):
    expected, found = (jax.jit(jax.grad(f))(arch)['normal'] for f in (moments, sampled))
  np.testing.assert_allclose(found, expected, atol=0.05 * np.abs(expected).max())


def test_divergence_by_hand():
  """Concentrations 2, 1, 1: the density 6 x is 3 x times that of 1, 1, 1.

  E log(3 x) = log 3 + digamma(2) - digamma(4) = log 3 - 1/2 - 1/3, on each edge of both cells.
  """
  arch = arch_of([9, 1, 0, 0])  # none is no candidate
  edges = EDGES * len(KINDS)
  found = drnas.divergence(arch, net=tiny.net(), hp=hp())
  np.testing.assert_allclose(found, edges * (np.log(3) - 5 / 6), rtol=1e-5)
  same = drnas.divergence(arch_of([0] * OPS), net=tiny.net(), hp=hp(none=True))
  np.testing.assert_allclose(same, 0, atol=1e-4)


def loss(params, stats, weights, images, labels, dropout=None):
  """The second operation of the first edge, kept as a running statistic of either half."""
  value = params['w'] * weights['normal'][0, 1]
  half = parallel.mean(images.mean()).astype(jnp.int32)
  stats = {'seen': stats['seen'].at[half].set(weights['normal'])}
  return value, (stats, jnp.zeros((len(images), 2)))


def step(arch, settings):
  """The state after a step on two devices of a supernet that is the loss above; w is 0 before."""
  net = Net(tiny.TINY, init=None, apply=None, loss=loss)
  params, stats = {'w': jnp.float32(0)}, {'seen': jnp.zeros((2, EDGES, OPS))}
  states = TX.weights.init(params), TX.arch.init(arch)
  state = SearchState(jnp.int32(0), params, stats, arch, *states)
  run = functools.partial(drnas.step, KEY, net=net, tx=TX, hp=settings)
  run = jax.vmap(run, axis_name=AXIS, in_axes=(None, 0, 0), out_axes=(None, None))
  halves = ((jnp.full((2, 3), half), jnp.zeros((2, 3), jnp.int32)) for half in (0, 1))
  return run(state, *halves)[0]


def test_each_update_has_a_sample_of_its_own():
  after = step(arch_of([0.0] * OPS), hp())
  train, val = after.batch_stats['seen']
  np.testing.assert_allclose(train.sum(-1), 1, rtol=1e-5)
  assert np.all(train[:, 1:] != val[:, 1:])


@pytest.mark.parametrize('kl', [0.0, 0.1])
def test_the_divergence_pulls_the_alphas_to_zero(kl):
  """By hand, at concentrations c = 2, 1, 1 of sum 4: d KL / dc = (c - 1) psi'(c) - (4 - 3) psi'(4).

  psi'(2) = pi^2 / 6 - 1 and psi'(4) = pi^2 / 6 - 49 / 36; the learning rate is 0.5.
  """
  arch = arch_of([5, 1, 0, 0])
  after = step(arch, hp(kl=kl))
  two, four = np.pi**2 / 6 - 1, np.pi**2 / 6 - 49 / 36
  change = -0.5 * kl * np.array([0, two - four, -four, -four])
  for kind in KINDS:
    expected = np.tile(change, (EDGES, 1))
    np.testing.assert_allclose(after.arch[kind] - arch[kind], expected, atol=1e-6)


def test_decode_ranks_edges_by_the_means():
  """Into node 3: 6 of 12, 2 of 2.3 and 5 of 11; softmax would put the first edge first."""
  alphas = np.zeros((14, 8), np.float32)
  alphas[3, 1:] = -3
  alphas[2, 4], alphas[3, 5], alphas[4, 7] = 5, 1, 4
  state = SearchState(jnp.int32(0), {}, {}, {'normal': alphas, 'reduce': alphas}, (), ())
  found = drnas.decode(None, state, net=tiny.net(space=SPACE), hp=hp())
  assert found.normal[2:4] == found.reduce[2:4] == (('sep_conv_5x5', 1), ('sep_conv_3x3', 0))
