"""Batches on the host as a function of the step alone, read ahead by one thread.

What the batch of step n holds depends on (seed, n) and nothing else, so the step is all the state
that a resume needs: a run that starts at step n asks for steps from n.
"""

import functools
import math
from collections.abc import Callable, Iterator

import grain
import numpy as np

Read = Callable[[np.ndarray], dict[str, np.ndarray]]

# Named children of the seed, so that two streams with one seed have nothing in common.
_EPOCHS, _DRAWS = 0, 1


def split_halves(size: int, portion: float) -> tuple[np.ndarray, np.ndarray]:
  """Indices (weights half, architecture half): the first floor(portion * size), and the rest.

  As DARTS splits: by position, without shuffling. Raises ValueError: one half would be empty.
  """
  count = math.floor(portion * size)
  if not 0 < count < size:
    raise ValueError(
      f'search.train_portion = {portion} leaves {count} of {size} training images for the weights '
      f'and {size - count} for the architecture; allowed: between 0 and 1, at least one image each'
    )
  return np.arange(count), np.arange(count, size)


def steps_per_epoch(indices: np.ndarray, batch: int, key: str) -> int:
  """Whole batches in one pass over indices; the rest is dropped.

  key: the config key that `batch` comes from. Raises ValueError: not even one batch.
  """
  if not 1 <= batch <= len(indices):
    raise ValueError(
      f'{key} = {batch}; allowed: 1 to {len(indices)}, the number of images it is drawn from'
    )
  return len(indices) // batch


def train_batches(
  read: Read,
  indices: np.ndarray,
  batch: int,
  seed: int,
  steps: range,
  *,
  key: str = 'search.batch',
  per_call: int = 0,
  part: tuple[int, int] = (0, 1),
) -> Iterator[dict[str, np.ndarray]]:
  """Shuffled epochs over indices, each without its incomplete last batch.

  read:     indices [N] -> arrays [N, ...], such as Source.read
  batch:    global batch size, that of all processes together
  steps:    range(start, stop) of global steps; epoch = step // steps_per_epoch
  key:      the config key of `batch`, for errors
  per_call: 0: one batch [B, ...] a step; S > 0: batches of S steps at once, [S, B, ...], the last
            one shorter where S does not divide the number of steps
  part:     (process, processes): which equal part of each batch to read
  """
  epoch_steps = steps_per_epoch(indices, batch, key)

  # Not grain's own shuffle: it seeds epoch e by seed + e, so that runs with neighbouring seeds
  # share their orders, and it costs a millisecond a batch.
  @functools.lru_cache(maxsize=2)
  def order(epoch):
    return np.random.default_rng((seed, _EPOCHS, epoch)).permutation(indices)

  def rows(step):
    epoch, i = divmod(step, epoch_steps)
    return order(epoch)[i * batch : (i + 1) * batch]

  return _read_ahead(read, rows, steps, per_call, part)


def draw_batches(
  read: Read,
  indices: np.ndarray,
  batch: int,
  seed: int,
  steps: range,
  *,
  key: str = 'search.batch',
  per_call: int = 0,
  part: tuple[int, int] = (0, 1),
) -> Iterator[dict[str, np.ndarray]]:
  """A fresh random batch each step, without repeats in a batch; arguments as in train_batches.

  DARTS makes a new iterator over the architecture half for every step, which comes to this.
  """
  steps_per_epoch(indices, batch, key)

  def rows(step):
    generator = np.random.default_rng((seed, _DRAWS, step))
    return generator.choice(indices, batch, replace=False)

  return _read_ahead(read, rows, steps, per_call, part)


def eval_batches(
  read: Read, indices: np.ndarray, batch: int, *, part: tuple[int, int] = (0, 1)
) -> Iterator[dict[str, np.ndarray]]:
  """All of indices in order, with 'mask' float32 [B]: 1 for an image, 0 for filling.

  The last batch is filled up with the first index, so that every batch has the same shape.
  """
  size = len(indices)
  steps = range(-(-size // batch))

  def positions(step):
    return np.arange(step * batch, (step + 1) * batch)

  def rows(step):
    return indices[np.where(positions(step) < size, positions(step), 0)]

  for step, arrays in zip(steps, _read_ahead(read, rows, steps, 0, part), strict=True):
    mask = (positions(step) < size).astype(np.float32)
    yield {**arrays, 'mask': _part(mask, part)}


def _part(rows, part):
  """This process's equal share of rows [B]."""
  process, processes = part
  assert len(rows) % processes == 0, (len(rows), processes)
  share = len(rows) // processes
  return rows[process * share : (process + 1) * share]


def _read_ahead(read, rows, steps, per_call, part):
  """Iterates over what `read` gives for rows(step); a thread stays two items ahead."""
  assert steps.step == 1, steps
  starts = steps[:: per_call or 1]

  def item(start):
    if not per_call:
      return read(_part(rows(start), part))
    calls = [_part(rows(step), part) for step in range(start, min(start + per_call, steps.stop))]
    arrays = read(np.concatenate(calls))
    return {k: v.reshape(len(calls), -1, *v.shape[1:]) for k, v in arrays.items()}

  items = grain.MapDataset.source(starts).map(item)
  # One thread: rows() may be called from one place only, and two cores leave no room for more.
  options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
  return iter(items.to_iter_dataset(options))
