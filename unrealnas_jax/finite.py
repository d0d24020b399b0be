"""Finding NaN and infinity, before they are told as results or saved as a state."""

import jax
import numpy as np


def wrong_loss(values):
  """(name, position, number) of the first loss that is not finite; None if all are.

  values: name -> [S], of which those whose name ends with 'loss' are looked at.
  """
  losses = {name: np.asarray(value) for name, value in values.items() if name.endswith('loss')}
  wrong = [
    (position, name, value[position])
    for name, value in losses.items()
    for position in np.flatnonzero(~np.isfinite(value))[:1]
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
