"""PC-DARTS: a part of the channels is searched, and edges have weights of their own.

config.search.partial_channels sets the part (mixed.Form.partial); the weights of edges keep the
choice of inputs steady although each sees other channels.
Source: Xu et al. 2020, "PC-DARTS: Partial Channel Connections for Memory-Efficient Architecture
Search"; model_search.py and train_search.py of the official code.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from unrealnas_jax.methods import alphas, bilevel

SPARSE = False


def init(key, *, net, hp):
  """{'alphas': {kind: [E, O]}, 'betas': {kind: [E]}}"""
  del hp
  keys = (jax.random.fold_in(key, number) for number in (0, 1))
  return {
    'alphas': alphas.init(next(keys), net.space),
    'betas': alphas.init_edges(next(keys), net.space),
  }


def weights(arch, *, net, hp):
  """Softmax over operations times softmax over a node's edges: rows sum to their edge's weight."""
  del hp
  mixes = alphas.softmax(arch['alphas'], net)
  _, destinations = np.array(net.space.edges).T
  same_node = jnp.float32(destinations[:, None] == destinations[None])

  def of_kind(mix, betas):
    shares = jnp.exp(betas - betas.max())
    return mix * (shares / (same_node @ shares))[:, None]

  return jax.tree.map(of_kind, mixes, arch['betas'])


def step(key, state, train, val, *, net, tx, hp):
  """As of DARTS, betas being a part of the architecture."""
  del key
  mixing = functools.partial(weights, net=net, hp=hp)
  return bilevel.alternate(state, train, val, net=net, tx=tx, hp=hp, weights=mixing)


def decode(key, state, *, net, hp):
  """The genotype of alphas times betas."""
  del key
  return alphas.decode(net.space, weights(state.arch, net=net, hp=hp), hp)
