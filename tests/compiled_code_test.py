"""Compiled programs on disk, each case in a process of its own: settings of JAX are for good."""

import os
import subprocess
import sys

import jax

PROGRAM = """
import pathlib, sys
import jax, jax.numpy as jnp, platformdirs
from unrealnas_jax import compiled_code
platformdirs.user_cache_path = lambda name: pathlib.Path(sys.argv[1]) / name
compiled_code.MIN_SECONDS = 0
compiled_code.keep()
print(jax.jit(lambda x: jnp.sin(x) @ x)(jnp.ones((8, 8))).sum())
"""


def run(folder, **settings):
  """What a program prints and warns of; folder: stands in for the user's for caches."""
  names = 'JAX_COMPILATION_CACHE_DIR', 'JAX_ENABLE_COMPILATION_CACHE'
  inherited = {name: value for name, value in os.environ.items() if name not in names}
  done = subprocess.run(
    [sys.executable, '-c', PROGRAM, str(folder)],
    env=inherited | settings,
    capture_output=True,
    text=True,
    check=True,
  )
  return done.stdout, done.stderr


def programs(folder):
  return sorted(folder.rglob('*-cache'))


def test_programs_are_kept_in_the_cache_folder_and_used_again(tmp_path):
  first, _ = run(tmp_path)
  kept = programs(tmp_path / 'unrealnas_jax' / 'compiled')
  assert kept
  second, log = run(tmp_path, JAX_EXPLAIN_CACHE_MISSES='true')
  assert second == first
  assert programs(tmp_path) == kept
  assert 'PERSISTENT CACHE MISS' not in log.upper()


def test_settings_of_jax_win(tmp_path):
  other = tmp_path / 'other'
  run(
    tmp_path, JAX_COMPILATION_CACHE_DIR=str(other), JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS='0'
  )
  assert programs(other)
  assert programs(tmp_path) == programs(other)
  run(tmp_path / 'off', JAX_ENABLE_COMPILATION_CACHE='false')
  assert not (tmp_path / 'off').exists()


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path):
  (tmp_path / 'file').write_text('')
  printed, log = run(tmp_path / 'file')
  assert printed
  assert f'{tmp_path}/file/unrealnas_jax/compiled cannot be written to' in log


def test_what_a_killed_program_left_half_written_is_written_again(tmp_path):
  first, _ = run(tmp_path)
  kept = {path: path.stat().st_size for path in programs(tmp_path)}
  torn = max(kept, key=kept.get)
  torn.write_bytes(torn.read_bytes()[:100])
  torn.with_name(torn.name.removesuffix('-cache') + '-atime').unlink()
  second, log = run(tmp_path)
  assert second == first
  assert 'Error' not in log
  assert {path: path.stat().st_size for path in programs(tmp_path)}.keys() == kept.keys()
  assert torn.stat().st_size > 100


def test_tests_keep_nothing_in_the_users_folder(compiled):
  assert jax.config.jax_compilation_cache_dir == str(compiled)
