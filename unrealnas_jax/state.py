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
class GeneratorState:
  """The training of a generator after `step` updates of it, whole on every device.

  generator, discriminator: {'params', 'batch_stats'}; ema: the generator's, averaged over steps,
  which is what images are sampled from; generator_opt, discriminator_opt: of the two optimizers.
  """

  step: jax.Array
  generator: Any
  discriminator: Any
  ema: Any
  generator_opt: Any
  discriminator_opt: Any


@struct.dataclass
class RetrainState:
  """A retraining after `step` steps, whole on every device; fields as in SearchState."""

  step: jax.Array
  params: Any
  batch_stats: Any
  weight_opt: Any
