"""Cells of NAS-Bench-201 and their text form, the arch string.

Source: Dong and Yang 2020, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture
Search", and its official code, xautodl/models/cell_searchs/genotypes.py and cell_operations.py.
"""

import itertools
import re
from typing import NamedTuple

OPS = ('none', 'skip_connect', 'nor_conv_1x1', 'nor_conv_3x3', 'avg_pool_3x3')  # official order
NODES = 4
# (source, node) of every edge, in the order in which an arch string names them.
EDGES = tuple((source, node) for node in range(NODES) for source in range(node))
FORM = '|op~0|+|op~0|op~1|+|op~0|op~1|op~2|'


class Architecture(NamedTuple):
  """A cell; node 0 is its input, every other node the sum of its edges, the last its output.

  ops: names of the operations on the edges (0,1), (0,2), (1,2), (0,3), (1,3), (2,3).
  """

  ops: tuple[str, ...]


def to_text(architecture: Architecture) -> str:
  """The arch string: `|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|...`."""
  return FORM.replace('op', '{}').format(*architecture.ops)


def from_text(text: str, where: str = 'architecture') -> Architecture:
  """Reads an arch string; white space around it is ignored.

  Raises: ValueError naming `where`, and the node or edge at fault.
  """
  nodes, forms, ops = text.strip().split('+'), FORM.split('+'), []
  if len(nodes) != len(forms):
    raise ValueError(f'{where}: {text[:120]!r} names {len(nodes)} nodes; allowed: 3 as in {FORM}')
  for number, (node, form) in enumerate(zip(nodes, forms, strict=True), start=1):
    match = re.fullmatch(re.escape(form).replace('op', '([^|~]*)'), node)
    if not match:
      raise ValueError(f'{where}: node {number} is {node[:80]!r}; allowed: {form}')
    ops += match.groups()
  architecture = Architecture(tuple(ops))
  validate(architecture, where)
  return architecture


def validate(architecture: Architecture, where: str = 'architecture') -> None:
  """Checks that the cell can be built.

  Raises: ValueError naming `where`, the edge at fault and what is allowed.
  """
  ops = architecture.ops
  if len(ops) != len(EDGES):
    raise ValueError(f'{where} has {len(ops)} operations; allowed: one for each of 6 edges')
  for name, (source, node) in zip(ops, EDGES, strict=True):
    if name not in OPS:
      raise ValueError(
        f'{where}: edge from node {source} to node {node}: unknown operation {name!r}; '
        f'known: {", ".join(OPS)}'
      )


def architectures() -> tuple[Architecture, ...]:
  """All 15,625 cells, the operation of the last edge changing fastest."""
  return tuple(map(Architecture, itertools.product(OPS, repeat=len(EDGES))))
