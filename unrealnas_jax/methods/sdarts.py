"""SDARTS: the params are trained under perturbed mixing weights, which smooths the search.

The architecture's own update sees the weights as they are. Two kinds of perturbation, by
hp.sdarts.perturbation: random (SDARTS-RS) and adversarial (SDARTS-ADV).
Source: Chen, Hsieh 2020, "Stabilizing Differentiable Architecture Search via Perturbation-based
Regularization"; xiangning-chen/SmoothDARTS, attacker/perturb.py and sota/cnn/train_search.py.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from unrealnas_jax import objective, parallel
from unrealnas_jax.methods import alphas, bilevel

SPARSE = False


def init(key, *, net, hp):
  """Alphas {kind: [E, O]}."""
  del hp
  return alphas.init(key, net.space)


def weights(arch, *, net, hp):
  """Softmax over the operations of each edge; rows sum to 1."""
  del net, hp
  return jax.tree.map(jax.nn.softmax, arch)


def step(key, state, train, val, *, net, tx, hp):
  """The architecture first, then the params under perturbed weights of the new architecture."""
  mixing = functools.partial(weights, net=net, hp=hp)
  epsilon = radius(state.step, tx=tx, hp=hp)

  def train_weights(state):
    def loss(weights):
      # In eval mode, officially too: no running statistics move.
      logits, _ = net.apply(state.params, state.batch_stats, weights, train[0], train=False)
      return objective.loss(logits, train[1])

    return PERTURBATIONS[hp.sdarts.perturbation](key, mixing(state.arch), epsilon, loss, hp)

  return bilevel.alternate(
    *(state, train, val), net=net, tx=tx, hp=hp, weights=mixing, train_weights=train_weights
  )


def radius(step, *, tx, hp):
  """Epsilon of a step, linear over epochs; the last epoch is one short of hp.sdarts.epsilon."""
  epoch, epochs = step // tx.epoch_steps, tx.steps // tx.epoch_steps
  start = hp.sdarts.epsilon_start
  return start + (hp.sdarts.epsilon - start) * epoch / epochs


def perturb_randomly(key, weights, epsilon, loss, hp):
  """Weights plus uniform noise from -epsilon to epsilon, as weights again. loss, hp: not used."""
  del loss, hp

  def of_kind(key, table):
    return project(table + epsilon * jax.random.uniform(key, table.shape, minval=-1))

  return alphas.map_with_keys(of_kind, key, weights)


def perturb_adversarially(key, weights, epsilon, loss, hp):
  """Weights up to epsilon away at which the loss is larger, by signed steps from a random start.

  loss: weights -> [] of this device's examples. Weights at which it is smaller are not taken.
  """
  size = hp.sdarts.step_size * epsilon / hp.sdarts.steps

  def ascend(_, found):
    gradient = parallel.mean(jax.grad(loss)(found))

    def move(center, table, gradient):
      away = table + size * jnp.sign(gradient) - center
      return project(center + jnp.clip(away, -epsilon, epsilon))

    return jax.tree.map(move, weights, found, gradient)

  found = perturb_randomly(key, weights, epsilon, loss, hp)
  found = lax.fori_loop(0, hp.sdarts.steps, ascend, found)
  worse = parallel.mean(loss(found)) >= parallel.mean(loss(weights))
  return jax.tree.map(lambda ours, theirs: jnp.where(worse, ours, theirs), found, weights)


PERTURBATIONS = {'random': perturb_randomly, 'adversarial': perturb_adversarially}


def project(table):
  """Rows [E, O] as weights: no less than 0, no more than 1, then scaled to a sum of 1.

  Of a row without anything above 0 the largest value becomes 1.
  """
  clipped = jnp.clip(table, 0, 1)
  largest = jax.nn.one_hot(table.argmax(-1), table.shape[-1])
  clipped = jnp.where(clipped.sum(-1, keepdims=True) == 0, largest, clipped)
  return clipped / clipped.sum(-1, keepdims=True)


def decode(key, state, *, net, hp):
  """The genotype of the weights as they are."""
  del key
  return net.space.decode(weights(state.arch, net=net, hp=hp))
