"""Rows of trees of stacked arrays, by numbers that are known to be within bounds.

An index in brackets is taken for one that may be negative or out of bounds; in a loop that costs
kernels, and a second pass over what is put.
"""

import jax
import jax.numpy as jnp
from jax import lax


def at(tree, number):
  """The row of some number of each leaf."""

  def of_leaf(leaf):
    start, size = (number, *[0] * (leaf.ndim - 1)), (1, *leaf.shape[1:])
    return lax.dynamic_slice(leaf, start, size, allow_negative_indices=False)[0]

  return jax.tree.map(of_leaf, tree)


def put(tree, number, values):
  """The tree with other values in the row of some number; values: a tree of rows."""

  def of_leaf(leaf, value):
    start = number, *[0] * (leaf.ndim - 1)
    return lax.dynamic_update_slice(leaf, value[None], start, allow_negative_indices=False)

  return jax.tree.map(of_leaf, tree, values)


def add(tree, other):
  """The sums of the leaves of two trees."""
  return jax.tree.map(jnp.add, tree, other)
