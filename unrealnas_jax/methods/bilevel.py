"""The two updates that differentiable methods alternate."""

import jax
import optax

from unrealnas_jax import parallel


def arch_step(state, val, *, net, tx, weights):
  """Moves the architecture down the gradient of the loss on val, at the current params.

  Differentiates with respect to the architecture alone, so no kernel gradient is computed.
  weights: arch -> {kind: [E, O]}; -> (state, {'val_loss', 'val_accuracy'})
  """

  def loss(arch):
    return net.loss(state.params, state.batch_stats, weights(arch), *val)

  found, gradient = jax.value_and_grad(loss, has_aux=True)(state.arch)
  return move_arch(state, parallel.mean(gradient), found, val[1], tx)


def move_arch(state, gradient, found, labels, tx):
  """Moves the architecture down a gradient that is averaged over the devices.

  found: (loss, (batch_stats, logits)) on the images of some labels
  -> (state, {'val_loss', 'val_accuracy'})
  """
  value, (batch_stats, logits) = found
  updates, arch_opt = tx.arch.update(gradient, state.arch_opt, state.arch)
  arch = optax.apply_updates(state.arch, updates)
  state = state.replace(arch=arch, arch_opt=arch_opt, batch_stats=batch_stats)
  return state, _measure('val', value, logits, labels)


def weight_step(state, train, *, net, tx, weights):
  """Moves the params down the gradient of the loss on train.

  weights: {kind: [E, O]}; -> (state, {'train_loss', 'train_accuracy'})
  """

  def loss(params):
    return net.loss(params, state.batch_stats, weights, *train)

  (value, (batch_stats, logits)), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
  updates, weight_opt = tx.weights.update(parallel.mean(gradient), state.weight_opt, state.params)
  params = optax.apply_updates(state.params, updates)
  state = state.replace(params=params, weight_opt=weight_opt, batch_stats=batch_stats)
  return state, _measure('train', value, logits, train[1])


def _measure(half, loss, logits, labels):
  accuracy = (logits.argmax(-1) == labels).mean()
  return parallel.mean({f'{half}_loss': loss, f'{half}_accuracy': accuracy})
