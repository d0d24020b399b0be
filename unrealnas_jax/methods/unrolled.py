"""The architecture's gradient through one step of the params: second order.

After a step on train the params depend on the architecture a through the gradient of that step,

  w'(a) = w - eta (m b + grad_w L_train(w, a) + d w)

with learning rate eta, momentum m of the buffer b, weight decay d. With v = grad_w' L_val(w', a)

  d/da L_val(w'(a), a) = grad_a L_val(w', a) - eta d/da (grad_w L_train(w, a) . v)

where the last term is the derivative of grad_a L_train(w, a) when w moves along -eta v.
Source: Liu, Simonyan, Yang 2019, DARTS, equations 6 to 8; cnn/architect.py of the official code.
"""

import functools

import jax
import jax.numpy as jnp
import optax

from unrealnas_jax import parallel

RADIUS = 0.01  # how far a finite difference goes to either side, L2 norm over all leaves


def second_order(state, val, *, train, net, tx, weights, dropout, hvp):
  """The gradient of the architecture for the loss on val, at params that went one step on train.

  That step is not clipped, and not kept.
  weights: arch -> {kind: [E, O]}; hvp: key of HVP
  -> ((loss, (batch_stats, logits)), gradient averaged over the devices); loss, logits and the moved
  running statistics are those of the pass over val, what the passes over train see is dropped.
  """
  # Every gradient is averaged where it is taken, for what follows is not linear in it.

  def loss(params, arch, examples, of_net=net.train_loss, **form):
    mixing = weights(arch)
    return of_net(params, state.batch_stats, mixing, *examples, dropout=dropout, **form)

  def unroll(gradient):
    updates, _ = tx.unrolled.update(gradient, state.weight_opt, state.params)
    return optax.apply_updates(state.params, updates)

  def arch_gradient(params):
    form = {'twice': True} if hvp == 'exact' else {}
    gradient, _ = jax.grad(loss, 1, has_aux=True)(params, state.arch, train, **form)
    return parallel.mean(gradient)

  gradient, _ = jax.grad(loss, has_aux=True)(state.params, state.arch, train)
  params, back = jax.vjp(unroll, parallel.mean(gradient))
  on_val = functools.partial(loss, of_net=net.loss)
  found, gradients = jax.value_and_grad(on_val, (0, 1), has_aux=True)(params, state.arch, val)
  v, direct = parallel.mean(gradients)
  (direction,) = back(v)  # -eta v
  correction = HVP[hvp](arch_gradient, state.params, direction)
  return found, jax.tree.map(jnp.add, direct, correction)


def exact(gradient, x, v):
  """The derivative of gradient at x along v, that is H v for a matrix H of second derivatives.

  gradient: x -> the gradient with respect to x or to anything else, of which jax.jvp can be taken:
  of a supernet, by its loss with twice=True. x, v: trees of the same shapes.
  """
  return jax.jvp(gradient, (x,), (v,))[1]


def finite_difference(gradient, x, v):
  """H v as in `exact`, by the gradients at two points at distance RADIUS from x along v.

  For any gradient, but it needs float32. It sees ReLUs switch between the two points, and `exact`
  does not.
  """
  radius = RADIUS / jnp.maximum(optax.tree.norm(v), jnp.finfo(jnp.float32).tiny)

  def gradient_at(side):
    moved = jax.tree.map(lambda x, v: x + side * radius * v, x, v)
    # TPUs and GPUs may round factors to fewer digits than the difference is made of.
    with jax.default_matmul_precision('highest'):
      return gradient(moved)

  # A loop, so that the gradient is compiled once.
  gradients = jax.lax.map(gradient_at, jnp.array([1.0, -1.0]))
  return jax.tree.map(lambda g: (g[0] - g[1]) / (2 * radius), gradients)


HVP = {'exact': exact, 'finite_difference': finite_difference}
