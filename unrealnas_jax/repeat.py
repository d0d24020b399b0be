"""Equal parts of a network as a loop, because XLA compiles a loop's body once but every call anew.

In plain form (layers.Mode) the loop is written out and its choices are made while tracing.
"""

import jax
import jax.numpy as jnp
from jax import lax


def over(plain, body, carry, parts):
  """Goes with body(carry, part) -> (carry, found) from part to part; (carry, [found, ...]).

  parts: trees of the same form; a Python number in them is one in plain form, else a traced [].
  """
  if plain:
    found = []
    for part in parts:
      carry, y = body(carry, part)
      found.append(y)
    return carry, found
  stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)
  carry, found = lax.scan(body, carry, stacked)
  return carry, [jax.tree.map(lambda leaf: leaf[n], found) for n in range(len(parts))]  # noqa: B023


def choose(condition, run, otherwise, *arguments):
  """run(*arguments) where the condition holds, else otherwise(*arguments); one of them is computed.

  condition: a bool in plain form, else a traced []
  """
  if isinstance(condition, bool):
    return (run if condition else otherwise)(*arguments)
  return lax.cond(condition, run, otherwise, *arguments)
