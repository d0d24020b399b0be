"""GDAS: a sampled cell is judged and trained at each step, and gradients reach the sampler.

Only the sampled operations are computed: their weight is exactly 1, that of the others exactly 0.
The paper trains a sampled cell and then judges that one, so both updates of a step have the same
sample; the official code draws anew for each, and updates the weights first. Its supernet of
NAS-Bench-201 also adds the zeros of operations that are not sampled, which gives these weights the
gradient of a constant image; the one of the DARTS space does not, nor does this file.
Source: Dong, Yang 2019, "Searching for a Robust Neural Architecture in Four GPU Hours";
AutoDL-Projects, exps/NAS-Bench-201-algos/GDAS.py and models/cell_searchs/search_model_gdas*.py.
"""

import jax
import jax.numpy as jnp
from jax import lax

from unrealnas_jax.methods import alphas, bilevel

SPARSE = True


def init(key, *, net, hp):
  """Alphas {kind: [E, O]}."""
  del hp
  return alphas.init(key, net.space)


def weights(arch, *, net, hp):
  """The probabilities of the operations of each edge; rows sum to 1."""
  del hp
  return alphas.softmax(arch, net)


def draw(key, tau, tables):
  """One-hot samples {kind: [E, O]} of softmax(tables).

  The gradient of a 1 goes on as that of its probability in softmax((tables + Gumbel noise) / tau),
  the gradient of a 0 nowhere.
  """

  def of_kind(key, table):
    noisy = table + jax.random.gumbel(key, table.shape)
    soft = jax.nn.softmax(noisy / tau)
    chosen = jax.nn.one_hot(noisy.argmax(-1), table.shape[-1])
    return chosen * (1 + (soft - lax.stop_gradient(soft)))

  return alphas.map_with_keys(of_kind, key, tables)


def temperature(step, *, tx, hp):
  """Tau of a step, linear over epochs from the first one's to the last one's, where it stays."""
  last = max(tx.steps // tx.epoch_steps - 1, 0)
  epoch = jnp.minimum(step // tx.epoch_steps, last)  # a selection by perturbation goes on after it
  return hp.gdas.tau + (hp.gdas.tau_end - hp.gdas.tau) * epoch / max(last, 1)


def step(key, state, train, val, *, net, tx, hp):
  """The sampler first, then the params of the sampled cell."""
  tau = temperature(state.step, tx=tx, hp=hp)

  def mixing(arch):
    return draw(key, tau, alphas.kept_only(arch, net))

  def sampled(_):
    # Of the alphas before their update: by those after it the same noise can choose another cell.
    return mixing(state.arch)

  return bilevel.alternate(
    state, train, val, net=net, tx=tx, hp=hp, weights=mixing, train_weights=sampled
  )


def decode(key, state, *, net, hp):
  """The genotype of the probabilities.

  The official code ranks a DARTS node's operations of all edges together, so that both it keeps may
  come from one edge; here they come from two, as in DARTS.
  """
  del key
  return alphas.decode(net.space, weights(state.arch, net=net, hp=hp), hp)
