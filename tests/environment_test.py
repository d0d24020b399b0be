"""The revision of the code: what a run can be repeated with."""

import shutil
import subprocess

import jax
import pytest

from unrealnas_jax import environment


@pytest.fixture
def checkout(tmp_path):
  """A git repository with one commit of package/code.py, and a folder that it ignores."""
  if not shutil.which('git'):
    pytest.skip('git is not installed')

  def git(*args):
    who = ('-c', 'user.name=a', '-c', 'user.email=a@b')
    command = ['git', '-C', str(tmp_path), *who, *args]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

  for name in ('package', 'ignored'):
    (tmp_path / name).mkdir()
    (tmp_path / name / 'code.py').write_text('x = 1\n')
  (tmp_path / '.gitignore').write_text('ignored/\n')
  git('init')
  git('add', '.')
  git('commit', '-m', 'first')
  return tmp_path, git('rev-parse', 'HEAD')


def test_revision_says_whether_files_are_changed(checkout):
  folder, commit = checkout
  assert environment.revision(folder / 'package') == commit
  (folder / 'package' / 'code.py').write_text('x = 2\n')
  assert environment.revision(folder / 'package') == commit + '+'


def test_a_package_that_is_not_of_the_repository_has_no_revision(checkout):
  folder, _ = checkout
  assert environment.revision(folder / 'ignored') is None


def test_without_git_there_is_no_revision(tmp_path, monkeypatch):
  assert environment.revision(tmp_path) is None
  monkeypatch.setenv('PATH', '')
  assert environment.revision(tmp_path) is None


def test_versions_and_devices():
  described = environment.describe()
  assert described['jax'] == jax.__version__
  assert described['devices'] == '4 x cpu'
