"""The one place that knows devices: data parallelism by `jax.pmap` over all of them.

State is whole on every device and carries no device axis; only batches are split. A step must bring
all it returns to the same value on every device with `mean`. Under pmap, forgetting it is silent;
`jax.vmap(step, axis_name=AXIS, in_axes=(None, None, 0, 0), out_axes=(None, None))` raises for it.
"""

import chex
import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = 'devices'
MEAN = 'mean_over_devices'  # name of what `mean` computes in traces and profiles


def mean(tree):
  """Averages every leaf over the devices; only inside a step.

  tree: float leaves of any shape; the same on all devices afterwards.
  """
  with jax.named_scope(MEAN):
    return jax.lax.pmean(tree, AXIS)


def pmap_step(step, batches=2, donate=True):
  """Runs `step(key, state, *batches) -> (state, metrics)` on all devices at once.

  batches: how many trailing arguments are split: leaves [D, ...], one row a device, as `shard`
    makes them. Search has two (train, val), retraining and evaluation one.
  donate: the old state's memory is given to the new state, and using the old one raises.
    Evaluation, which returns no new state, sets False.
  Key and state come from `replicate`: placed otherwise, the second call would compile once more.
  """
  run = jax.pmap(
    step,
    axis_name=AXIS,
    in_axes=(None, None) + (0,) * batches,
    out_axes=None,
    donate_argnums=(1,) if donate else (),
  )
  if jax.default_backend() != 'cpu' or jax.device_count() == 1:
    return run

  def run_to_the_end(*args):
    # XLA's collectives on CPU hang for good when some hundred calls are under way at once.
    return jax.block_until_ready(run(*args))

  run_to_the_end.lower = run.lower
  return run_to_the_end


def replicate(tree):
  """Puts one whole copy on each local device, without a leading device axis."""
  # A copy, so that donating the result never deletes what the caller still holds.
  return jax.device_put(tree, _sharding(jax.local_devices()), may_alias=False)


def shard(batch, axis=0):
  """Splits this process's part of a batch over its devices and starts the transfer.

  batch: leaves [B*D, ...] with axis=0 -> [D, B, ...]; leaves [S, B*D, ...] with axis=1 (S steps
    run by one call) -> [D, S, B, ...]. D counts this process's devices.
  """
  devices = jax.local_devices()

  def split(x):
    x = np.asarray(x)
    chex.assert_is_divisible(x.shape[axis], len(devices))
    rows = x.reshape(*x.shape[:axis], len(devices), -1, *x.shape[axis + 1 :])
    return np.moveaxis(rows, axis, 0)

  return jax.device_put(jax.tree.map(split, batch), _sharding(devices, AXIS))


def to_global(tree):
  """Turns replicated local arrays into global ones, which Orbax needs with several processes.

  Nothing is copied: both share their memory, so donating one deletes the other.
  """
  return _over(tree, jax.devices())


def to_local(tree):
  """Undoes `to_global`: gives the form that `pmap_step` takes, sharing its memory."""
  return _over(tree, jax.local_devices())


def global_sharding():
  """Of an array that every device of every process holds whole."""
  return _sharding(jax.devices())


def is_primary():
  """Whether this process is the one that writes files and shows progress."""
  return jax.process_index() == 0


def barrier(name):
  """Waits until every process has come to the barrier of this name."""
  if jax.process_count() > 1:
    multihost_utils.sync_global_devices(name)


def all_agree(fact):
  """Whether a fact holds in every process; they must all ask."""
  if jax.process_count() == 1:
    return bool(fact)
  return bool(np.all(multihost_utils.process_allgather(np.array(fact))))


def _sharding(devices, *spec):
  return NamedSharding(Mesh(np.array(devices), (AXIS,)), PartitionSpec(*spec))


def _over(tree, devices):
  sharding = _sharding(devices)

  def rewrap(x):
    pieces = [piece.data for piece in x.addressable_shards]
    return jax.make_array_from_single_device_arrays(x.shape, sharding, pieces)

  return jax.tree.map(rewrap, tree)
