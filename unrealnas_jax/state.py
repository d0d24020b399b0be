"""What a run has to remember, arrays only: no functions, no keys, no Python numbers.

Keys are not part of it: a run has one seed, and step n draws from fold_in(key, n). So a run that
was stopped and restored goes on bit for bit as one that never stopped.
"""

from typing import Any

import jax
from flax import struct


@struct.dataclass
class SearchState:
  """A search after `step` steps, whole on every device.

  step: [] int32; params, batch_stats: of the supernet; arch: what the method learns about the
  architecture; weight_opt, arch_opt: states of the two optimizers.
  """

  step: jax.Array
  params: Any
  batch_stats: Any
  arch: Any
  weight_opt: Any
  arch_opt: Any


@struct.dataclass
class RetrainState:
  """A retraining after `step` steps, whole on every device; fields as in SearchState."""

  step: jax.Array
  params: Any
  batch_stats: Any
  weight_opt: Any
