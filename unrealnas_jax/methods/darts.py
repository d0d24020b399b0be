"""DARTS: softmax weights, learned by their gradient of first or second order.

Source: Liu, Simonyan, Yang 2019, "DARTS: Differentiable Architecture Search", section 2.3, first
order being xi = 0; cnn/architect.py and cnn/train_search.py of the official code.
"""

import functools

from unrealnas_jax.methods import alphas, bilevel

SPARSE = False


def init(key, *, net, hp):
  """Alphas {kind: [E, O]}."""
  del hp
  return alphas.init(key, net.space)


def weights(arch, *, net, hp):
  """Softmax over the operations of each edge, none included; rows sum to 1."""
  del hp
  return alphas.softmax(arch, net)


def step(key, state, train, val, *, net, tx, hp):
  """The architecture first, then the params under the new architecture."""
  del key
  mixing = functools.partial(weights, net=net, hp=hp)
  return bilevel.alternate(state, train, val, net=net, tx=tx, hp=hp, weights=mixing)


def decode(key, state, *, net, hp):
  """The genotype of the current weights."""
  del key
  return alphas.decode(net.space, weights(state.arch, net=net, hp=hp), hp)
