"""Settings of all tests: four virtual devices, quick compiling, no silent broadcasting of ranks."""

import os
import pathlib

import jax
import platformdirs
import pytest
import quick_compile

os.environ['XLA_FLAGS'] = quick_compile.FLAGS
jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_enable_compilation_cache', False)
jax.config.update('jax_numpy_rank_promotion', 'raise')

GOLDEN = pathlib.Path(__file__).with_name('golden')


@pytest.fixture(scope='session')
def compiled(tmp_path_factory):
  """The folder of compiled code that all programs share which the tests start."""
  return tmp_path_factory.mktemp('compiled')


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


def pytest_generate_tests(metafunc):
  """Gives golden tests one case for each npz in --golden-dir."""
  if 'golden_path' in metafunc.fixturenames:
    folder = metafunc.config.getoption('--golden-dir')
    paths = sorted(folder.glob('*.npz'))
    if not paths:
      raise ValueError(f'--golden-dir={folder} holds no npz file')
    metafunc.parametrize('golden_path', paths, ids=[path.stem for path in paths])
