"""What the supernet and the methods need to know of a search space."""

from collections.abc import Callable
from typing import NamedTuple


class Space(NamedTuple):
  """A space of cells with E edges, each a mix of O candidate operations.

  ops: names of the O candidates, in the order of the columns of mixing weights.
  edges: E pairs (source, destination) of states, in the order of their rows; states are numbered
    from the cell's inputs on, and edges are sorted by destination.
  inputs, nodes: number of input states of a cell and of states it computes.
  kinds: names of the kinds of cells, which all share their mixing weights.
  kind_of: (cell, cells) -> the kind of a cell in a network of so many.
  decode: mixing weights {kind: [E, O]} -> Genotype.
  """

  ops: tuple[str, ...]
  edges: tuple[tuple[int, int], ...]
  inputs: int
  nodes: int
  kinds: tuple[str, ...]
  kind_of: Callable
  decode: Callable
