"""Second order: a bilevel problem with a closed form, products by hand, and the supernet's form.

The loss of images x is mean(x) * (w.A w / 2 + a.B w^2) for params w and mixing weights a.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny
from ml_collections import ConfigDict

from unrealnas_jax import optimizers, parallel
from unrealnas_jax.methods import bilevel, darts, unrolled
from unrealnas_jax.parallel import AXIS
from unrealnas_jax.spaces import SPACES
from unrealnas_jax.state import SearchState
from unrealnas_jax.supernet import Net

A = np.array([[3.0, 1, -1], [1, 2, 0.5], [-1, 0.5, 4]])
B = np.array([[1.0, -2, 0.5], [0.3, 1, 2]])
W, ALPHAS = np.array([0.5, -1.0, 2.0]), np.array([0.7, -0.4])
# Means of the devices' halves: -1 and 4, 5 and -1; of the whole: 1.5 and 2.
TRAIN = np.array([[-2.0, 0], [3, 5]])
VAL = np.array([[4.0, 6], [-3, 1]])
# The clip would change everything, had the step that is looked ahead one.
SGD = {'lr': 0.1, 'lr_end': 0.0, 'epochs': 2, 'momentum': 0.9, 'weight_decay': 0.2, 'clip': 0.01}
SGD |= {'lr_schedule': 'cosine', 'lr_warmup': 0}

every_hvp = pytest.mark.parametrize('hvp', unrolled.HVP)


@jax.custom_vjp
def once(w):
  """w, in a form of which no jax.jvp can be taken."""
  return w


once.defvjp(lambda w: (w, None), lambda _, g: (g,))


def loss(params, stats, weights, images, labels, dropout=None, twice=False):
  w = jnp.concatenate([params['p'], params['q']])
  w = w if twice else once(w)
  value = images.mean() * (w @ (A @ w) / 2 + weights['normal'][0] @ (B @ w**2))
  stats = {'seen': 10 * stats['seen'] + parallel.mean(images.mean())}
  return value, (stats, jnp.stack([images, -images], axis=-1))


NET = Net(tiny.TINY, init=None, apply=None, loss=loss)


def make_tx(nesterov=False, **changes):
  """The search's optimizers of the weights; the architecture moves by minus its gradient."""
  hp = ConfigDict(SGD | changes)
  sgd = functools.partial(optimizers.sgd, hp, epoch_steps=2, nesterov=nesterov)
  return optimizers.Optimizers(sgd(), optax.sgd(1.0), 2, 4, unrolled=sgd(clip=False))


def make_state(tx):
  """After three steps, so that the second epoch has begun and the buffer is filled."""
  params = {'p': jnp.float32(W[:2]), 'q': jnp.float32(W[2:])}
  arch = {'normal': jnp.float32(ALPHAS[None])}
  weight_opt = tx.weights.init(params)
  for number in range(3):
    gradient = {'p': jnp.array([1.0, number]), 'q': jnp.array([-2.0])}
    _, weight_opt = tx.weights.update(gradient, weight_opt, params)
  return SearchState(
    step=jnp.int32(3),
    params=params,
    batch_stats={'seen': jnp.float32(1)},
    arch=arch,
    weight_opt=weight_opt,
    arch_opt=tx.arch.init(arch),
  )


def on_devices(step, state, *halves, devices=2):
  """step(state, *batches), the halves spread over devices, raising where these do not agree."""
  images = [jnp.float32(x).reshape(devices, -1) for x in halves]
  batches = [(x, jnp.zeros(x.shape, jnp.int32)) for x in images]
  in_axes = (None, *(0 for _ in batches))
  return jax.vmap(step, axis_name=AXIS, in_axes=in_axes, out_axes=(None, None))(state, *batches)


def arch_step(tx, hvp, net=NET):
  """(state, train, val) -> (state, metrics)"""

  def step(state, train, val):
    gradient = functools.partial(unrolled.second_order, train=train, hvp=hvp)
    return bilevel.arch_step(
      state, val, net=net, tx=tx, weights=lambda arch: arch, gradient=gradient
    )

  return step


def closed_form(buffer, lr):
  """(gradient of the architecture, loss) on the whole of VAL after a step on the whole of TRAIN."""
  train, val = TRAIN.mean(), VAL.mean()

  def on_params(w):
    return A @ w + 2 * w * (B.T @ ALPHAS)

  ahead = W - lr * (SGD['momentum'] * buffer + train * on_params(W) + SGD['weight_decay'] * W)
  v = val * on_params(ahead)
  gradient = val * B @ ahead**2 - lr * train * 2 * B @ (W * v)
  return gradient, val * (ahead @ A @ ahead / 2 + ALPHAS @ B @ ahead**2)


@pytest.mark.parametrize('devices', [1, 2])
@pytest.mark.parametrize(('hvp', 'tolerance'), [('exact', 1e-5), ('finite_difference', 1e-4)])
def test_equals_the_closed_form(hvp, tolerance, devices):
  """With momentum, decay, the second epoch's learning rate, and halves of unlike devices."""
  before = make_state(tx := make_tx())
  buffer = optax.tree.get(before.weight_opt, 'trace')
  expected, value = closed_form(np.concatenate([buffer['p'], buffer['q']]), lr=0.05)
  after, metrics = on_devices(arch_step(tx, hvp), before, TRAIN, VAL, devices=devices)
  found = (before.arch['normal'] - after.arch['normal'])[0]
  np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())
  np.testing.assert_allclose(metrics['val_loss'], value, rtol=1e-5)
  assert metrics['val_accuracy'] == 0.75
  assert after.batch_stats['seen'] == 10 + VAL.mean()


@every_hvp
def test_looks_ahead_by_the_momentum_of_nesterov(hvp):
  """Its step is (1 + m) g + m^2 b: that of plain momentum at another rate with another buffer."""
  before, m = make_state(tx := make_tx(nesterov=True)), SGD['momentum']
  buffer = optax.tree.get(before.weight_opt, 'trace')
  buffer = np.concatenate([buffer['p'], buffer['q']]) * m / (1 + m)
  expected, value = closed_form(buffer, lr=0.05 * (1 + m))
  after, metrics = on_devices(arch_step(tx, hvp), before, TRAIN, VAL)
  found = (before.arch['normal'] - after.arch['normal'])[0]
  np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
  np.testing.assert_allclose(metrics['val_loss'], value, rtol=1e-5)


@every_hvp
def test_looks_ahead_on_smoothed_labels_and_back_from_plain_ones(hvp):
  """Smoothing is here a factor of the loss, 1 + 0.5, as brighter images are."""

  def smoothed(*arguments, smoothing=0.0, **form):
    value, seen = loss(*arguments, **form)
    return value * (1 + smoothing), seen

  before = make_state(tx := make_tx())
  net = NET._replace(loss=smoothed, smoothing=0.5)
  found, _ = on_devices(arch_step(tx, hvp, net), before, TRAIN, VAL)
  expected, _ = on_devices(arch_step(tx, hvp), before, 1.5 * TRAIN, VAL)
  np.testing.assert_allclose(found.arch['normal'], expected.arch['normal'], rtol=1e-5)


@every_hvp
def test_moves_nothing_but_architecture_and_running_statistics(hvp):
  before = make_state(tx := make_tx())
  after, _ = on_devices(arch_step(tx, hvp), before, TRAIN, VAL)
  tiny.assert_trees_close(after.params, before.params, 0)
  tiny.assert_trees_close(after.weight_opt, before.weight_opt, 0)
  assert after.step == before.step
  assert np.all(after.arch['normal'] != before.arch['normal'])


def test_both_optimizers_of_the_weights_have_one_state():
  params, tx = tiny.variables(tiny.net())[0], make_tx()
  states = tx.weights.init(params), tx.unrolled.init(params)
  assert jax.tree.structure(states[0]) == jax.tree.structure(states[1])


@every_hvp
def test_without_a_learning_rate_it_is_the_first_order_step(hvp):
  before = make_state(tx := make_tx(lr=0.0))
  first = functools.partial(bilevel.arch_step, net=NET, tx=tx, weights=lambda arch: arch)
  expected = on_devices(first, before, VAL)
  tiny.assert_trees_close(on_devices(arch_step(tx, hvp), before, TRAIN, VAL), expected, 1e-6)


def test_order_and_product_are_those_of_the_config():
  """The alphas' steps differ by the correction, and the two products in rounding alone."""
  before, found = make_state(tx := make_tx()), {}
  for order, hvp in ((1, 'exact'), (2, 'exact'), (2, 'finite_difference')):
    hp = ConfigDict({'order': order, 'hvp': hvp, 'warmup_epochs': 0})
    step = functools.partial(darts.step, None, net=NET, tx=tx, hp=hp)
    after, _ = on_devices(step, before, TRAIN, VAL)
    assert after.step == before.step + 1
    found[order, hvp] = np.array(after.arch['normal'])
  exact = found[2, 'exact']
  assert np.abs(found[1, 'exact'] - exact).max() > 0.1 * np.abs(exact).max()
  difference = np.abs(found[2, 'finite_difference'] - exact).max()
  assert 0 < difference < 1e-4 * np.abs(exact).max()


def test_products_by_hand():
  """Of x^3 along v: 3 x^2 v = 9 and 0; differences add RADIUS^2 v^3 / |v|^2, |v| = 5."""
  x, v = {'a': jnp.float32(1), 'b': jnp.float32(0)}, {'a': jnp.float32(3), 'b': jnp.float32(4)}

  def gradient(x):
    return jax.tree.map(lambda leaf: leaf**3, x)

  found = unrolled.exact(gradient, x, v)
  assert found == {'a': 9, 'b': 0}
  found = unrolled.finite_difference(gradient, x, v)
  np.testing.assert_allclose(found['a'], 9, rtol=1e-4)
  np.testing.assert_allclose(found['b'], 1e-4 * 4**3 / 5**2, rtol=1e-4)


@every_hvp
def test_product_with_zero_is_zero(hvp):
  assert unrolled.HVP[hvp](jnp.sin, jnp.float32(1), jnp.float32(0)) == 0


def test_differences_are_of_products_with_all_digits():
  def gradient(x):
    seen.append(jax.config.jax_default_matmul_precision)
    return x

  seen = []
  unrolled.finite_difference(gradient, jnp.float32(1), jnp.float32(1))
  assert set(seen) == {'highest'}


def gradient_of(net, **form):
  """params -> gradient of the mixing weights of a supernet on eight noise images."""
  (params, stats), weights = tiny.variables(net), tiny.mixing(net.space)
  examples = tiny.noise(8, 8, 8, 3), jnp.arange(8) % 4

  def gradient(params):
    run = functools.partial(net.loss, params, stats, **form)
    return jax.grad(run, has_aux=True)(weights, *examples)[0]

  return gradient, params, jax.tree.map(lambda leaf: tiny.noise(*leaf.shape, seed=3), params)


def test_products_of_a_smooth_supernet_agree(monkeypatch):
  """Without ReLUs and maxima, whose switching only differences see."""
  monkeypatch.setattr(jax.nn, 'relu', jax.nn.softplus)
  net = tiny.net(space=tiny.TINY._replace(ops=('none', 'avg_pool_3x3', *tiny.TINY.ops[2:])))

  @jax.jit
  def run():
    twice, once = gradient_of(net, twice=True), gradient_of(net)
    return unrolled.exact(*twice), unrolled.finite_difference(*once)

  tiny.assert_trees_close(*run(), 1e-2)


@pytest.mark.parametrize(
  'changes',
  [
    {},
    {'plain': True},
    {'affine': True, 'partial': 2},
    {'sparse': True},
    {'microbatch': 1},
    {'space': SPACES['nasbench201']},
  ],
  ids=lambda changes: ' '.join(changes) or 'tiny',
)
def test_every_supernet_has_an_exact_product(changes):
  product = functools.partial(unrolled.exact, *gradient_of(tiny.net(**changes), twice=True))
  shapes = jax.tree.map(jnp.shape, tiny.mixing(changes.get('space', tiny.TINY)))
  lowered = jax.jit(product).lower()  # what cannot be differentiated is found here, not in tracing
  assert jax.tree.map(lambda leaf: leaf.shape, lowered.out_info) == shapes
