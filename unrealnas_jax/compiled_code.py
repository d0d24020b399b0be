"""Compiled programs kept on disk, so that the same command starts without compiling again.

What XLA makes of a search step takes it the better part of a minute on a CPU. JAX can keep it; here
is only where, how much, and from how small a program on.

A kept program takes seconds still: of the 14 to 19 s of a second start of configs/noise.py at the
laptop scale (2 cores, jaxlib 0.10.2) its step was traced for 3.9 to 5.2 s, lowered for 2.1 to 2.8 s
and read for 3.6 to 5.8 s. By perf, most of the reading is XLA looking up each YNN fusion (matrix
products and sums) by a walk over all instructions; when a step's two updates were two programs
(methods.one_program), with 863 and 106,000 of them, reading took 6.5 to 12 s of 24 to 29 s. To do
without the fusions of sums (XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type=-reduce) is no way
out: a step of DARTS took 2.6 s, not 1.6.
"""

import os

import filelock
import jax
import platformdirs
from absl import logging

MAX_BYTES = 2**30  # the programs that were used longest ago go first; JAX needs filelock for it
MIN_SECONDS = 0.2  # of compiling; JAX's own 1 s leaves out what adds up to seconds in a start


def keep():
  """Keeps compiled programs in the user's cache folder; to be called before the first is compiled.

  JAX's own settings win: JAX_COMPILATION_CACHE_DIR=DIR is another folder (without a limit),
  JAX_ENABLE_COMPILATION_CACHE=false none. A folder that cannot be written to is a warning.
  """
  if jax.config.jax_compilation_cache_dir or not jax.config.jax_enable_compilation_cache:
    return
  folder = platformdirs.user_cache_path('unrealnas_jax') / 'compiled'
  try:
    folder.mkdir(parents=True, exist_ok=True)
    writable = os.access(folder, os.W_OK)
    if writable:
      _remove_torn(folder)
  except OSError:
    writable = False
  if not writable:
    logging.warning('%s cannot be written to: every start compiles anew.', folder)
    return
  jax.config.update('jax_compilation_cache_dir', str(folder))
  jax.config.update('jax_compilation_cache_max_size', MAX_BYTES)
  jax.config.update('jax_persistent_cache_min_compile_time_secs', MIN_SECONDS)


def _remove_torn(folder):
  """Removes what a killed program was writing: a program without its time of use, written after it.

  JAX would never replace it, nor keep any other program beside it (jax-ml/jax issue 39880).
  """
  try:
    with filelock.FileLock(folder / '.lockfile', timeout=0):  # the lock JAX writes under
      for program in folder.glob('*-cache'):
        if not program.with_name(program.name.removesuffix('-cache') + '-atime').exists():
          program.unlink()
  except filelock.Timeout:
    pass  # another program is writing, and has looked for itself
