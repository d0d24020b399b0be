"""Freed memory that stays with the program, so that no step waits for it.

On CPU, XLA allocates the buffers of a step anew for each step, and glibc gives blocks of that size
back to the system when they are freed. Every page then costs a fault and is cleared: 0.6 ms a MB on
2 cores of an AMD EPYC, where a search step has 120 MB and a retraining step 790 MB. Of glibc's
heaps only the main thread's can hold such blocks, so a step is run by the thread that asks for it,
and the other threads have heaps of their own. In one heap for all they waited for each other: a
compilation leaves it full of holes, among which every scratch buffer of a matrix product is looked
for, at a tenth of a step's time. Medians of steps right after their compilation, timed in turn in
two processes: search 1.86 s instead of 2.25 s (the paper's DARTS, batch 16), retraining 0.49 s
instead of 0.54 s (DARTS_V2, batch 64). The most memory at one time, of the compilation, grew from
2.0 to 2.3 GB, as told by the benchmark of that search.

Several devices of a CPU run in threads of their own, so these share the one heap.
"""

import ctypes
import os
import platform
from importlib import metadata, util

import jax

# Parameters of mallopt (malloc.h), and what they are set to.
SETTINGS = (
  (-4, 0),  # M_MMAP_MAX: large blocks come from the heap too
  (-1, 2**31 - 1),  # M_TRIM_THRESHOLD: the heap does not shrink
)
ONE_HEAP = (-8, 1)  # M_ARENA_MAX: the main thread's, for all
# Beginnings of names of the environment variables by which users set the same.
OWN = ('MALLOC_', 'GLIBC_TUNABLES', 'JAX_CPU_ENABLE_ASYNC_DISPATCH')


def keep():
  """Makes glibc keep what is freed, and JAX wait for each step; True if it was done.

  To be called before JAX's devices start. JAX waits only where there is one device: several, of
  which jax_num_cpu_devices tells, share a heap. Nothing is done where JAX has more than the CPU,
  where there is no glibc, or where the user has set one of OWN.
  """
  set_by_user = any(name.startswith(OWN) for name in os.environ)
  if not _cpu_alone() or platform.libc_ver()[0] != 'glibc' or set_by_user:
    return False
  settings = SETTINGS
  if jax.config.jax_num_cpu_devices > 1:  # of which each runs its part in a thread of its own
    settings += (ONE_HEAP,)
  else:
    jax.config.update('jax_cpu_enable_async_dispatch', False)
  mallopt = ctypes.CDLL(None).mallopt
  return all([mallopt(*setting) for setting in settings])


def _cpu_alone():
  # What is installed, since to ask JAX for its devices would start them.
  plugins = metadata.entry_points(group='jax_plugins')
  return os.environ.get('JAX_PLATFORMS') == 'cpu' or not (plugins or util.find_spec('libtpu'))
