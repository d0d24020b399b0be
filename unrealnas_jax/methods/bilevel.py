"""The two updates that differentiable methods alternate."""

import functools

import jax
from jax import lax

from unrealnas_jax import objective, optimizers, parallel
from unrealnas_jax.methods import one_program, unrolled


def alternate(state, train, val, *, net, tx, hp, weights, train_weights=None, dropout=None):
  """One step: the architecture first, then the params under the new architecture.

  weights: arch -> {kind: [E, O]}; train_weights: state -> those of the params' update, where they
  differ.
  dropout: (key, rate) of both updates if the supernet drops identities.
  hp.order: of the architecture's gradient. In the first hp.warmup_epochs epochs the architecture is
  only measured.
  """
  shared = {'net': net, 'tx': tx, 'dropout': dropout}
  if one_program.fits(net, hp):
    mixing = {'weights': weights, 'train_weights': train_weights}
    return one_program.alternate(state, train, val, hp=hp, **mixing, **shared)
  gradient = first_order
  if hp.order == 2:
    gradient = functools.partial(unrolled.second_order, train=train, hvp=hp.hvp)
  state, on_val = _unless_warming_up(
    state, val, hp=hp, weights=weights, gradient=gradient, **shared
  )
  mixing = train_weights(state) if train_weights else weights(state.arch)
  state, on_train = weight_step(state, train, weights=mixing, **shared)
  return state.replace(step=state.step + 1), on_train | on_val


def _unless_warming_up(state, val, *, net, tx, hp, weights, dropout, gradient):
  shared = {'net': net, 'tx': tx, 'weights': weights, 'dropout': dropout}
  update = functools.partial(arch_step, val=val, gradient=gradient, **shared)
  if hp.warmup_epochs == 0:
    return update(state)

  def measure_only(state):
    return state, measure(state, val, net=net, weights=weights(state.arch), dropout=dropout)

  return lax.cond(optimizers.warms_up(state, tx, hp), measure_only, update, state)


def first_order(state, val, *, net, tx, weights, dropout):
  """The gradient of the architecture for the loss on val, at the current params.

  Differentiates with respect to the architecture alone, so no kernel gradient is computed.
  -> ((loss, (batch_stats, logits)), gradient averaged over the devices)
  """
  del tx

  def loss(arch):
    return _loss(state, val, weights(arch), net.loss, dropout)

  found, gradient = jax.value_and_grad(loss, has_aux=True)(state.arch)
  return found, parallel.mean(gradient)


def arch_step(state, val, *, net, tx, weights, dropout=None, gradient=first_order):
  """Moves the architecture down the gradient of the loss on val.

  weights: arch -> {kind: [E, O]}; gradient: first_order, or what takes and gives the same
  -> (state, {'val_loss', 'val_accuracy'})
  """
  (value, (batch_stats, logits)), gradient = gradient(
    state, val, net=net, tx=tx, weights=weights, dropout=dropout
  )
  state = optimizers.move_arch(state, tx, gradient).replace(batch_stats=batch_stats)
  return state, _measure('val', value, logits, val[1])


def weight_step(state, train, *, net, tx, weights, dropout=None):
  """Moves the params down the gradient of the loss on train.

  weights: {kind: [E, O]}; -> (state, {'train_loss', 'train_accuracy'})
  """

  def loss(params):
    return _loss(state.replace(params=params), train, weights, net.train_loss, dropout)

  (value, (batch_stats, logits)), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
  state = optimizers.move_params(state, tx, parallel.mean(gradient))
  state = state.replace(batch_stats=batch_stats)
  return state, _measure('train', value, logits, train[1])


def measure(state, val, *, net, weights, dropout=None):
  """{'val_loss', 'val_accuracy'} in training mode; nothing moves. weights: {kind: [E, O]}"""
  value, (_, logits) = _loss(state, val, weights, net.loss, dropout)
  return _measure('val', value, logits, val[1])


def _loss(state, examples, weights, loss, dropout):
  return loss(state.params, state.batch_stats, weights, *examples, dropout=dropout)


def _measure(half, loss, logits, labels):
  accuracy = objective.accuracy(logits, labels)
  return parallel.mean({f'{half}_loss': loss, f'{half}_accuracy': accuracy})
