"""Random search: each cell in its turn, from new params, and the one that did best is taken."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import quick_run
import tiny
from ml_collections import ConfigDict

from unrealnas_jax import optimizers, search
from unrealnas_jax.methods import paths, random_search
from unrealnas_jax.parallel import AXIS
from unrealnas_jax.spaces import SPACES
from unrealnas_jax.state import SearchState
from unrealnas_jax.supernet import Net

HP = ConfigDict({'random': {'cells': 3, 'measure': 'train_loss'}})
SGD = optax.sgd(lambda count: 0.5)
TX = optimizers.Optimizers(SGD, optax.adam(0.1), epoch_steps=4, steps=12)
SPACE = tiny.TINY


def loss(params, stats, weights, images, labels, dropout=None):
  """Lower for cells whose first edge has a later operation: 10 - its number - w."""
  number = (weights['normal'][0] * jnp.arange(4)).sum()
  value = 10 - number - params['w'] + images.mean()
  return value, (stats, jnp.stack([images, -images], axis=-1))


NET = Net(SPACE, init=lambda key: ({'w': jnp.float32(0)}, {}), apply=None, loss=loss)


def run(hp=HP, tx=TX):
  """(states after each step, metrics) of a whole search on one device."""
  arch = random_search.init(jax.random.key(1), net=NET, hp=hp)
  params = {'w': jnp.float32(0)}
  state = SearchState(
    *(jnp.int32(0), params, {}, arch), tx.weights.init(params), tx.arch.init(arch)
  )
  step = functools.partial(random_search.step, net=NET, tx=tx, hp=hp)
  step = jax.jit(jax.vmap(step, axis_name=AXIS, in_axes=(None, None, 0, 0), out_axes=(None, None)))
  examples = jnp.zeros((1, 2)), jnp.zeros((1, 2), jnp.int32)
  states, metrics = [state], []
  for number in range(tx.steps):
    state, values = step(jax.random.key(number), states[-1], examples, examples)
    states.append(state)
    metrics.append(values)
  return states, metrics


def test_each_cell_is_trained_in_its_turn_from_new_params():
  """The gradient of w is -1, so that w grows by a half a step and starts again every 4 steps."""
  states, _ = run()
  w = [float(state.params['w']) for state in states[1:]]
  np.testing.assert_allclose(w, [0.5, 1, 1.5, 2] * 3)
  for number, state in enumerate(states[1:]):
    cell = jax.tree.map(lambda table, turn=number // 4: table[turn], state.arch['cells'])
    jax.tree.map(np.testing.assert_array_equal, state.arch['path'], cell)


def test_the_learning_rate_falls_within_each_turn():
  """Of 7 epochs of 2 steps three cells have 4 steps each, of 2 epochs; the last has 2 more.

  The gradient of w is -1, so that w grows by the learning rate.
  """
  config = quick_run.get_config()
  config.method.update(dict(name='random'))
  config.method.random.cells = 3
  config.search.update(dict(epochs=7, lr=1.0, lr_end=0.0, momentum=0.0, weight_decay=0.0))
  tx = search.make_optimizers(config, 2)
  states, _ = run(tx=tx)
  w = [float(state.params['w']) for state in states[1:]]
  np.testing.assert_allclose(w, [1, 2, 2.5, 3] * 3 + [3.5, 4], rtol=1e-6)
  rate = search.prepare(config, None).plan.learning_rate
  epochs = [float(rate(epoch * 4)) for epoch in range(7)]
  # Told of the whole search, of 28 steps: turns of 9 steps begin at 0, 9 and 18.
  expected = [(1 + np.cos(np.pi * e / (9 / 4))) / 2 for e in (0, 1, 2, 0, 1, 0, 1)]
  np.testing.assert_allclose(epochs, expected, rtol=1e-5)


def test_a_cell_is_measured_at_the_end_of_its_turn():
  states, metrics = run()
  np.testing.assert_array_equal(states[-1].arch['count'], [1, 1, 1])
  ends = [float(metrics[step]['train_loss']) for step in (3, 7, 11)]
  np.testing.assert_allclose(states[-1].arch['total'], [-value for value in ends])


@pytest.mark.parametrize('measure', ['train_loss', 'val_accuracy'])
def test_the_best_of_those_measured_is_taken(measure):
  state = run(ConfigDict({'random': {'cells': 3, 'measure': measure}}))[0][-1]
  arch = {**state.arch, 'total': jnp.array([2.0, 9, 1]), 'count': jnp.array([1.0, 9, 0])}
  net = NET._replace(space=SPACE)
  best = jax.tree.map(lambda table: table[0], arch['cells'])
  found = random_search.decode(None, state.replace(arch=arch), net=net, hp=HP)
  assert found == SPACE.decode(best)  # 2 is more than 9 / 9, and the third was not measured


def test_without_training_the_first_cell_is_the_answer():
  state = run()[0][0]
  first = jax.tree.map(lambda table: table[0], state.arch['cells'])
  assert random_search.decode(None, state, net=NET, hp=HP) == SPACE.decode(first)


@pytest.mark.parametrize('space', [SPACE, *SPACES.values()])
def test_random_cells_are_cells_of_the_space_and_all_are_met(space):
  flat = paths.sample_flat(jax.random.key(0), space, 4000)
  none, edges = space.ops.index('none'), len(space.edges)
  for gene in paths.genes(space):
    if len(gene) > 1:  # two inputs of each node are used
      assert ((flat[:, gene] != none).sum(1) == 2).all()
    share = np.bincount(flat[:, gene].ravel(), minlength=len(space.ops)) / flat[:, gene].size
    used = 2 / len(gene) if len(gene) > 1 else 1 - 1 / len(space.ops)
    others = np.delete(share, none)
    # 4000 draws: three standard deviations of a share are below 0.024.
    np.testing.assert_allclose(others, used / (len(space.ops) - 1), atol=0.03)
  assert flat.shape == (4000, edges * len(space.kinds))
