"""What a run was made with: versions, devices, and the revision of the code."""

import importlib.metadata
import os
import platform
import subprocess

import jax

import unrealnas_jax

PACKAGES = ('jax', 'jaxlib', 'flax', 'optax', 'orbax-checkpoint', 'grain', 'numpy')


def describe():
  """{name: text or number} of this process.

  revision: of the git checkout that the package is imported from, with '+' where files in it are
  changed; None where there is none.
  """
  return {
    'unrealnas_jax': unrealnas_jax.__version__,
    'revision': revision(os.path.dirname(os.path.abspath(__file__))),
    'devices': f'{jax.device_count()} x {jax.devices()[0].device_kind}',
    'processes': jax.process_count(),
    'cpu_cores': os.cpu_count(),
    'cpu_model': cpu_model(),
    'platform': platform.platform(),
    'python': platform.python_version(),
    **{name: importlib.metadata.version(name) for name in PACKAGES},
  }


def cpu_model():
  """What the processor calls itself, where Linux tells it, else its architecture."""
  try:
    with open('/proc/cpuinfo') as file:
      names = [line.partition(':')[2].strip() for line in file if line.startswith('model name')]
  except OSError:
    names = []
  return names[0] if names else platform.machine()


def revision(folder):
  """The commit that a folder is checked out at, '+' behind it where files are changed, or None."""

  def git(*args):
    ended = subprocess.run(
      ['git', '-C', folder, *args], capture_output=True, text=True, check=True, timeout=30
    )
    return ended.stdout.strip()

  try:
    # The package may lie in a folder that git leaves out, within somebody's own repository.
    if not git('ls-files', '.'):
      return None
    return git('rev-parse', 'HEAD') + ('+' if git('status', '--porcelain', '.') else '')
  except (OSError, subprocess.SubprocessError):
    return None
