"""How sharp the loss on the architecture's half is: the dominant eigenvalue of its Hessian.

It grows before a search collapses, so a search can be stopped there and its architecture of some
epochs before taken. Source: Zela et al. 2020, "Understanding and Robustifying Differentiable
Architecture Search" (DARTS-ES), section 4; RobustDARTS, src/search/analyze.py, train_search.py,
EVLocalAvg of src/utils.py.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

ITERATIONS = 12  # of the power method


def dominant(product, like, key):
  """The eigenvalue of largest magnitude of a symmetric matrix H, by the power method.

  product: v -> H v; like: a tree shaped as v. The matrix itself is never made. -> []
  """
  leaves, structure = jax.tree.flatten(like)
  keys = jax.random.split(key, len(leaves))
  start = [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]

  def iterate(_, carry):
    v, _ = carry
    image = product(v)
    return _unit(image), optax.tree.vdot(v, image)

  first = _unit(jax.tree.unflatten(structure, start))
  return jax.lax.fori_loop(0, ITERATIONS, iterate, (first, jnp.float32(0)))[1]


def turning_point(epochs, config):
  """What was written of the epoch that the architecture is taken of; None if the search goes on.

  epochs: of each epoch so far {name: value}; measured ones have 'eigenvalue', None where it was not
  finite. A search that comes to its last epoch is not cut short any more.
  """
  before_last = epochs[: config.search.epochs - 1]
  measured = [x for x in before_last if x.get('eigenvalue') is not None]
  found = sharp_since([x['eigenvalue'] for x in measured], config.method.eigenvalue)
  return None if found is None else measured[found]


def sharp_since(values, hp):
  """Which of the values so far the architecture is taken of, an index; None to go on.

  values: eigenvalues, one a measure. hp: config.method.eigenvalue. The search has gone too far once
  the average of their magnitudes over hp.window measures is hp.factor times the one of hp.back
  measures before. An average stands for the measure in the middle of its window, so what is taken
  lies half a window further back than that; never an epoch before hp.first.
  """
  # Early in a search the dominant one is often negative, and then any change would be growth.
  sizes = np.abs(values)
  averages = [np.mean(sizes[max(n - hp.window + 1, 0) : n + 1]) for n in range(len(sizes))]
  for now in range(len(values)):
    taken = now - hp.back - hp.window // 2
    early = taken < 0 or (taken + 1) * hp.every < hp.first
    if not early and averages[now] > hp.factor * averages[now - hp.back]:
      return taken
  return None


def _unit(tree):
  length = jnp.maximum(optax.tree.norm(tree), jnp.finfo(jnp.float32).tiny)
  return jax.tree.map(lambda leaf: leaf / length, tree)
