"""Batches on the host as a function of the step alone, read ahead by one thread.

What the batch of step n holds depends on (seed, n) and nothing else, so the step is all the state
that a resume needs: a run that starts at step n asks for steps from n.
"""

import functools
from collections.abc import Callable, Iterator

import grain
import numpy as np

Read = Callable[..., dict[str, np.ndarray]]

# Named children of the seed, so that two streams with one seed have nothing in common.
_EPOCHS, _DRAWS, _EPOCH_VIEWS, _DRAW_VIEWS = range(4)


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

  read:     (indices [N], numbers [N]) -> arrays [N, ...], such as Source.read; each time an image
            is read it gets another random number, for random views
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

  return _read_ahead(read, (rows, _numbers(seed, _EPOCH_VIEWS, batch)), steps, per_call, part)


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

  return _read_ahead(read, (rows, _numbers(seed, _DRAW_VIEWS, batch)), steps, per_call, part)


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

  for step, arrays in zip(steps, _read_ahead(read, (rows,), steps, 0, part), strict=True):
    mask = (positions(step) < size).astype(np.float32)
    yield {**arrays, 'mask': _part(mask, part)}


def _numbers(seed, stream, batch):
  """step -> a random number for each image of its batch, uint32 [batch]"""

  def numbers(step):
    generator = np.random.default_rng((seed, stream, step))
    return generator.integers(2**32, size=batch, dtype=np.uint32)

  return numbers


def _part(rows, part):
  """This process's equal share of rows [B]."""
  process, processes = part
  assert len(rows) % processes == 0, (len(rows), processes)
  share = len(rows) // processes
  return rows[process * share : (process + 1) * share]


def _read_ahead(read, draws, steps, per_call, part):
  """Iterates over what `read` gives for what the draws give for a step; a thread stays two ahead.

  draws: for each argument of `read` a function step -> [B]
  """
  assert steps.step == 1, steps
  starts = steps[:: per_call or 1]

  def item(start):
    of_call = range(start, min(start + (per_call or 1), steps.stop))
    arrays = read(*(np.concatenate([_part(draw(n), part) for n in of_call]) for draw in draws))
    if not per_call:
      return arrays
    return {k: v.reshape(len(of_call), -1, *v.shape[1:]) for k, v in arrays.items()}

  items = grain.MapDataset.source(starts).map(item)
  # One thread: rows() may be called from one place only, and two cores leave no room for more.
  options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=2)
  return iter(items.to_iter_dataset(options))
