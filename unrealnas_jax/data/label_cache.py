"""Labels of a whole split kept on disk: to read them anew is to read all of its images.

A balanced subset asks for them in every process of every start, resume and dry run.
"""

import hashlib
import io
import json

import numpy as np
import platformdirs
from absl import logging

from unrealnas_jax import metrics, parallel


def kept(name, identity, make):
  """What make() gives, an array, from the user's cache folder where an earlier start has left it.

  name: of the file, whose last content is replaced; identity: numbers and texts in lists and dicts,
  all that the array depends on. A file of another identity, or a damaged one, counts as none.
  A folder that cannot be written to is a warning.
  """
  path = platformdirs.user_cache_path('unrealnas_jax') / 'labels' / f'{name}.npy'
  identity = json.dumps(identity, sort_keys=True).encode()
  found = _read(path, identity)
  if found is not None:
    return found
  made = make()
  if not parallel.is_primary():
    return made
  with io.BytesIO() as file:
    np.save(file, made, allow_pickle=False)
    array = file.getvalue()
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    metrics.write_whole(path, _digest(identity, array) + array)
  except OSError as error:
    logging.warning('%s cannot be written (%s): every start makes it anew.', path, error)
  return made


def _read(path, identity):
  try:
    content = path.read_bytes()
  except OSError:
    return None
  size = len(_digest(b'', b''))
  digest, array = content[:size], content[size:]
  if digest != _digest(identity, array):
    return None
  return np.load(io.BytesIO(array), allow_pickle=False)


def _digest(identity, array):
  return hashlib.sha256(identity + b'\n' + array).digest()
