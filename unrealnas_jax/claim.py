"""The folder of a run: whose it is, whether it is free, and that one program at a time writes."""

import contextlib
import fcntl
import json
import os

from absl import logging
from etils import epath

from unrealnas_jax import growing, metrics, parallel
from unrealnas_jax.config import to_json
from unrealnas_jax.rules import flatten

LISTED = 20  # differences that one message lists


def is_ours(workdir, config):
  """Whether the folder is claimed already, by a run of this very config."""
  path = epath.Path(workdir) / 'config.json'
  try:
    return path.exists() and json.loads(path.read_text()) == json.loads(to_json(config))
  except (OSError, ValueError):
    return False


def check(workdir, config):
  """Finds out whether a run of this config may have the folder; nothing is changed.

  It may where there is none yet, in a run of the same config, and where a run of another config
  ended before it had a first result.
  Raises ValueError: the folder holds other things, or the run of another config (listing the keys
  that differ), or cannot be read.
  """
  folder = epath.Path(workdir)
  path = folder / 'config.json'
  try:
    if path.exists():
      _compare(folder, json.loads(path.read_text()), json.loads(to_json(config)))
    # A run killed while it claimed the folder may have left the file that was to be config.json.
    elif folder.exists() and any(p != metrics.unfinished(path) for p in folder.iterdir()):
      raise ValueError(f'--workdir={workdir} holds files but no config.json; choose another')
  except json.JSONDecodeError as error:
    raise ValueError(f'{path} is not JSON ({error}); choose another --workdir') from error
  except OSError as error:
    raise _unusable(workdir, error) from error


@contextlib.contextmanager
def hold(workdir, config):
  """Makes the folder this run's by writing config.json, and keeps other programs out meanwhile.

  All processes of a run enter together. Raises ValueError: as `check`, another program is at work
  in the folder, or it cannot be written.
  """
  with contextlib.ExitStack() as stack:
    problem = None
    if parallel.is_primary():
      try:
        stack.enter_context(_hold(workdir, config))
      except ValueError as error:
        problem = error
    if not parallel.all_agree(problem is None):  # the others must not wait for a run that is over
      raise problem or ValueError(f'--workdir={workdir} cannot be used; see the first process')
    yield


@contextlib.contextmanager
def _hold(workdir, config):
  check(workdir, config)
  folder, lock = epath.Path(workdir), None
  try:
    try:
      folder.mkdir(parents=True, exist_ok=True)
      lock = _lock(folder)
      check(workdir, config)  # again: another program may have come first
      if not is_ours(workdir, config):
        metrics.write_json(folder / 'config.json', json.loads(to_json(config)))
    except OSError as error:
      raise _unusable(workdir, error) from error
    yield
  finally:
    if lock is not None:
      os.close(lock)


def _lock(folder):
  """Keeps other programs out of a folder until what is returned is closed or this program ends."""
  if growing.is_remote(folder):  # an object store has no locks
    return None
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as error:
    os.close(descriptor)
    raise ValueError(
      f'--workdir={folder} is in use by another program; wait for it to end, or choose another'
    ) from error
  except OSError as error:
    logging.warning('%s has no locks (%s): start only one program there.', folder, error)
  return descriptor


def _unusable(workdir, error):
  return ValueError(
    f'--workdir={workdir} cannot be used ({error.strerror or error}); allowed: a folder that can '
    'be written'
  )


def _compare(folder, old, new):
  """Raises ValueError listing the keys in which two configs differ, if the old one has run."""
  if not isinstance(old, dict):
    raise ValueError(f'{folder}/config.json holds no config; choose another --workdir')
  old_keys, new_keys = flatten(old), flatten(new)
  if old_keys == new_keys:
    return
  if old_keys.keys() == new_keys.keys() and not _has_results(folder, old['genotype']):
    return
  differing = [
    f'  {key}: {old_keys.get(key, "(missing)")!r} there, {new_keys.get(key, "(missing)")!r} now'
    for key in sorted(old_keys.keys() | new_keys.keys())
    if key not in old_keys or key not in new_keys or old_keys[key] != new_keys[key]
  ]
  lines = '\n'.join(differing[:LISTED])
  raise ValueError(
    f'--workdir={folder} holds the run of another config:\n{lines}\n'
    'Choose another --workdir, or give the same values to go on with that run.'
  )


def _has_results(folder, genotype):
  """Whether a run has come to more than its config, a copy of a given genotype, empty folders."""
  found = [folder / 'metrics.jsonl', folder / 'result.json', *folder.glob('checkpoints/*/*')]
  return any(path.exists() for path in found) or (
    not genotype and (folder / 'genotype.json').exists()
  )
