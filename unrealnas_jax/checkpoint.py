"""Checkpoints of whole states by Orbax: written in the background, the last few kept, never half.

A state is stored as its arrays by path ('arch_opt/0/mu/normal'), so that what a checkpoint holds
can be compared with what a run expects, name by name.
"""

import contextlib
import shutil

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from unrealnas_jax import growing, parallel

SPARE_BYTES = 16 << 20  # that a disk must have beside the arrays: for their index, for metrics


def open(workdir, name, keep):
  """The manager of the checkpoints workdir/checkpoints/name, of which the last `keep` stay.

  What a killed run left half written is removed. All processes take part in every call here.
  Raises ValueError: the disk is full.
  """
  options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
  directory = folder(workdir, name)
  if parallel.is_primary():
    directory.mkdir(parents=True, exist_ok=True)
  parallel.barrier(f'checkpoints {name}')
  manager = _manager(directory, options)
  _check_space(manager)
  return manager


def folder(workdir, name):
  """Where the checkpoints `name` of a workdir lie."""
  workdir = epath.Path(workdir)
  if not growing.is_remote(workdir):
    workdir = workdir.resolve()  # Orbax wants the whole path
  return workdir / 'checkpoints' / name


def save(manager, step, state):
  """Starts saving; the state may be donated to the next step as soon as this returns.

  state: tree of arrays as `parallel.replicate` and `pmap_step` make them. A step that is saved
    already stays as it is.
  Raises ValueError: this state or the last one cannot be written.
  """
  if step in manager.all_steps():
    return
  # Orbax returns once the arrays are on the host. On CPU that may be the very buffer; JAX then
  # gives the next step another one instead of writing over it (checkpoint_test holds both to it).
  flat = parallel.to_global(_flatten(state))
  _check_space(manager, sum(x.nbytes for x in flat.values()))
  with _told(manager):
    saved = manager.save(step, args=ocp.args.StandardSave(flat))
  assert saved, f'step {step} comes before the last saved one, {manager.latest_step()}'


def restore_latest(manager, like):
  """Reads the newest readable checkpoint: (step, state), or None where there is none at all.

  like: a state, or its shapes (jax.eval_shape); the answer has its structure and is placed as
    `replicate` does.
  An unreadable checkpoint is passed over with a warning and put aside as 'unreadable-STEP'.
  Raises ValueError: names, shapes or dtypes differ from `like`, or no checkpoint is readable.
  """
  found, unreadable = _newest(manager, lambda stored: like)
  _put_aside(manager, unreadable)
  return found


def read_newest(workdir, name, make_like):
  """As `restore_latest`, of a workdir of another run, in which nothing is changed.

  make_like: {path: shape} of what is stored -> like
  """
  # Not Orbax's read_only, which warns that it is.
  options = ocp.CheckpointManagerOptions(create=False)
  manager = _manager(folder(workdir, name), options)
  found, _ = _newest(manager, make_like)
  close(manager)
  return found


def wait(manager):
  """Waits until everything saved is on disk. Raises ValueError: it could not be written."""
  with _told(manager):
    manager.wait_until_finished()


def close(manager):
  """Waits as `wait` does and ends the threads of the manager."""
  with _told(manager):
    manager.close()


@contextlib.contextmanager
def _told(manager):
  """Makes one line of what Orbax raises where a checkpoint could not be written."""
  try:
    yield
  except Exception as error:  # tensorstore and the file system each have their own
    raise _unwritten(manager, str(error).strip().split('\n')[0]) from error


def _check_space(manager, array_bytes=0):
  """Raises ValueError where a disk has no room for a checkpoint, before any of it is written."""
  if growing.is_remote(manager.directory):
    return
  needed = array_bytes + SPARE_BYTES
  free = shutil.disk_usage(manager.directory).free
  if free < needed:
    raise _unwritten(manager, f'it needs {needed >> 20} MiB, and {free >> 20} MiB are free')


def _unwritten(manager, reason):
  return ValueError(
    f'no checkpoint can be written to {manager.directory}: {reason}; allowed: a folder that can be '
    'written, with room. The last checkpoint is kept: the same command goes on from there'
  )


def _manager(directory, options):
  manager = ocp.CheckpointManager(
    directory, options=options, item_handlers=ocp.StandardCheckpointHandler()
  )
  # It would tell jax.distributed steps where stop.py tells it calls, and they would not agree.
  manager.reached_preemption = lambda step: False
  return manager


def _newest(manager, make_like):
  """((step, state) of the newest readable checkpoint or None, the unreadable steps after it)."""
  unreadable = []
  for step in sorted(manager.all_steps(), reverse=True):
    state, problem = _read(manager, step, make_like)
    if parallel.all_agree(problem is None):
      return (step, state), unreadable
    logging.warning('Checkpoint %s of %s is unreadable: %s', step, manager.directory, problem)
    unreadable.append(step)
  if unreadable:
    raise ValueError(
      f'{manager.directory}: none of the checkpoints {unreadable} is readable; restore one of '
      'them from a copy, or choose another --workdir'
    )
  return None, unreadable


def _flatten(state):
  """A tree as {path: leaf}."""
  leaves = jax.tree_util.tree_leaves_with_path(state)
  flat = {jax.tree_util.keystr(path, simple=True, separator='/'): x for path, x in leaves}
  assert len(flat) == len(leaves), 'two leaves have the same path'
  return flat


def _read(manager, step, make_like):
  """(state, None), or (None, what makes the checkpoint unreadable)."""
  sharding = parallel.global_sharding()
  try:
    stored = manager.item_metadata(step)
    stored = {k: stored[k] for k in stored}
  except Exception as error:  # tensorstore, JSON and the file system each have their own
    return None, error
  like = make_like({k: tuple(x.shape) for k, x in stored.items()})
  wanted = _flatten(like)
  _compare(f'{manager.directory}/{step}', stored, wanted)
  shapes = {k: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding) for k, x in wanted.items()}
  try:
    flat = manager.restore(step, args=ocp.args.StandardRestore(shapes))
  except Exception as error:
    return None, error
  leaves = [flat[name] for name in wanted]
  return parallel.to_local(jax.tree.unflatten(jax.tree.structure(like), leaves)), None


def _compare(where, stored, wanted):
  """Raises ValueError listing how two {path: array} differ in names, shapes and dtypes."""
  found = {k: f'{x.dtype} {list(x.shape)}' for k, x in stored.items()}
  needed = {k: f'{x.dtype} {list(x.shape)}' for k, x in wanted.items()}
  differing = [
    f'{k} is {found.get(k, "missing")}, this run needs {needed.get(k, "nothing of this name")}'
    for k in sorted(found.keys() | needed.keys())
    if found.get(k) != needed.get(k)
  ]
  if differing:
    more = f'; and {len(differing) - 5} more' if len(differing) > 5 else ''
    raise ValueError(
      f'checkpoint {where} holds another kind of state: {"; ".join(differing[:5])}{more}; '
      'choose another --workdir'
    )


def _put_aside(manager, steps):
  """Renames unreadable checkpoints: Orbax would not save their steps again while they are there."""
  if not steps:
    return
  if parallel.is_primary():
    for step in steps:
      path = epath.Path(manager.directory) / str(step)
      path.rename(path.parent / f'unreadable-{step}')
  parallel.barrier('unreadable checkpoints')
  manager.reload()
