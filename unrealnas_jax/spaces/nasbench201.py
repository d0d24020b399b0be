"""The space of NAS-Bench-201: one input, three nodes, 6 edges, 5 candidate operations.

Source: Dong, Yang 2020, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture
Search"; AutoDL-Projects, models/cell_searchs.
"""

import jax
import jax.numpy as jnp
import numpy as np

from unrealnas_jax.nasbench201 import EDGES, OPS, Architecture
from unrealnas_jax.skeletons import nasbench201 as skeleton
from unrealnas_jax.spaces.space import Space


def decode(weights):
  """Each edge's strongest operation, none included; of equal ones the first, as officially.

  weights: {'normal': [E, O]}
  """
  return Architecture(tuple(OPS[column] for column in np.asarray(weights['normal']).argmax(1)))


def skips(architecture):
  """Rows of the edges that are identities."""
  return [row for row, op in enumerate(architecture.ops) if op == 'skip_connect']


def sample(key):
  """A uniformly random cell: [E] int32, the number of each edge's operation."""
  return jax.random.randint(key, (len(EDGES),), 0, len(OPS), jnp.int32)


SPACE = Space(
  ops=OPS,
  edges=EDGES,
  inputs=1,
  nodes=3,
  outputs=(3,),
  kinds=('normal',),
  kind_of=lambda cell, cells: 'normal',
  skeleton=skeleton,
  pool_norm=False,
  identity_turns=False,
  genes=tuple((row,) for row in range(len(EDGES))),
  sample=sample,
  decode=decode,
  skips=skips,
)
