"""What the supernet and the methods need to know of a search space."""

from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple


class Space(NamedTuple):
  """A space of cells with E edges, each a mix of O candidate operations.

  ops: names of the O candidates, in the order of the columns of mixing weights.
  edges: E pairs (source, destination) of states, in the order of their rows; states are numbered
    from the cell's inputs on, and edges are sorted by destination.
  inputs, nodes: number of input states of a cell and of states it computes.
  outputs: the states that a cell's output is made of.
  kinds: names of the kinds of cells, which all share their mixing weights.
  kind_of: (cell, cells) -> the kind of a cell in a network of so many.
  skeleton: the file of `skeletons` that puts the cells together.
  pool_norm: in the supernet a norm follows pools.
  identity_turns: the identity counts as a unit matrix in angles (angle.py), else as nothing.
  genes: groups of edges that an architecture inherits as one.
  sample: key -> [E] int32, a random cell as the number of each edge's operation.
  decode: mixing weights {kind: [E, O]} -> genotype.
  fits: codes {kind: [E]} of one cell -> whether it is within the limits; None: there are none.
  skips: genotype -> rows of the edges of the normal cell that are identities.
  """

  ops: tuple[str, ...]
  edges: tuple[tuple[int, int], ...]
  inputs: int
  nodes: int
  outputs: tuple[int, ...]
  kinds: tuple[str, ...]
  kind_of: Callable
  skeleton: ModuleType
  pool_norm: bool
  identity_turns: bool
  genes: tuple[tuple[int, ...], ...]
  sample: Callable
  decode: Callable
  skips: Callable
  fits: Callable | None = None
