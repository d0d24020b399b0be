"""P-DARTS: the supernet deepens from stage to stage while each edge's candidates become fewer.

The stages are data (config.stages); what is of the method is dropout on identities, which fades,
and a limit on how many of them a cell ends with (method.max_skips).
Source: Chen, Xie, Wu, Tian 2019, "Progressive Differentiable Architecture Search: Bridging the
Depth Gap between Search and Evaluation"; train_search.py of the official code.
"""

import functools

import jax.numpy as jnp

from unrealnas_jax.methods import alphas, bilevel

SPARSE = False
FADING = 0.2  # of the dropout's rate, in an epoch


def init(key, *, net, hp):
  """Alphas {kind: [E, O]}."""
  del hp
  return alphas.init(key, net.space)


def weights(arch, *, net, hp):
  """Softmax over the operations left to each edge."""
  del hp
  return alphas.softmax(arch, net)


def step(key, state, train, val, *, net, tx, hp):
  """As of DARTS, with dropout on identities in both updates."""
  mixing = functools.partial(weights, net=net, hp=hp)
  dropout = None
  if hp.skip_dropout:
    epoch, epochs = state.step // tx.epoch_steps, tx.steps // tx.epoch_steps
    dropout = key, rate(epoch, epochs, hp)
  return bilevel.alternate(
    state, train, val, net=net, tx=tx, hp=hp, weights=mixing, dropout=dropout
  )


def rate(epoch, epochs, hp):
  """Rate of the dropout on identities in an epoch, counted from 0, of a stage of so many.

  While the architecture rests it falls towards 0 as if it had the whole stage for that; then it
  starts anew at hp.skip_dropout and fades faster. As in the official code.
  """
  while_resting = jnp.maximum(epochs - epoch - 1, 0) / epochs  # 0 in a tuning after the last
  after = jnp.exp(-FADING * (epoch - hp.warmup_epochs))
  return hp.skip_dropout * jnp.where(epoch < hp.warmup_epochs, while_resting, after)


def decode(key, state, *, net, hp):
  """The genotype of the current weights, with at most hp.max_skips identities."""
  del key
  return alphas.decode(net.space, weights(state.arch, net=net, hp=hp), hp)
