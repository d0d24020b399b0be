"""The optimizers of the official code: decay is part of the gradient (L2), as PyTorch's is.

optax.adamw and a decay after momentum would be other methods.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

LINEAR_TAIL = 5  # epochs


class Optimizers(NamedTuple):
  """The two optimizers of a search; steps: of the search, epoch_steps: of an epoch.

  unrolled: that of the weights without its clip, on the same state; second order looks ahead by it.
  """

  weights: optax.GradientTransformation
  arch: optax.GradientTransformation
  epoch_steps: int
  steps: int
  unrolled: optax.GradientTransformation | None = None


def move_params(state, tx, gradient):
  """A SearchState after one update of its params; gradient: of them, averaged over the devices."""
  updates, opt = tx.weights.update(gradient, state.weight_opt, state.params)
  return state.replace(params=optax.apply_updates(state.params, updates), weight_opt=opt)


def move_arch(state, tx, gradient):
  """A SearchState after one update of its architecture, as move_params."""
  updates, opt = tx.arch.update(gradient, state.arch_opt, state.arch)
  return state.replace(arch=optax.apply_updates(state.arch, updates), arch_opt=opt)


def warms_up(state, tx, hp):
  """[] bool: whether the architecture rests yet, in the first hp.warmup_epochs epochs."""
  return state.step < hp.warmup_epochs * tx.epoch_steps


def turn_at(step, steps, turns):
  """(number, first step, length) of the turn that a step lies in, if `turns` share all `steps`.

  All are equally long, at least one step; what is left over belongs to the last one.
  """
  length = max(steps // turns, 1)
  number = jnp.minimum(step // length, turns - 1)
  return number, number * length, length


def learning_rate(hp, epoch_steps, turns=1):
  """step -> learning rate: it falls from lr to lr_end by a schedule, changing once an epoch.

  By linear_by_step it changes at every step.
  In each of the first lr_warmup epochs e it is only a part of that, (e + 1) / lr_warmup.
  hp: config.search or config.retrain; turns: how many share the steps (`turn_at`), each of which
  begins anew; what is left over in the end stays where the last one ended.
  """
  schedule, steps = SCHEDULES[hp.lr_schedule], hp.epochs * epoch_steps
  _, _, length = turn_at(0, steps, turns)
  epochs = hp.epochs if turns == 1 else length / epoch_steps

  def rate(step):
    if turns > 1:
      _, first, _ = turn_at(step, steps, turns)
      step = jnp.minimum(step - first, length - 1)
    epoch = step // epoch_steps
    part = jnp.minimum((epoch + 1) / hp.lr_warmup, 1) if hp.lr_warmup else 1
    time = step / epoch_steps if schedule is _linear_by_step else epoch
    return part * schedule(hp.lr, hp.lr_end, time, epochs)

  return rate


def _cosine(lr, lr_end, epoch, epochs):
  return lr_end + 0.5 * (lr - lr_end) * (1 + jnp.cos(jnp.pi * epoch / epochs))


def _linear(lr, lr_end, epoch, epochs):
  """As P-DARTS and PC-DARTS train on ImageNet: the last epochs go down on a smaller slope."""
  tail = min(LINEAR_TAIL, epochs // 2)
  steep = epochs - tail
  part = jnp.where(epoch < steep, steep - epoch, (epochs - epoch) / max(tail, 1)) / steep
  return lr_end + (lr - lr_end) * part


def _exponential(lr, lr_end, epoch, epochs):
  """By the same factor each epoch, so that lr_end would come after the last."""
  return lr * (lr_end / lr) ** (epoch / epochs)


def _linear_by_step(lr, lr_end, epoch, epochs):
  """As RLNAS trains on ImageNet: one straight line. epoch: with its fraction"""
  return lr + (lr_end - lr) * epoch / epochs


SCHEDULES = {
  'cosine': _cosine,
  'linear': _linear,
  'exponential': _exponential,
  'linear_by_step': _linear_by_step,
}


def sgd(hp, epoch_steps, clip=True, turns=1, nesterov=False, clip_by='norm', decayed='all'):
  """Clips the gradient, adds L2, then momentum; hp: config.search or config.retrain.

  clip: whether it clips; its state is the same either way. turns: as in learning_rate; the others
  are keys of config.search
  """
  return optax.chain(
    CLIPS[clip_by](hp.clip) if clip else optax.identity(),
    optax.add_decayed_weights(hp.weight_decay, DECAYED[decayed]),
    optax.trace(decay=hp.momentum, nesterov=nesterov),
    optax.scale_by_learning_rate(learning_rate(hp, epoch_steps, turns)),
  )


CLIPS = {'norm': optax.clip_by_global_norm, 'value': optax.clip}


def _convolutions(params):
  """Which leaves of a supernet's params are kernels of convolutions: a tree of bools.

  Not norms, nor the classifier: the filter of RLNAS's code asks for a name that its own has not.
  """

  def is_one(path, _):
    return path[0].key != 'classifier' and path[-1].key not in ('scale', 'bias')

  return jax.tree_util.tree_map_with_path(is_one, params)


DECAYED = {'all': None, 'convolutions': _convolutions}


def adam(hp):
  """Adam with L2 for the architecture, its gradient's norm clipped if asked; hp: config.method."""
  b1, b2 = hp.arch_betas
  return optax.chain(
    optax.clip_by_global_norm(hp.arch_clip) if hp.arch_clip else optax.identity(),
    optax.add_decayed_weights(hp.arch_weight_decay),
    optax.scale_by_adam(b1, b2, eps=1e-8),
    optax.scale_by_learning_rate(hp.arch_lr),
  )
