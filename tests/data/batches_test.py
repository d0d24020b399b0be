import itertools
import threading
import time

import numpy as np
import pytest

from unrealnas_jax.data.batches import (
  draw_batches,
  eval_batches,
  steps_per_epoch,
  train_batches,
)

INDICES = np.arange(100, 123)  # 23 images: five batches of four, three images left over


def read(indices, numbers=None):
  """Images whose pixels say which they are."""
  image = np.broadcast_to(indices[:, None, None, None], (len(indices), 2, 2, 1))
  return {'index': indices.astype(np.int32), 'image': image.astype(np.float32)}


def rows(batches):
  """int [steps, B] of batches, after a look at the images that came along."""
  index = np.stack([batch['index'] for batch in batches])
  images = np.stack([batch['image'] for batch in batches])
  np.testing.assert_array_equal(images[..., 0, 0, 0], index)
  return index


def train(steps, seed=2, **options):
  return list(train_batches(read, INDICES, 4, seed, steps, **options))


def draw(steps, seed=2, **options):
  return list(draw_batches(read, INDICES, 4, seed, steps, **options))


STREAMS = pytest.mark.parametrize('stream', [train, draw])


def test_an_epoch_shows_each_image_at_most_once():
  index = rows(train(range(15))).reshape(3, 20)  # three epochs of five steps
  for epoch in index:
    assert len(set(epoch)) == 20
    assert set(epoch) <= set(INDICES)
  # Order and choice of the three that are left out change: all images come in three epochs.
  assert set(index.ravel()) == set(INDICES)
  assert (index[0] != index[1]).mean() > 0.7
  assert (index[0] != np.sort(index[0])).mean() > 0.7


def test_first_place_is_uniform():
  # 2,300 epochs over 23 images: each comes first 100 times, standard deviation sqrt(100 * 22/23).
  index = rows(list(train_batches(read, INDICES, 23, 0, range(2300))))
  first = np.bincount(index[:, 0] - 100, minlength=23)
  np.testing.assert_allclose(first, 100, atol=5 * np.sqrt(100 * 22 / 23))


def test_draws_have_no_repeats_and_are_fresh():
  index = rows(draw(range(200)))
  assert all(len(set(batch)) == 4 for batch in index)
  assert len({tuple(batch) for batch in index}) == 200
  # 800 places over 23 images: 800/23 each, standard deviation at most sqrt(800/23 * 22/23).
  numbers = np.bincount(index.ravel() - 100, minlength=23)
  np.testing.assert_allclose(numbers, 800 / 23, atol=5 * np.sqrt(800 / 23 * 22 / 23))


@STREAMS
def test_resume_at_any_step(stream):
  whole = rows(stream(range(13)))
  for start in (0, 1, 4, 5, 6, 12):
    np.testing.assert_array_equal(rows(stream(range(start, 13))), whole[start:])
  assert stream(range(13, 13)) == []


@STREAMS
def test_seeds_differ(stream):
  first, second, next_epoch = (
    rows(stream(steps, seed)) for steps, seed in [(range(5), 2), (range(5), 3), (range(5, 10), 2)]
  )
  assert (first != second).mean() > 0.7
  # Seed + 1 is not the next epoch of the seed.
  assert (second != next_epoch).mean() > 0.7


def test_the_two_streams_of_a_seed_have_nothing_in_common():
  epochs, draws = (
    rows(list(stream(read, INDICES, 23, 2, range(40)))) for stream in (train_batches, draw_batches)
  )
  # Two orders of 23 images agree by chance in one place of 23.
  assert (epochs == draws).mean() < 0.1


@STREAMS
def test_several_steps_a_call(stream):
  """The same batches, stacked; the last call is shorter, and a resume may start anywhere."""
  whole = rows(stream(range(13)))
  calls = stream(range(2, 13), per_call=4)
  assert [call['image'].shape for call in calls] == [(s, 4, 2, 2, 1) for s in (4, 4, 3)]
  joined = np.concatenate([call['index'] for call in calls])
  np.testing.assert_array_equal(joined, whole[2:])
  images = np.concatenate([call['image'] for call in calls])
  np.testing.assert_array_equal(images[..., 0, 0, 0], whole[2:])
  assert stream(range(1), per_call=1)[0]['index'].shape == (1, 4)


@STREAMS
@pytest.mark.parametrize('per_call', [0, 3])
def test_processes_share_a_batch(stream, per_call):
  whole = stream(range(6), per_call=per_call)
  parts = [stream(range(6), per_call=per_call, part=(i, 2)) for i in range(2)]
  for batch, *shares in zip(whole, *parts, strict=True):
    joined = np.concatenate([share['index'] for share in shares], axis=-1)
    np.testing.assert_array_equal(joined, batch['index'])


@pytest.mark.parametrize('stream', [train_batches, draw_batches])
@pytest.mark.parametrize('batch', [0, 24])
def test_batch_that_does_not_fit(stream, batch):
  message = rf'retrain\.batch = {batch}; allowed: 1 to 23, the number of images'
  with pytest.raises(ValueError, match=message):
    stream(read, INDICES, batch, 0, range(3), key='retrain.batch')


def test_steps_per_epoch():
  assert steps_per_epoch(INDICES, 4, 'search.batch') == 5
  assert steps_per_epoch(INDICES, 23, 'search.batch') == 1


@pytest.mark.parametrize('batch', [4, 23, 30, 1])
def test_evaluation_shows_every_image_once_and_in_order(batch):
  batches = list(eval_batches(read, INDICES, batch))
  index = rows(batches)
  mask = np.stack([b['mask'] for b in batches])
  assert index.shape == mask.shape == (-(-23 // batch), batch)
  assert mask.dtype == np.float32
  np.testing.assert_array_equal(index[mask == 1], INDICES)
  assert set(index[mask == 0]) <= {100}
  assert mask.sum() == 23


def test_processes_share_an_evaluation():
  whole = list(eval_batches(read, INDICES, 4))
  parts = [list(eval_batches(read, INDICES, 4, part=(i, 2))) for i in range(2)]
  for batch, *shares in zip(whole, *parts, strict=True):
    for key in ('index', 'mask'):
      np.testing.assert_array_equal(np.concatenate([s[key] for s in shares]), batch[key])


def test_reads_ahead_but_not_far():
  seen = []

  def slow_read(indices, numbers):
    seen.append(threading.current_thread())
    return read(indices)

  batches = train_batches(slow_read, INDICES, 4, 0, range(1000))
  next(batches)
  for _ in range(200):  # at most 10 seconds, for a thread that needs microseconds
    if len(seen) > 1:
      break
    time.sleep(0.05)
  next(batches)
  assert 2 < len(seen) <= 5
  assert threading.current_thread() not in seen
  batches.close()


def test_an_error_of_the_reader_arrives():
  def broken(indices, numbers):
    raise ValueError('bad file')

  with pytest.raises(ValueError, match='bad file'):
    next(train_batches(broken, INDICES, 4, 0, range(3)))


def test_independent_of_how_fast_it_is_taken():
  batches = train_batches(read, INDICES, 4, 2, range(8))
  slow = []
  for batch in itertools.islice(batches, 8):
    time.sleep(0.01)
    slow.append(batch)
  np.testing.assert_array_equal(rows(slow), rows(train(range(8))))


@pytest.mark.parametrize('batches', [train_batches, draw_batches])
def test_each_reading_of_an_image_has_another_number(batches):
  def numbers(steps, seed=2, **options):
    def read(indices, numbers):
      assert numbers.dtype == np.uint32
      return {'numbers': numbers}

    return np.stack([b['numbers'] for b in batches(read, INDICES, 4, seed, steps, **options)])

  whole = numbers(range(12))
  assert len(np.unique(whole)) == 48
  # A run that goes on, several steps a call, and two processes see the same.
  np.testing.assert_array_equal(numbers(range(5, 12)), whole[5:])
  np.testing.assert_array_equal(numbers(range(12), per_call=3).reshape(12, 4), whole)
  parts = [numbers(range(12), part=(process, 2)) for process in (0, 1)]
  np.testing.assert_array_equal(np.concatenate(parts, axis=1), whole)
  assert not np.isin(numbers(range(12), seed=3), whole).any()


def test_the_two_streams_of_a_search_have_numbers_of_their_own():
  def read(indices, numbers):
    return {'numbers': numbers}

  streams = (batches(read, INDICES, 4, 2, range(5)) for batches in (train_batches, draw_batches))
  one, other = ({n for batch in stream for n in batch['numbers']} for stream in streams)
  assert not one & other


def test_evaluation_sees_no_random_views():
  def read(*arguments):
    assert len(arguments) == 1
    return {'index': arguments[0]}

  assert len(list(eval_batches(read, INDICES, 4))) == 6
