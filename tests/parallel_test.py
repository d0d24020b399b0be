"""Data parallelism: what is split, what is averaged, and that a step is compiled once."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unrealnas_jax import parallel
from unrealnas_jax.parallel import AXIS


def step(key, state, train, val):
  """One plain descent step on (w . x - y)^2 with a little noise, and the loss on val."""

  def loss(w, batch):
    return jnp.mean((batch['x'] @ w - batch['y']) ** 2)

  gradient = parallel.mean(jax.grad(loss)(state['w'], train))
  noise = jax.random.normal(jax.random.fold_in(key, state['step']), gradient.shape)
  w = state['w'] - 0.1 * gradient + 1e-3 * noise
  return {'w': w, 'step': state['step'] + 1}, {'loss': parallel.mean(loss(w, val))}


def forgetful_step(key, state, train, val):
  _, metrics = step(key, state, train, val)
  return {'w': state['w'] - train['x'].mean(0), 'step': state['step'] + 1}, metrics


def make_inputs(batch=8):
  rng = np.random.default_rng(0)
  batches = [
    {
      'x': rng.normal(size=(batch, 3)).astype(np.float32),
      'y': rng.normal(size=batch).astype(np.float32),
    }
    for _ in range(2)
  ]
  return jax.random.key(5), {'w': jnp.zeros(3), 'step': jnp.int32(0)}, *batches


def as_rows(tree, devices=4):
  return jax.tree.map(lambda x: x.reshape(devices, -1, *x.shape[1:]), tree)


def test_state_stays_replicated_and_the_step_is_traced_once():
  traces = []

  def counted(*args):
    traces.append(1)
    return step(*args)

  key, state, train, val = make_inputs()
  run = parallel.pmap_step(counted)
  key, state = parallel.replicate((key, state))
  for _ in range(3):
    before = state
    state, metrics = run(key, state, parallel.shard(train), parallel.shard(val))
    assert before['w'].is_deleted()
    assert state['w'].sharding == parallel.global_sharding()
    assert metrics['loss'].shape == ()
  assert len(traces) == 1
  assert int(state['step']) == 3


def test_state_not_replicated_is_traced_twice():
  # The reason for the rule in pmap_step's docstring; if this fails, the rule can go.
  traces = []

  def counted(*args):
    traces.append(1)
    return step(*args)

  key, state, train, val = make_inputs()
  run = parallel.pmap_step(counted)
  for _ in range(2):
    state, _ = run(key, state, parallel.shard(train), parallel.shard(val))
  assert len(traces) == 2


def test_four_devices_agree_with_one():
  key, state, train, val = make_inputs()
  expected = jax.vmap(step, axis_name=AXIS, in_axes=(None, None, 0, 0), out_axes=(None, None))(
    key, state, as_rows(train, 1), as_rows(val, 1)
  )
  run = parallel.pmap_step(step)
  found = run(*parallel.replicate((key, state)), parallel.shard(train), parallel.shard(val))
  for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-6)


def test_vmap_accepts_a_step_and_refuses_one_that_forgets_the_mean():
  key, state, train, val = make_inputs()
  for function, fails in ((step, False), (forgetful_step, True)):
    check = jax.vmap(function, axis_name=AXIS, in_axes=(None, None, 0, 0), out_axes=(None, None))
    if fails:
      with pytest.raises(ValueError, match='out_axes'):
        check(key, state, as_rows(train), as_rows(val))
    else:
      check(key, state, as_rows(train), as_rows(val))


def test_evaluation_keeps_the_state():
  key, state, train, _ = make_inputs()
  key, state = parallel.replicate((key, state))

  def evaluate(key, state, batch):
    return {'correct': parallel.mean(batch['x'].sum(0))}

  run = parallel.pmap_step(evaluate, batches=1, donate=False)
  found = run(key, state, parallel.shard(train))
  np.testing.assert_allclose(found['correct'], train['x'].sum(0) / 4, rtol=1e-6)
  assert not state['w'].is_deleted()


def test_many_calls_in_a_row_do_not_hang():
  # Some hundred calls under way at once make XLA's CPU collectives hang; pmap_step prevents it.
  key, state, train, val = make_inputs()
  run = parallel.pmap_step(step)
  key, state = parallel.replicate((key, state))
  train, val = parallel.shard(train), parallel.shard(val)
  for _ in range(400):
    state, _ = run(key, state, train, val)
  assert int(state['step']) == 400


def test_replicate_copies():
  state = parallel.replicate({'w': jnp.arange(3.0)})
  again = parallel.replicate(state)
  again['w'].delete()
  np.testing.assert_array_equal(state['w'], [0, 1, 2])
  assert len(state['w'].addressable_shards) == 4


@pytest.mark.parametrize(
  ('shape', 'axis', 'expected'),
  [((8, 5), 0, (4, 2, 5)), ((3, 8, 5), 1, (4, 3, 2, 5)), ((4,), 0, (4, 1))],
)
def test_shard_gives_each_device_consecutive_examples(shape, axis, expected):
  x = np.arange(np.prod(shape)).reshape(shape)
  found = parallel.shard({'x': x}, axis)['x']
  assert found.shape == expected
  assert {shard.data.shape[0] for shard in found.addressable_shards} == {1}
  # Device 0 has the first quarter of the examples, and so on.
  rows = np.concatenate([np.asarray(found[d]) for d in range(4)], axis=axis)
  np.testing.assert_array_equal(rows, x)


def test_shard_refuses_a_batch_that_cannot_be_split():
  with pytest.raises(AssertionError):
    parallel.shard({'x': np.zeros((6, 2))})


def test_local_and_global_are_the_same_array():
  state = parallel.replicate({'w': jnp.arange(3.0), 'bits': jnp.arange(2, dtype=jnp.uint32)})
  for found in (parallel.to_global(state), parallel.to_local(parallel.to_global(state))):
    np.testing.assert_array_equal(found['w'], state['w'])
    assert found['bits'].dtype == jnp.uint32
    assert found['w'].sharding == parallel.global_sharding()
  assert parallel.all_agree(True)
  assert not parallel.all_agree(False)
