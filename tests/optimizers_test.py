"""The two optimizers, two steps by hand, and the learning rate of each epoch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import rlnas
from unrealnas_jax import optimizers, search

SGD = {
  'lr': 0.1,
  'lr_end': 0.0,
  'epochs': 2,
  'momentum': 0.9,
  'weight_decay': 0.01,
  'clip': 5.0,
  'lr_schedule': 'cosine',
  'lr_warmup': 0,
}
ADAM = {
  'arch_lr': 0.1,
  'arch_betas': (0.5, 0.999),
  'arch_weight_decay': 0.01,
  'arch_clip': 0.0,
}


def descend(transform, params, gradients):
  """The params after each of the gradients."""
  state, path = transform.init(params), []
  for gradient in gradients:
    updates, state = transform.update(gradient, state, params)
    params = jax.tree.map(jnp.add, params, updates)
    path.append(params)
  return path


def test_sgd_clips_then_adds_decay_then_momentum():
  """Two leaves with gradients 6 and 8, of norm 10 together, are halved to 3 and 4; then

  a: decay 0.01 * 1 makes 3.01 the step, 1 - 0.1 * 3.01 = 0.699
  b: decay 0.01 * 2 makes 4.02 the step, 2 - 0.1 * 4.02 = 1.598
  With no gradient next, and in the next epoch half the learning rate:
  a: 0.9 * 3.01 + 0.01 * 0.699 = 2.71599, 0.699 - 0.05 * 2.71599 = 0.5632005
  b: 0.9 * 4.02 + 0.01 * 1.598 = 3.63398, 1.598 - 0.05 * 3.63398 = 1.416301
  """
  params, *gradients = (
    {'a': jnp.float32(a), 'b': jnp.float32(b)} for a, b in ((1, 2), (6, 8), (0, 0))
  )
  first, second = descend(optimizers.sgd(ConfigDict(SGD), 1), params, gradients)
  np.testing.assert_allclose([first['a'], first['b']], [0.699, 1.598], rtol=1e-6)
  np.testing.assert_allclose([second['a'], second['b']], [0.5632005, 1.416301], rtol=1e-6)


def test_sgd_leaves_small_gradients_as_they_are():
  (after,) = descend(optimizers.sgd(ConfigDict(SGD), 1), jnp.float32(0), [jnp.float32(4)])
  np.testing.assert_allclose(after, -0.4, rtol=1e-6)


def test_nesterov_looks_one_step_of_momentum_ahead():
  """PyTorch's rule: buffer = 0.9 * buffer + g, then the step is 0.1 * (g + 0.9 * buffer).

  Gradients 1 and 2 at 0, without decay: buffers 1 and 2.9, steps 0.1 * 1.9 and, in the second
  epoch, 0.05 * (2 + 0.9 * 2.9) = 0.2305.
  """
  hp, gradients = ConfigDict(SGD | {'weight_decay': 0.0}), [jnp.float32(1), jnp.float32(2)]
  path = descend(optimizers.sgd(hp, 1, nesterov=True), jnp.float32(0), gradients)
  np.testing.assert_allclose(path, [-0.19, -0.4205], rtol=1e-6)


def test_clip_by_value_leaves_small_values_as_they_are():
  """Of 6, -8 and 2 the first two are cut to 5; the norm would have shrunk all three."""
  hp = ConfigDict(SGD | {'weight_decay': 0.0})
  transform = optimizers.sgd(hp, 1, clip_by='value')
  (after,) = descend(transform, jnp.zeros(3), [jnp.array([6.0, -8.0, 2.0])])
  np.testing.assert_allclose(after, [-0.5, 0.5, -0.2], rtol=1e-6)


def test_only_convolutions_decay():
  """Without gradients a weight w becomes 1 - 0.1 * 0.01 * 1 = 0.999 if it decays."""
  config = rlnas.get_config('laptop')
  config.search.update(dict(cells=3, channels=4, stem='imagenet'))
  params, _ = jax.eval_shape(search.make_net(config, 5, 3).init, jax.random.key(0))
  ones = jax.tree.map(lambda leaf: jnp.ones(leaf.shape[:1]), params)
  transform = optimizers.sgd(ConfigDict(SGD), 1, decayed='convolutions')
  (after,) = descend(transform, ones, [jax.tree.map(jnp.zeros_like, ones)])
  norms = {'scale', 'bias'}
  kernels = {'kernel', 'depthwise', 'pointwise', 'even', 'odd'}
  seen = set()
  for path, leaf in jax.tree_util.tree_leaves_with_path(after):
    name = path[-1].key
    seen.add(name)
    decays = name in kernels and path[0].key != 'classifier'
    np.testing.assert_allclose(leaf, 0.999 if decays else 1.0, rtol=1e-6, err_msg=str(path))
  assert seen == norms | kernels


def test_adam_adds_decay_to_the_gradient():
  """The parameter 10 with gradient 0.1 has 0.1 + 0.01 * 10 = 0.2; Adam's first step is the rate.

  Second, with gradient -0.299 at 9.9: -0.299 + 0.099 = -0.2. Then the mean is
  (0.5 * 0.5 * 0.2 - 0.5 * 0.2) / (1 - 0.25) = -0.2 / 3, the mean square 0.04, and the step
  0.1 * (0.2 / 3) / 0.2 = 0.1 / 3. Without decay it would be another; AdamW would add 0.01 * 9.9.
  """
  gradients = [jnp.float32(0.1), jnp.float32(-0.299)]
  path = descend(optimizers.adam(ConfigDict(ADAM)), jnp.float32(10), gradients)
  np.testing.assert_allclose(path, [9.9, 9.9 + 0.1 / 3], rtol=1e-6)


def test_learning_rate_of_each_epoch_is_the_official_one():
  """Values that the official code logs, constant within an epoch of 390 steps."""
  rate = learning_rate('cosine', 2.5e-2, 1e-3, 50)
  for epoch, expected in ((0, 2.5e-2), (25, 1.3e-2), (49, 1.023679e-3)):
    for step in (390 * epoch, 390 * epoch + 389):
      assert float(rate(jnp.int32(step))) == pytest.approx(expected, rel=1e-6)


def learning_rate(schedule, lr, lr_end, epochs, warmup=0):
  """Of a step, 390 steps an epoch."""
  values = {'lr_schedule': schedule, 'lr': lr, 'lr_end': lr_end, 'epochs': epochs}
  return optimizers.learning_rate(ConfigDict({**values, 'lr_warmup': warmup}), 390)


# epoch -> learning rate, worked out from train_imagenet.py of DARTS, and of P-DARTS and PC-DARTS.
SCHEDULES = {
  # StepLR multiplies 0.1 by 0.97 each epoch.
  'DARTS': (('exponential', 0.1, 0.1 * 0.97**250, 250), {0: 0.1, 1: 0.097, 100: 0.1 * 0.97**100}),
  # 0.5 * (245 - e) / 245, in the last five epochs 0.5 * (250 - e) / (245 * 5); a fifth of it in the
  # first epoch, two fifths in the second, all of it from the fifth on.
  'PC-DARTS': (
    ('linear', 0.5, 0.0, 250, 5),
    {
      **{0: 0.1, 1: 0.4 * 0.5 * 244 / 245, 4: 0.5 * 241 / 245, 5: 0.5 * 240 / 245},
      **{244: 0.5 / 245, 245: 0.5 / 245, 246: 0.5 * 4 / (245 * 5), 249: 0.5 / (245 * 5)},
    },
  ),
  'few epochs': (('linear', 0.3, 0.1, 3), {0: 0.3, 1: 0.2, 2: 0.2}),
  'one epoch': (('linear', 0.3, 0.0, 1), {0: 0.3}),
  'warm cosine': (('cosine', 1.0, 0.0, 2, 2), {0: 0.5, 1: 0.5}),
}


@pytest.mark.parametrize(('arguments', 'rates'), SCHEDULES.values(), ids=SCHEDULES.keys())
def test_schedules_are_those_of_the_official_codes(arguments, rates):
  rate = learning_rate(*arguments)
  for epoch, expected in rates.items():
    for step in (390 * epoch, 390 * epoch + 389):
      assert float(rate(jnp.int32(step))) == pytest.approx(expected, rel=1e-5)


def test_linear_by_step_is_one_straight_line():
  """From 0.1 to 0.02 in 2 epochs of 390 steps; the end would come after the last step."""
  rate = learning_rate('linear_by_step', 0.1, 0.02, 2)
  steps = np.array([0, 1, 389, 390, 779])
  expected = 0.1 - 0.08 * steps / 780
  np.testing.assert_allclose([rate(jnp.int32(step)) for step in steps], expected, rtol=1e-6)
  assert float(rate(jnp.int32(780))) == pytest.approx(0.02)


@pytest.mark.parametrize(
  ('steps', 'turns', 'first_steps', 'length'),
  [(7, 3, [0, 2, 4], 2), (9, 3, [0, 3, 6], 3), (6, 1, [0], 6), (2, 3, [0, 1], 1)],
)
def test_turns_are_equally_long_but_for_what_is_left_over(steps, turns, first_steps, length):
  found = [optimizers.turn_at(step, steps, turns) for step in range(steps)]
  numbers = [max(n for n, first in enumerate(first_steps) if first <= s) for s in range(steps)]
  assert [int(number) for number, _, _ in found] == numbers
  assert [int(first) for _, first, _ in found] == [first_steps[number] for number in numbers]
  assert {each for _, _, each in found} == {length}


def test_sgd_changes_its_rate_only_between_epochs():
  transform = optimizers.sgd(ConfigDict(SGD | {'momentum': 0.0, 'weight_decay': 0.0}), 2)
  path = np.array(descend(transform, jnp.float32(0), [jnp.float32(-1)] * 4))
  np.testing.assert_allclose(np.diff(path, prepend=0), [0.1, 0.1, 0.05, 0.05], rtol=1e-5)
