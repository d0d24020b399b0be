"""Both updates of a first-order step as the two turns of one loop, for quick starts on a CPU.

They run one network forwards and back, and XLA compiles every call anew but a loop's body once. Of
the gradients of kernels, half of the way back, each turn knows only while it runs whether they are
wanted (layers.Mode.learns). The DARTS step of the paper's network at batch 16, compiled one after
the other and then run in turn on 2 cores of an AMD EPYC:

                             two programs   one
  trace                      8.8 s          7.2 s
  compile                    58.4 s         46.5 s
  step, processors' time     3.71 s         3.78 s

What it does for a start that reads its program from disk stands in compiled_code.py. On TPU and GPU
both updates are written out: conditions should cost more there, which was not measured.
"""

import jax
import jax.numpy as jnp
from jax import lax

from unrealnas_jax import objective, optimizers, parallel


def alternate(state, train, val, *, net, tx, hp, weights, train_weights=None, dropout=None):
  """As bilevel.alternate with hp.order 1, to rounding; net: as `fits` wants it."""

  def move_params(state, gradient, _):
    return optimizers.move_params(state, tx, parallel.mean(gradient))

  def move_arch(state, _, gradient):
    return optimizers.move_arch(state, tx, parallel.mean(gradient))

  def update(state, half):
    of_params, examples = half

    def loss(params, arch):
      mixing = _mixing(of_params, state, arch, weights, train_weights)
      options = {'dropout': dropout, 'learns': of_params}
      return net.loss(params, state.batch_stats, mixing, *examples, **options)

    value, back, (batch_stats, logits) = jax.vjp(loss, state.params, state.arch, has_aux=True)

    def move(state):
      gradients = back(jnp.ones_like(value))
      state = lax.cond(of_params, move_params, move_arch, state, *gradients)
      return state.replace(batch_stats=batch_stats)

    state = _unless_warming_up(of_params, state, move, tx=tx, hp=hp)
    found = {'loss': value, 'accuracy': objective.accuracy(logits, examples[1])}
    return state, parallel.mean(found)

  halves = jax.tree.map(lambda *pair: jnp.stack(pair), val, train)
  state, found = lax.scan(update, state, (jnp.array([False, True]), halves))
  metrics = {
    f'{half}_{name}': values[turn]
    for turn, half in enumerate(('val', 'train'))
    for name, values in found.items()
  }
  return state.replace(step=state.step + 1), metrics


def fits(net, hp):
  """Whether steps of a supernet can be made so, and should be."""
  return net.one_program and hp.order == 1 and not net.smoothing


def _mixing(of_params, state, arch, weights, train_weights):
  if train_weights is None:
    return weights(arch)
  return lax.cond(of_params, lambda _: train_weights(state), weights, arch)


def _unless_warming_up(of_params, state, move, *, tx, hp):
  """The architecture is only measured at first: there is no way back, and nothing moves."""
  if hp.warmup_epochs == 0:
    return move(state)
  rests = optimizers.warms_up(state, tx, hp) & ~of_params
  return lax.cond(rests, lambda state: state, move, state)
