"""The DARTS space: two inputs, four nodes, 14 edges, 8 candidate operations.

Source: Liu, Simonyan, Yang 2019, "DARTS: Differentiable Architecture Search", cnn/genotypes.py and
cnn/model_search.py of its official code.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from unrealnas_jax.genotype import Genotype
from unrealnas_jax.skeletons import darts as skeleton
from unrealnas_jax.spaces.space import Space

OPS = (
  'none',
  'max_pool_3x3',
  'avg_pool_3x3',
  'skip_connect',
  'sep_conv_3x3',
  'sep_conv_5x5',
  'dil_conv_3x3',
  'dil_conv_5x5',
)
INPUTS, NODES, KEPT = 2, 4, 2


def make(ops=OPS, nodes=NODES):
  """The space of cells with some candidate operations, none among them, and a number of nodes."""
  states = range(INPUTS, INPUTS + nodes)
  edges = tuple((source, node) for node in states for source in range(node))
  # Edges into one node are one gene: which two of them it keeps is one choice.
  genes = tuple(
    tuple(row for row, (_, destination) in enumerate(edges) if destination == node)
    for node in states
  )
  return Space(
    ops=ops,
    edges=edges,
    inputs=INPUTS,
    nodes=nodes,
    outputs=tuple(states),
    kinds=('normal', 'reduce'),
    kind_of=kind_of,
    skeleton=skeleton,
    pool_norm=True,
    identity_turns=True,
    genes=genes,
    sample=functools.partial(_sample, ops, genes),
    decode=functools.partial(_decode, ops, edges, genes),
    skips=functools.partial(_skips, edges),
  )


def kind_of(cell, cells):
  """Kind of cell number `cell` of `cells`: the ones at a third and two thirds reduce."""
  return 'reduce' if cell in (cells // 3, 2 * cells // 3) else 'normal'


def _decode(ops, edges, genes, weights):
  """Keeps for each node its two strongest edges, each with its strongest operation but none.

  weights: {'normal': [E, O], 'reduce': [E, O]}, the softmax taken over all operations, none too.
  The stronger edge comes first; of equal ones the first in order wins, as in the official code.
  """
  concat = tuple(range(INPUTS, INPUTS + len(genes)))
  normal, reduce = (
    _decode_cell(ops, edges, genes, np.asarray(weights[kind])) for kind in ('normal', 'reduce')
  )
  return Genotype(normal, concat, reduce, concat)


def _decode_cell(ops, edges, genes, weights):
  candidates = np.delete(weights, ops.index('none'), axis=1)
  names = [op for op in ops if op != 'none']
  gene = []
  for incoming in genes:
    strongest = sorted(incoming, key=lambda edge: -candidates[edge].max())[:KEPT]
    gene += [(names[candidates[edge].argmax()], edges[edge][0]) for edge in strongest]
  return tuple(gene)


def _skips(edges, genotype):
  chosen = enumerate(genotype.normal)
  return [edges.index((s, INPUTS + n // KEPT)) for n, (op, s) in chosen if op == 'skip_connect']


def _sample(ops, genes, key):
  """A cell whose nodes have two incoming edges each with an operation that is not none.

  All such cells are equally likely. -> [E] int32, the number of each edge's operation
  """
  ops_key, edges_key = jax.random.split(key)
  count, none = sum(map(len, genes)), ops.index('none')
  chosen = jax.random.randint(ops_key, (count,), 0, len(ops) - 1)
  chosen += chosen >= none
  order = jax.random.uniform(edges_key, (count,))
  kept = [jnp.argsort(jnp.argsort(order[np.array(rows)])) < KEPT for rows in genes]
  return jnp.where(jnp.concatenate(kept), chosen, none).astype(jnp.int32)


SPACE = make()
