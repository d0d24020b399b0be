"""The examples in docstrings, and the package as a library."""

import doctest
import importlib
import pathlib
import subprocess
import sys

import pytest

import unrealnas_jax

FOLDER = pathlib.Path(unrealnas_jax.__file__).parent
PATHS = sorted(path for path in FOLDER.rglob('*.py') if '>>> ' in path.read_text())


@pytest.mark.parametrize('path', PATHS, ids=lambda path: path.stem)
def test_examples(path):
  parts = path.relative_to(FOLDER.parent).with_suffix('').parts
  name = '.'.join(part for part in parts if part != '__init__')
  failed, tried = doctest.testmod(importlib.import_module(name))
  assert (failed, tried > 0) == (0, True)


def test_what_the_package_offers_is_there_and_told():
  for name in unrealnas_jax._LAZY:
    assert getattr(unrealnas_jax, name).__doc__
    assert f'\n  {name} ' in unrealnas_jax.__doc__
    assert name in dir(unrealnas_jax)
  with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
    unrealnas_jax.nothing  # noqa: B018


def test_use_as_a_library_starts_no_device_before_a_run():
  code = (
    'import unrealnas_jax as u\n'
    'for name in u._LAZY: getattr(u, name)\n'
    'from jax._src import xla_bridge\n'
    'print(xla_bridge.backends_are_initialized())'
  )
  ended = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
  assert ended.stdout == 'False\n'
