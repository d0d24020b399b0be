"""DARTS: softmax weights, updated by their gradient at the current params (first order), or through
one step of the params (second order).

Source: Liu, Simonyan, Yang 2019, "DARTS: Differentiable Architecture Search", section 2.3, first
order being xi = 0; cnn/architect.py and cnn/train_search.py of the official code.
"""

import jax

from unrealnas_jax.methods import bilevel, unrolled


def init(key, *, net, hp):
  """Alphas {kind: [E, O]} of N(0, 1e-6), so that all operations start about equal."""
  del hp
  shape = len(net.space.edges), len(net.space.ops)
  keys = (jax.random.fold_in(key, number) for number in range(len(net.space.kinds)))
  return {
    kind: 1e-3 * jax.random.normal(key, shape)
    for kind, key in zip(net.space.kinds, keys, strict=True)
  }


def weights(arch):
  """Softmax over the operations of each edge, none included; rows sum to 1."""
  return jax.tree.map(jax.nn.softmax, arch)


def step(key, state, train, val, *, net, tx, hp):
  """The architecture first, then the params under the new architecture."""
  del key
  if hp.order == 1:
    state, on_val = bilevel.arch_step(state, val, net=net, tx=tx, weights=weights)
  else:
    state, on_val = unrolled.arch_step(
      state, train, val, net=net, tx=tx, weights=weights, hvp=hp.hvp
    )
  state, on_train = bilevel.weight_step(state, train, net=net, tx=tx, weights=weights(state.arch))
  return state.replace(step=state.step + 1), on_train | on_val


def decode(key, state, *, net, hp):
  """The genotype of the current weights."""
  del key, hp
  return net.space.decode(weights(state.arch))
