"""What an import of the program may not do: look for devices, or load what is needed later."""

import subprocess
import sys

import pytest

# Large, and used by parts of a run that come after all checks of the input, or by few runs.
LATE = ('flax', 'optax', 'orbax', 'grain', 'matplotlib', 'sklearn', 'tensorflow_datasets', 'PIL')

PROGRAM = """
import sys
import {module}
from jax._src import xla_bridge
assert not xla_bridge._backends, xla_bridge._backends
print(*sys.modules)
"""


def imported(module):
  """The modules that a new process has loaded after importing one; it has found no device."""
  done = subprocess.run(
    [sys.executable, '-c', PROGRAM.format(module=module)],
    capture_output=True,
    text=True,
    check=True,
  )
  return set(done.stdout.split())


@pytest.mark.parametrize('module', ['unrealnas_jax', 'unrealnas_jax.main'])
def test_the_start_loads_nothing_that_is_needed_later_only(module):
  found = imported(module)
  assert module in found
  assert not found & set(LATE)


def test_the_search_loads_layers_but_no_drawing_and_starts_no_device():
  found = imported('unrealnas_jax.search')
  assert {'flax', 'optax', 'orbax.checkpoint'} <= found
  assert not found & {'matplotlib', 'sklearn', 'tensorflow_datasets'}
