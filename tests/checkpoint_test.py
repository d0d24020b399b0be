"""Checkpoints: bit-exact, atomic, safe under donation, and clear when they do not fit."""

import os
import pathlib
import resource
import socket
import subprocess
import sys
import textwrap
import types
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from unrealnas_jax import checkpoint, parallel

ROOT = pathlib.Path(__file__).parent.parent


@flax.struct.dataclass
class State:
  """As a search state: nested parameters, an optimizer's named tuples, odd dtypes, scalars."""

  step: Any
  params: Any
  opt: Any


def make_state(seed=0, width=3):
  rng = np.random.default_rng(seed)
  params = {
    'cell/0': {'kernel.a': jnp.array(rng.normal(size=(2, width)), jnp.float32)},
    'half': jnp.array(rng.normal(size=(5,)), jnp.bfloat16),
    'bits': jnp.array(rng.integers(0, 2**32, 4), jnp.uint32),
    'nan': jnp.array([np.nan, -0.0, np.inf]),
  }
  opt = optax.adam(1e-3).init({'w': params['cell/0']['kernel.a']})
  return parallel.replicate(State(jnp.int32(seed), params, opt))


def bits(tree):
  """Every leaf as (dtype, shape, bytes), by which NaN and -0.0 can be compared."""
  return jax.tree.map(lambda x: (str(x.dtype), x.shape, np.asarray(x).tobytes()), tree)


def save_all(folder, steps, keep=5):
  manager = checkpoint.open(folder, 'search', keep)
  for step in steps:
    checkpoint.save(manager, step, make_state(step))
  checkpoint.close(manager)


def test_round_trip_is_bit_exact_and_needs_shapes_only(tmp_path):
  save_all(tmp_path, [7])
  manager = checkpoint.open(tmp_path, 'search', 5)
  step, state = checkpoint.restore_latest(manager, jax.eval_shape(make_state))
  checkpoint.close(manager)
  assert step == 7
  assert bits(state) == bits(make_state(7))
  assert jax.tree.leaves(state)[0].sharding == jax.tree.leaves(make_state())[0].sharding


def test_paths_of_object_stores_stay_as_they_are(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  assert str(checkpoint.folder('gs://bucket/run', 'search')) == 'gs://bucket/run/checkpoints/search'
  assert str(checkpoint.folder('run', 'search')) == f'{tmp_path}/run/checkpoints/search'


def test_nothing_saved_is_none(tmp_path):
  manager = checkpoint.open(tmp_path, 'search', 5)
  assert checkpoint.restore_latest(manager, make_state()) is None
  checkpoint.close(manager)


def test_keeps_the_last_and_leaves_a_saved_step(tmp_path):
  manager = checkpoint.open(tmp_path, 'search', 2)
  for step in (1, 2, 3):
    checkpoint.save(manager, step, make_state(step))
  checkpoint.save(manager, 3, make_state(99))
  checkpoint.wait(manager)
  _, state = checkpoint.restore_latest(manager, make_state())
  checkpoint.close(manager)
  assert int(state.step) == 3
  saved = {path.name for path in (tmp_path / 'checkpoints' / 'search').iterdir() if path.is_dir()}
  assert saved == {'2', '3'}


@pytest.mark.parametrize('devices', [1, 4])
def test_save_survives_donation(tmp_path, monkeypatch, devices):
  monkeypatch.setattr(jax, 'local_devices', lambda: jax.devices()[:devices])
  monkeypatch.setattr(parallel, 'global_sharding', lambda: parallel.replicate(0).sharding)
  monkeypatch.setattr(parallel, 'to_global', lambda tree: tree)
  # Large enough that Orbax is still writing while later steps run; they go on until it is done.
  rng = np.random.default_rng(0)
  state = parallel.replicate({f'w{i}': rng.random(1_000_000, np.float32) for i in range(8)})
  step = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
  manager = checkpoint.open(tmp_path, 'search', 3)
  expected = jax.tree.map(lambda x: np.array(x, copy=True), state)
  checkpoint.save(manager, 1, state)
  for count in range(500):
    if count > 5 and not manager.is_saving_in_progress():
      break
    state = jax.block_until_ready(step(state))
  checkpoint.wait(manager)
  _, restored = checkpoint.restore_latest(manager, state)
  checkpoint.close(manager)
  for name in expected:
    np.testing.assert_array_equal(restored[name], expected[name], strict=True)
  assert not np.array_equal(state['w0'], expected['w0'])


def damage_arrays(step):
  for path in step.rglob('d/*'):
    path.write_bytes(b'\xff' * path.stat().st_size)


def cut_arrays(step):
  for path in step.rglob('d/*'):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_metadata(step):
  (step / 'default' / '_METADATA').write_text('{')


def damage_manifest(step):
  for path in step.rglob('manifest.ocdbt'):
    path.unlink()


def damage_all(step):
  for path in sorted(step.rglob('*'), reverse=True):
    path.rmdir() if path.is_dir() else path.unlink()


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')  # Orbax's threads
@pytest.mark.parametrize(
  'damage', [damage_arrays, cut_arrays, damage_metadata, damage_manifest, damage_all]
)
def test_unreadable_newest_falls_back_and_is_saved_again(tmp_path, monkeypatch, damage):
  warnings = []
  monkeypatch.setattr(
    checkpoint.logging, 'warning', lambda text, *args: warnings.append(text % args)
  )
  save_all(tmp_path, [1, 2])
  folder = tmp_path / 'checkpoints' / 'search'
  damage(folder / '2')
  manager = checkpoint.open(tmp_path, 'search', 5)
  step, state = checkpoint.restore_latest(manager, make_state())
  assert (step, bits(state)) == (1, bits(make_state(1)))
  assert (folder / 'unreadable-2').exists()
  assert [text for text in warnings if text.startswith(f'Checkpoint 2 of {folder} is unreadable: ')]
  checkpoint.save(manager, 2, make_state(2))
  checkpoint.wait(manager)
  step, state = checkpoint.restore_latest(manager, make_state())
  checkpoint.close(manager)
  assert (step, bits(state)) == (2, bits(make_state(2)))


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_nothing_readable_is_an_error_that_touches_nothing(tmp_path):
  save_all(tmp_path, [1, 2])
  folder = tmp_path / 'checkpoints' / 'search'
  for step in '12':
    damage_manifest(folder / step)
  before = sorted(folder.rglob('*'))
  manager = checkpoint.open(tmp_path, 'search', 5)
  with pytest.raises(ValueError, match=r'none of the checkpoints \[2, 1\] is readable'):
    checkpoint.restore_latest(manager, make_state())
  checkpoint.close(manager)
  assert sorted(folder.rglob('*')) == before


def test_half_written_checkpoint_is_not_seen(tmp_path):
  save_all(tmp_path, [1])
  folder = tmp_path / 'checkpoints' / 'search'
  half = folder / '2.orbax-checkpoint-tmp'
  half.mkdir()
  (half / 'part').write_text('x')
  manager = checkpoint.open(tmp_path, 'search', 5)
  step, _ = checkpoint.restore_latest(manager, make_state())
  checkpoint.close(manager)
  assert step == 1


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')
def test_a_write_that_fails_is_told_and_harms_no_other(tmp_path):
  """The system refuses files of more than some size, as it does on a full disk."""
  large = parallel.replicate({'w': np.random.default_rng(0).random(100_000, np.float32)})
  manager = checkpoint.open(tmp_path, 'search', 5)
  checkpoint.save(manager, 1, large)
  checkpoint.wait(manager)
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
  try:
    checkpoint.save(manager, 2, large)
    with pytest.raises(ValueError, match=r'no checkpoint can be written to .*search: .* allowed: '):
      checkpoint.close(manager)
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  manager = checkpoint.open(tmp_path, 'search', 5)
  assert checkpoint.restore_latest(manager, large)[0] == 1
  checkpoint.save(manager, 2, large)
  checkpoint.close(manager)
  names = {path.name for path in (tmp_path / 'checkpoints' / 'search').iterdir()}
  assert names == {'1', '2'}


def test_a_disk_without_room_is_told_before_anything_is_written(tmp_path, monkeypatch):
  save_all(tmp_path, [1])
  manager = checkpoint.open(tmp_path, 'search', 5)
  left = types.SimpleNamespace(free=checkpoint.SPARE_BYTES)
  monkeypatch.setattr(checkpoint.shutil, 'disk_usage', lambda path: left)
  checkpoint.close(checkpoint.open(tmp_path, 'search', 5))
  with pytest.raises(ValueError, match='it needs 16 MiB, and 16 MiB are free; allowed: a folder'):
    checkpoint.save(manager, 2, make_state())
  left.free -= 1
  with pytest.raises(ValueError, match='it needs 16 MiB, and 15 MiB are free'):
    checkpoint.open(tmp_path, 'search', 5)
  checkpoint.close(manager)
  assert [path.name for path in (tmp_path / 'checkpoints' / 'search').iterdir()] == ['1']


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda s: make_state(width=4), r'params/cell/0/kernel.a is float32 \[2, 3\], .*\[2, 4\]'),
    (lambda s: s.replace(step=jnp.uint32(0)), r'step is int32 \[\], this run needs uint32 \[\]'),
    (lambda s: s.replace(opt={}), r'opt/0/count is int32 \[\], this run needs nothing'),
    (
      lambda s: s.replace(opt=(s.opt, s.step)),
      r'opt/0/0/count is missing, this run needs int32 \[\]',
    ),
  ],
)
def test_another_kind_of_state_is_refused(tmp_path, change, message):
  save_all(tmp_path, [1])
  manager = checkpoint.open(tmp_path, 'search', 5)
  with pytest.raises(ValueError, match=message):
    checkpoint.restore_latest(manager, change(make_state()))
  checkpoint.close(manager)


TWO_PROCESSES = """
  import sys
  import jax, jax.numpy as jnp, numpy as np
  jax.config.update('jax_num_cpu_devices', 2)
  jax.distributed.initialize(sys.argv[2], 2, int(sys.argv[3]))
  from unrealnas_jax import checkpoint, parallel

  def step(key, state, batch):
    return {'w': state['w'] + parallel.mean(batch['x'].sum(0))}, {}

  run = parallel.pmap_step(step, batches=1)
  key = parallel.replicate(jax.random.key(0))
  state = parallel.replicate({'w': jnp.zeros(3)})
  batch = parallel.shard({'x': np.full((4, 3), 1.0 + jax.process_index(), np.float32)})
  manager = checkpoint.open(sys.argv[1], 'search', 3)
  for number in (1, 2, 3):
    state, _ = run(key, state, batch)
    checkpoint.save(manager, number, state)
    if number == 2:
      reached = checkpoint.restore_latest(manager, state)[1]
  checkpoint.close(manager)
  manager = checkpoint.open(sys.argv[1], 'search', 3)
  number, restored = checkpoint.restore_latest(manager, state)
  state, _ = run(key, restored, batch)
  assert not parallel.all_agree(jax.process_index() == 0)
  print('RESULT', number, jax.device_count(), state['w'].tolist(), flush=True)
  checkpoint.close(manager)
"""


def test_two_processes_save_and_go_on(tmp_path):
  with socket.socket() as probe:
    probe.bind(('127.0.0.1', 0))
    address = f'127.0.0.1:{probe.getsockname()[1]}'
  script = tmp_path / 'two.py'
  script.write_text(textwrap.dedent(TWO_PROCESSES))
  command = [sys.executable, str(script), str(tmp_path / 'run'), address]
  environment = {**os.environ, 'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'}
  processes = [
    subprocess.Popen(
      [*command, str(rank)],
      env=environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
    )
    for rank in range(2)
  ]
  try:
    outputs = [process.communicate(timeout=120)[0] for process in processes]
  finally:
    for process in processes:
      process.kill()
  # Each step adds the mean over 4 devices of the sum of two rows: (2 + 2 + 4 + 4) / 4 = 3.
  for output in outputs:
    assert 'RESULT 3 4 [12.0, 12.0, 12.0]' in output, output
