"""Random search: random cells, of which a short training of each alone chooses the best.

What any claim about a search is to be compared with (Li, Talwalkar 2019, "Random Search and
Reproducibility for Neural Architecture Search"; Yang et al. 2020, "NAS evaluation is frustratingly
hard"). config.search.epochs is shared by the hp.random.cells cells; each starts from new params, a
new momentum and the first learning rate, which falls within its turn. With search.epochs = 0
nothing is trained and the first cell is the answer.
"""

import jax
import jax.numpy as jnp
import optax
from jax import lax

from unrealnas_jax import optimizers
from unrealnas_jax.methods import bilevel, paths

SPARSE = True
MEASURED = 4  # one part in so many at the end of a cell's training counts


def draws(hp):
  """Always."""
  del hp
  return True


def init(key, *, net, hp):
  """{'cells': {kind: [N, E, O]}, 'path': {kind: [E, O]}, 'total': [N], 'count': [N]}

  cells: N random cells, one-hot; path: the one that is trained; total, count: of its measures.
  """
  keys = jax.random.split(key, hp.random.cells)
  codes = jax.vmap(lambda key: paths.sample(key, net.space))(keys)
  cells = paths.one_hot(net.space, codes)
  zeros = jnp.zeros(hp.random.cells)
  return {'cells': cells, 'path': _cell(cells, 0), 'total': zeros, 'count': zeros}


def weights(arch, *, net, hp):
  """The cell that is trained."""
  del net, hp
  return arch['path']


def step(key, state, train, val, *, net, tx, hp):
  """Trains the cell whose turn it is; near the end of its turn it is measured."""
  number, first, length = optimizers.turn_at(state.step, tx.steps, hp.random.cells)
  begins = (state.step == first) & (state.step > 0)
  state = lax.cond(begins, lambda state: _restart(key, state, net, tx), lambda state: state, state)
  path = _cell(state.arch['cells'], number)
  state, on_train = bilevel.weight_step(state, train, net=net, tx=tx, weights=path)
  on_val = bilevel.measure(state, val, net=net, weights=path)
  metrics = on_train | on_val
  values = {'val_accuracy': metrics['val_accuracy'], 'train_loss': -metrics['train_loss']}
  counts = (state.step >= first + length - max(length // MEASURED, 1)).astype(jnp.float32)
  arch = {
    **state.arch,
    'path': path,
    'total': state.arch['total'].at[number].add(counts * values[hp.random.measure]),
    'count': state.arch['count'].at[number].add(counts),
  }
  return state.replace(step=state.step + 1, arch=arch), metrics


def decode(key, state, *, net, hp):
  """The cell that did best of those measured."""
  del key
  arch = state.arch
  score = jnp.where(arch['count'] > 0, arch['total'] / jnp.maximum(arch['count'], 1), -jnp.inf)
  return net.space.decode(_cell(arch['cells'], score.argmax()))


def _restart(key, state, net, tx):
  params, batch_stats = net.init(key)
  # Its count goes on, for the schedule of the learning rate knows the turns (optimizers).
  weight_opt = optax.tree.set(tx.weights.init(params), count=state.step)
  return state.replace(params=params, batch_stats=batch_stats, weight_opt=weight_opt)


def _cell(cells, number):
  return jax.tree.map(lambda table: table[number], cells)
