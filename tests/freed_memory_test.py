"""A program that keeps what it frees pays for the pages of a step's buffers once."""

import os
import platform
import subprocess
import sys

import pytest

from unrealnas_jax import freed_memory

# Fewest faults of a call whose buffer has 64 MB on each device, that is 16,384 pages. The heap may
# still grow in the first calls, where a buffer is freed only after the next one was made.
PROGRAM = """
import resource, sys
import jax, jax.numpy as jnp
from unrealnas_jax import freed_memory

if len(sys.argv) > 1:
  print(freed_memory.keep())

@jax.pmap
def call(x):
  big = jax.lax.fori_loop(0, 2, lambda n, big: big.at[n].set(1), jnp.zeros((16, 2**20)) + x)
  return big.sum()

def faults():
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

counts = []
for _ in range(6):
  before = faults()
  call(jnp.ones(jax.device_count())).block_until_ready()
  counts.append(faults() - before)
print(min(counts))
"""


def run(*arguments, **variables):
  kept = {name: x for name, x in os.environ.items() if not name.startswith(freed_memory.OWN)}
  done = subprocess.run(
    [sys.executable, '-c', PROGRAM, *arguments],
    env=kept | {'JAX_PLATFORMS': 'cpu'} | variables,
    capture_output=True,
    text=True,
    check=True,
  )
  return done.stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='another allocator')
@pytest.mark.parametrize('devices', ['1', '2'])
def test_pages_are_faulted_in_once(devices):
  (without,) = run(JAX_NUM_CPU_DEVICES=devices)
  done, with_it = run('keep', JAX_NUM_CPU_DEVICES=devices)
  assert done == 'True'
  assert int(without) > 8192 > 1024 > int(with_it)


@pytest.mark.parametrize('name', ['MALLOC_ARENA_MAX', 'JAX_CPU_ENABLE_ASYNC_DISPATCH'])
def test_settings_of_the_user_stay(name):
  assert run('keep', **{name: '1'})[0] == 'False'
