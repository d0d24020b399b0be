"""DrNAS: mixing weights are drawn from Dirichlet distributions, whose parameters are learned.

The gradient goes through the sample (implicit reparameterisation, jax.random.loggamma). Each update
draws its own sample, officially too. What keeps the distributions near Dirichlet(1) is officially a
decay of the alphas (method.arch_weight_decay); method.drnas.kl adds the divergence instead.
Source: Chen et al. 2021, "DrNAS: Dirichlet Neural Architecture Search"; xiangning-chen/DrNAS,
DARTS-space/model_search.py, 201-space/search_model.py, architect.py and utils.py.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.special import digamma, gammaln

from unrealnas_jax.methods import alphas, bilevel

SPARSE = False


def init(key, *, net, hp):
  """Alphas {kind: [E, O]}."""
  del hp
  return alphas.init(key, net.space)


def weights(arch, *, net, hp):
  """The means of the distributions; rows sum to 1."""
  return _as_weights(_concentrations(arch, net, hp), net, hp)


def draw(key, arch, *, net, hp):
  """A sample of weights {kind: [E, O]}; rows sum to 1."""
  concentrations = _concentrations(arch, net, hp)
  return _as_weights(alphas.map_with_keys(jax.random.dirichlet, key, concentrations), net, hp)


def step(key, state, train, val, *, net, tx, hp):
  """The distributions first, then the params under a sample of the new ones."""
  for_arch, for_params = (
    functools.partial(draw, jax.random.fold_in(key, number), net=net, hp=hp) for number in (0, 1)
  )
  return bilevel.alternate(
    *(state, train, val),
    net=net,
    tx=_regularised(tx, net, hp) if hp.drnas.kl else tx,
    hp=hp,
    weights=for_arch,
    train_weights=lambda state: for_params(state.arch),
  )


def decode(key, state, *, net, hp):
  """The genotype of the means, as in the paper.

  The official code takes the softmax of the alphas: each edge has the same operation, but edges may
  rank otherwise.
  """
  del key
  return alphas.decode(net.space, weights(state.arch, net=net, hp=hp), hp)


def divergence(arch, *, net, hp):
  """Sum over all edges of KL(Dirichlet(concentration) || Dirichlet(1))."""

  def of_kind(c):
    total, uniform = c.sum(-1), gammaln(c.shape[-1])
    means = digamma(c) - digamma(total)[:, None]  # of the logarithm of what is drawn
    return (gammaln(total) - gammaln(c).sum(-1) - uniform + ((c - 1) * means).sum(-1)).sum()

  return sum(map(of_kind, _concentrations(arch, net, hp).values()))


def _regularised(tx, net, hp):
  # The divergence's gradient depends on the architecture alone, as a decay does.
  def update(gradient, opt_state, arch):
    pull = jax.grad(functools.partial(divergence, net=net, hp=hp))(arch)
    gradient = jax.tree.map(lambda g, p: g + hp.drnas.kl * p, gradient, pull)
    return tx.arch.update(gradient, opt_state, arch)

  return tx._replace(arch=optax.GradientTransformation(tx.arch.init, update))


def _concentrations(arch, net, hp):
  # {kind: [E, number of candidates]}, those included that net.kept leaves out.
  columns = _candidates(net.space, hp)
  return jax.tree.map(lambda table: jax.nn.elu(table[:, columns]) + 1, arch)


def _as_weights(shares, net, hp):
  # {kind: [E, O]}: shares of the candidates as they are to each other, 0 for all that is not mixed.
  # What is left of a Dirichlet sample is, so scaled, a sample of what is left of the distribution.
  columns, shape = _candidates(net.space, hp), (len(net.space.edges), len(net.space.ops))

  def of_kind(kind):
    table = jnp.zeros(shape).at[:, columns].set(shares[kind])
    table = table if net.kept is None else table * net.kept[kind]
    return table / table.sum(-1, keepdims=True)

  return {kind: of_kind(kind) for kind in shares}


def _candidates(space, hp):
  return np.array([n for n, op in enumerate(space.ops) if op != 'none' or hp.drnas.none])
