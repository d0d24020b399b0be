"""Equal parts of a network as a loop, because XLA compiles a loop's body once but every call anew.

Short rows are written out all the same: a loop keeps copies of what its body needs on the way
back. The search step of DARTS (batch 16, three rows of 2, 3 and 3 cells) on 2 cores took 1.44 s
and 146 MB written out, 1.6 s and 248 MB in loops, with 46 and 40 s to compile, when a step's two
updates were compiled each; of 20 cells, 6 to 7 a row, loops compiled in 50 s. What is written out,
as all is in plain form (layers.Mode), makes its choices while it is traced.
"""

import operator

import jax
import jax.numpy as jnp
from jax import lax

LONGEST = 3  # row that is written out


def over(mode, body, carry, parts):
  """Goes with body(carry, part) -> (carry, found) from part to part; (carry, [found, ...]).

  mode: layers.Mode; jax.jvp of a gradient does not go through a loop with rules of its own, so with
  `twice` there is none
  parts: trees of the same form; a Python number in them stays one where the row is written out,
  and is a traced [] in a loop
  """
  if mode.plain or mode.twice or len(parts) <= LONGEST:
    found = []
    for part in parts:
      carry, y = body(carry, part)
      found.append(y)
    return carry, found
  stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)
  carry, found = lax.scan(body, carry, stacked)
  return carry, [jax.tree.map(operator.itemgetter(n), found) for n in range(len(parts))]


def choose(condition, run, otherwise, *arguments):
  """run(*arguments) where the condition holds, else otherwise(*arguments); one of them is computed.

  condition: a bool where it is known, else a traced []
  """
  if isinstance(condition, bool):
    return (run if condition else otherwise)(*arguments)
  return lax.cond(condition, run, otherwise, *arguments)
