"""Settings of all tests: four virtual devices, quick compiling, no silent broadcasting of ranks."""

import gc
import os
import pathlib

import jax
import platformdirs
import pytest
import quick_compile
from jax.experimental.compilation_cache import compilation_cache

os.environ['XLA_FLAGS'] = quick_compile.FLAGS
gc.set_threshold(20_000, 20, 50)  # tracing makes millions of objects, of which few are in cycles
jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_numpy_rank_promotion', 'raise')

GOLDEN = pathlib.Path(__file__).with_name('golden')
# Files that take longest, begun first so that no worker is left alone with one of them at the end.
LONGEST = (
  *('contract_test', 'whole_run_test', 'processes_test', 'golden_test', 'repeat_test'),
  *('communication_test', 'kill_and_resume_test', 'colab_test', 'seeds_test', 'plots_test'),
)


@pytest.fixture(scope='session', autouse=True)
def compiled(tmp_path_factory):
  """The folder of compiled code that all tests share, and all programs which they start."""
  folder = tmp_path_factory.getbasetemp()
  # With several workers each has a folder of its own in the one that they share.
  folder = (folder.parent if 'PYTEST_XDIST_WORKER' in os.environ else folder) / 'compiled'
  folder.mkdir(exist_ok=True)
  jax.config.update('jax_compilation_cache_dir', str(folder))
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  compilation_cache.reset_cache()  # it may have looked for the folder while tests were collected
  return folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
  """The folder that stands in for the user's for caches."""
  folder = tmp_path / 'cache'
  monkeypatch.setattr(platformdirs, 'user_cache_path', lambda name: folder / name)
  return folder


def pytest_addoption(parser):
  parser.addoption(
    '--golden-dir',
    type=pathlib.Path,
    default=GOLDEN,
    help='folder of npz files computed by the official codes; each is checked by its kind',
  )


def pytest_collection_modifyitems(items):
  places = {name: place for place, name in enumerate(LONGEST)}
  items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def pytest_generate_tests(metafunc):
  """Gives golden tests one case for each npz in --golden-dir."""
  if 'golden_path' in metafunc.fixturenames:
    folder = metafunc.config.getoption('--golden-dir')
    paths = sorted(folder.glob('*.npz'))
    if not paths:
      raise ValueError(f'--golden-dir={folder} holds no npz file')
    metafunc.parametrize('golden_path', paths, ids=[path.stem for path in paths])
