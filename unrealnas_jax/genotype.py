"""The discrete architecture a search ends with: its text and JSON forms, and the published ones.

There are two kinds: the Genotype of DARTS, and the Architecture of NAS-Bench-201. Every function
here takes or gives either.
"""

import ast
import json
import os
import pathlib
from typing import NamedTuple

from unrealnas_jax import nasbench201
from unrealnas_jax.nasbench201 import Architecture

# Operations an evaluation network can be built of: the 8 DARTS primitives in their official order,
# then two that only the NASNet and AmoebaNet cells use.
OPS = (
  'none',
  'max_pool_3x3',
  'avg_pool_3x3',
  'skip_connect',
  'sep_conv_3x3',
  'sep_conv_5x5',
  'dil_conv_3x3',
  'dil_conv_5x5',
  'sep_conv_7x7',
  'conv_7x1_1x7',
)


class Genotype(NamedTuple):
  """Two cells; node 2 + i of a cell sums its edges 2i and 2i + 1, nodes 0 and 1 are its inputs.

  normal, reduce: edges as (operation, number of the node it comes from).
  normal_concat, reduce_concat: numbers of the nodes whose channels make the cell's output.
  Source: Liu et al. 2019, DARTS, cnn/genotypes.py.
  """

  normal: tuple[tuple[str, int], ...]
  normal_concat: tuple[int, ...]
  reduce: tuple[tuple[str, int], ...]
  reduce_concat: tuple[int, ...]


def to_text(genotype: Genotype | Architecture) -> str:
  """The official text: `Genotype(normal=[('sep_conv_3x3', 1), ...` or `|none~0|+|...`."""
  if isinstance(genotype, Architecture):
    return nasbench201.to_text(genotype)
  fields = (f'{name}={_field_text(value)}' for name, value in genotype._asdict().items())
  return f'Genotype({", ".join(fields)})'


def from_text(text: str, where: str = 'genotype') -> Genotype | Architecture:
  """Reads an arch string, or a Genotype(...) with or without a log line; nothing is evaluated.

  Raises: ValueError naming `where` if the text is no genotype or breaks a rule of `validate`.
  """
  if text.lstrip().startswith('|'):
    return nasbench201.from_text(text, where)
  try:
    call = ast.parse(text[text.index('Genotype(') :].strip(), mode='eval').body
    fields = {keyword.arg: _field_value(keyword.value) for keyword in call.keywords}
    if call.args:
      raise ValueError('fields without a name')
  except (ValueError, SyntaxError, AttributeError, TypeError) as error:
    raise ValueError(
      f'{where}: {text[:60]!r} is not of the form Genotype(normal=[...], normal_concat=..., '
      f'reduce=[...], reduce_concat=...): {error}'
    ) from error
  return _from_fields(fields, where)


def to_fields(genotype: Genotype | Architecture) -> dict:
  """What its JSON form holds: the four fields of a Genotype, or the arch string as 'arch'."""
  if isinstance(genotype, Architecture):
    return {'arch': nasbench201.to_text(genotype)}
  return genotype._asdict()


def to_json(genotype: Genotype | Architecture) -> str:
  """The genotype as a JSON object."""
  return json.dumps(to_fields(genotype))


def from_json(text: str, where: str = 'genotype') -> Genotype | Architecture:
  """Reads the JSON form; keys beside those of `to_fields` are ignored.

  Raises: ValueError naming `where` if the text is no genotype or breaks a rule of `validate`.
  """
  try:
    fields = json.loads(text)
  except json.JSONDecodeError as error:
    raise ValueError(f'{where}: not JSON: {error}') from error
  if isinstance(fields, dict) and 'arch' in fields:
    return nasbench201.from_text(str(fields['arch']), f'{where}: arch')
  return _from_fields(fields, where)


def cells(genotype) -> dict[str, tuple[str, ...]]:
  """{kind of cell: names of the operations of its edges}"""
  if isinstance(genotype, Architecture):
    return {'normal': genotype.ops}
  return {kind: tuple(op for op, _ in getattr(genotype, kind)) for kind in ('normal', 'reduce')}


def validate(genotype: Genotype | Architecture, where: str = 'genotype') -> None:
  """Checks that its cells can be built.

  Raises: ValueError naming `where`, the edge or node at fault and what is allowed.
  """
  if isinstance(genotype, Architecture):
    nasbench201.validate(genotype, where)
    return
  for cell in ('normal', 'reduce'):
    _validate_edges(getattr(genotype, cell), f'{where}: {cell}')
    nodes = 2 + len(getattr(genotype, cell)) // 2
    _validate_concat(getattr(genotype, f'{cell}_concat'), nodes, f'{where}: {cell}_concat')


def load(name_or_path: str) -> Genotype | Architecture:
  """The genotype published under a name, that an arch string stands for, or of a file.

  The file is in JSON or the official text form.
  Raises: ValueError if it is none of them (listing the published names) or at fault.
  """
  if name_or_path in PUBLISHED:
    return PUBLISHED[name_or_path]
  if name_or_path.startswith('|'):
    return nasbench201.from_text(name_or_path, f'genotype={name_or_path!r}')
  if not os.path.isfile(name_or_path):  # unlike Path.is_file, no OSError for an overlong name
    raise ValueError(
      f'genotype={name_or_path!r} is neither a file, an arch string nor a published genotype; '
      f'published: {", ".join(PUBLISHED)}'
    )
  try:
    text = pathlib.Path(name_or_path).read_text(encoding='utf-8')
  except UnicodeDecodeError as error:
    raise ValueError(f'genotype={name_or_path!r} is not a text file') from error
  read = from_json if text.lstrip().startswith('{') else from_text
  return read(text, where=f'genotype={name_or_path!r}')


def _field_text(value: tuple) -> str:
  numbers = all(isinstance(number, int) for number in value)
  if value and numbers and value == tuple(range(value[0], value[-1] + 1)):
    return repr(range(value[0], value[-1] + 1))  # the official concat is a range object
  return repr(list(value))


def _field_value(node: ast.expr):
  if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == 'range':
    bounds = [ast.literal_eval(bound) for bound in node.args]
    if len(bounds) > 2 or any(not isinstance(b, int) or abs(b) > 1000 for b in bounds):
      raise ValueError('a range takes one or two small whole numbers')
    return list(range(*bounds))
  return ast.literal_eval(node)


def _from_fields(fields, where: str) -> Genotype:
  if not isinstance(fields, dict) or not set(Genotype._fields) <= set(fields):
    raise ValueError(f'{where}: a genotype needs the fields {", ".join(Genotype._fields)}')
  for name in Genotype._fields:
    if not isinstance(fields[name], list | tuple):
      raise ValueError(f'{where}: {name}={fields[name]!r} must be a list')
  genotype = Genotype(*(_as_tuples(fields[name]) for name in Genotype._fields))
  validate(genotype, where)
  return genotype


def _as_tuples(value):
  return tuple(_as_tuples(v) for v in value) if isinstance(value, list | tuple) else value


def _validate_edges(edges: tuple, where: str) -> None:
  if not edges or len(edges) % 2:
    raise ValueError(
      f'{where} has {len(edges)} edges; allowed: two for every node, at least one node'
    )
  for number, edge in enumerate(edges):
    if not isinstance(edge, tuple) or len(edge) != 2:
      raise ValueError(f'{where} edge {number} is {edge!r}; allowed: (operation, node)')
    name, source = edge
    if name not in OPS:
      raise ValueError(
        f'{where} edge {number}: unknown operation {name!r}; known: {", ".join(OPS)}'
      )
    node = 2 + number // 2
    if type(source) is not int or not 0 <= source < node:
      raise ValueError(
        f'{where} edge {number} into node {node} comes from node {source!r}; '
        f'allowed: 0 to {node - 1}'
      )


def _validate_concat(concat: tuple, nodes: int, where: str) -> None:
  for node in concat:
    if type(node) is not int or not 2 <= node < nodes:
      raise ValueError(f'{where} names node {node!r}; allowed: 2 to {nodes - 1}')
  if not concat or len(set(concat)) != len(concat):
    raise ValueError(f'{where}={list(concat)}; allowed: one or more different nodes')


_FILE = pathlib.Path(__file__).with_name('genotypes.json')
# name -> the genotype's fields, its source, and parameter and multiply-add counts of its networks
RECORDS = json.loads(_FILE.read_text(encoding='utf-8'))['genotypes']
PUBLISHED = {name: _from_fields(record, name) for name, record in RECORDS.items()}
