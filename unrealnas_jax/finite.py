"""Finding NaN and infinity, before they are told as results or saved as a state."""

import jax
import numpy as np

WATCHED = 'loss', 'eigenvalue'  # how the names of numbers end that must be finite


def wrong_number(values):
  """(name, position, number) of the first loss or eigenvalue that is not finite; None if all are.

  values: name -> [S], or [] of which the position is 0; other names than WATCHED are passed over.
  """
  watched = {name: np.atleast_1d(x) for name, x in values.items() if name.endswith(WATCHED)}
  wrong = [
    (position, name, numbers[position])
    for name, numbers in watched.items()
    for position in np.flatnonzero(~np.isfinite(numbers))[:1]
  ]
  if not wrong:
    return None
  position, name, number = min(wrong)
  return name, position, number


def wrong_array(state):
  """Path of the first array that is not finite everywhere, such as 'arch/normal', or None."""
  for path, x in jax.tree_util.tree_leaves_with_path(state):
    if not np.isfinite(np.asarray(x)).all():
      return jax.tree_util.keystr(path, simple=True, separator='/')
  return None
