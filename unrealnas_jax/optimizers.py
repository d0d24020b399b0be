"""The optimizers of the official code: decay is part of the gradient (L2), as PyTorch's is.

optax.adamw and a decay after momentum would be other methods.
"""

from typing import NamedTuple

import jax.numpy as jnp
import optax


class Optimizers(NamedTuple):
  """The two optimizers of a search; steps: of the search, epoch_steps: of an epoch."""

  weights: optax.GradientTransformation
  arch: optax.GradientTransformation
  epoch_steps: int
  steps: int


def cosine_by_epoch(lr, lr_end, epochs, epoch_steps):
  """step -> learning rate: a cosine from lr to lr_end that changes once an epoch.

  lr(e) = lr_end + (lr - lr_end) * (1 + cos(pi * e / epochs)) / 2, e = step // epoch_steps
  """

  def schedule(step):
    turn = jnp.pi * (step // epoch_steps) / epochs
    return lr_end + 0.5 * (lr - lr_end) * (1 + jnp.cos(turn))

  return schedule


def sgd(hp, epoch_steps):
  """Clips the gradient's norm, adds L2, then momentum; hp: config.search or config.retrain."""
  return optax.chain(
    optax.clip_by_global_norm(hp.clip),
    optax.add_decayed_weights(hp.weight_decay),
    optax.trace(decay=hp.momentum),
    optax.scale_by_learning_rate(cosine_by_epoch(hp.lr, hp.lr_end, hp.epochs, epoch_steps)),
  )


def adam(hp):
  """Adam with L2 for the architecture, its gradient's norm clipped if asked; hp: config.method."""
  b1, b2 = hp.arch_betas
  return optax.chain(
    optax.clip_by_global_norm(hp.arch_clip) if hp.arch_clip else optax.identity(),
    optax.add_decayed_weights(hp.arch_weight_decay),
    optax.scale_by_adam(b1, b2, eps=1e-8),
    optax.scale_by_learning_rate(hp.arch_lr),
  )
