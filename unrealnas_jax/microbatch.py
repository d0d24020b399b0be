"""A batch computed in parts, one after the other, so that activations need the memory of one part.

Every part's activations are computed again for its gradient. Batch norm normalises a part by its
own statistics, as ghost batch norm does (Hoffer et al. 2017, "Train longer, generalize better"),
so parts give another loss than the whole batch would.
"""

import chex
import jax
import jax.numpy as jnp
from jax import lax


def mean_loss(loss, examples, size, axis_name=None):
  """The mean of a loss over the parts of a batch: what `loss` gives, of the whole batch.

  loss: (number of the part, *examples of the part) -> (mean loss [], (new running statistics,
    logits [B, ...])); it can be differentiated with respect to what it closes over.
  examples: trees of arrays [B, ...] of one device.
  size: images of a part over all devices along axis_name; 0 for one part.
  Every part starts from the same running statistics and what comes out is averaged: a step moves
  them once, as by a whole batch, and the order of the parts does not matter.
  """
  everywhere = len(jax.tree.leaves(examples)[0]) * (lax.axis_size(axis_name) if axis_name else 1)
  parts = everywhere // size if size else 1
  if parts <= 1:
    return loss(0, *examples)

  # Part n has the examples n, n + parts, n + 2 parts, ...: the same ones on any number of devices.
  def split(x):
    chex.assert_is_divisible(len(x), parts)
    return x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1)

  def one(_, part):
    return None, loss(*part)

  numbered = jnp.arange(parts), *jax.tree.map(split, examples)
  one = jax.checkpoint(one, prevent_cse=False)
  _, (values, (stats, logits)) = lax.scan(one, None, numbered)
  logits = logits.swapaxes(0, 1).reshape(-1, *logits.shape[2:])
  value, stats = jax.tree.map(lambda x: x.mean(0), (values, stats))
  return value, (stats, logits)
