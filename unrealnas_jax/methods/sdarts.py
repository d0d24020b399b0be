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

from unrealnas_jax import parallel
from unrealnas_jax.methods import alphas, bilevel

SPARSE = False


def init(key, *, net, hp):
  """Alphas {kind: [E, O]}."""
  del hp
  return alphas.init(key, net.space)


def weights(arch, *, net, hp):
  """Softmax over the operations left to each edge; rows sum to 1."""
  del hp
  return alphas.softmax(arch, net)


def step(key, state, train, val, *, net, tx, hp):
  """The architecture first, then the params under perturbed weights of the new architecture."""
  mixing = functools.partial(weights, net=net, hp=hp)
  epsilon = radius(state.step, tx=tx, hp=hp)

  def train_weights(state):
    def loss(weights):
      # In eval mode, officially too: no running statistics move.
      return net.train_loss(state.params, state.batch_stats, weights, *train, train=False)[0]

    perturb = PERTURBATIONS[hp.sdarts.perturbation]
    return perturb(key, mixing(state.arch), epsilon, loss, net=net, hp=hp)

  return bilevel.alternate(
    *(state, train, val), net=net, tx=tx, hp=hp, weights=mixing, train_weights=train_weights
  )


def radius(step, *, tx, hp):
  """Epsilon of a step, linear over epochs; the last epoch is one short of hp.sdarts.epsilon."""
  epoch, epochs = step // tx.epoch_steps, tx.steps // tx.epoch_steps
  start = hp.sdarts.epsilon_start
  return start + (hp.sdarts.epsilon - start) * epoch / epochs


def perturb_randomly(key, weights, epsilon, loss, *, net, hp):
  """Weights plus uniform noise from -epsilon to epsilon, as weights again. loss, hp: not used."""
  del loss, hp

  def of_kind(key, table):
    return table + epsilon * jax.random.uniform(key, table.shape, minval=-1)

  return project(alphas.map_with_keys(of_kind, key, weights), net)


def perturb_adversarially(key, weights, epsilon, loss, *, net, hp):
  """Weights up to epsilon away at which the loss is larger, by signed steps from a random start.

  loss: weights -> [] of this device's examples. Weights at which it is smaller are not taken.
  """
  size = hp.sdarts.step_size * epsilon / hp.sdarts.steps

  def ascend(_, found):
    gradient = parallel.mean(jax.grad(loss)(found))

    def move(center, table, gradient):
      away = table + size * jnp.sign(gradient) - center
      return center + jnp.clip(away, -epsilon, epsilon)

    return project(jax.tree.map(move, weights, found, gradient), net)

  found = perturb_randomly(key, weights, epsilon, loss, net=net, hp=hp)
  found = lax.fori_loop(0, hp.sdarts.steps, ascend, found)
  worse = parallel.mean(loss(found)) >= parallel.mean(loss(weights))
  return jax.tree.map(lambda ours, theirs: jnp.where(worse, ours, theirs), found, weights)


PERTURBATIONS = {'random': perturb_randomly, 'adversarial': perturb_adversarially}


def project(tables, net):
  """Tables {kind: [E, O]} as weights: no less than 0, no more than 1, rows then scaled to sum to 1.

  Of a row without anything above 0 the largest value becomes 1. What net.kept leaves out is 0.
  """

  def of_kind(table):
    clipped = jnp.clip(table, 0, 1)
    largest = jax.nn.one_hot(table.argmax(-1), table.shape[-1])
    clipped = jnp.where(clipped.sum(-1, keepdims=True) == 0, largest, clipped)
    return clipped / clipped.sum(-1, keepdims=True)

  return jax.tree.map(of_kind, alphas.kept_only(tables, net))


def decode(key, state, *, net, hp):
  """The genotype of the weights as they are."""
  del key
  return alphas.decode(net.space, weights(state.arch, net=net, hp=hp), hp)
