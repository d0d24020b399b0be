"""The layout of the repository: import levels, names, sizes."""

import ast
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / 'unrealnas_jax'
ALLOWED_AT_TOP = {
  *('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE'),
  *('unrealnas_jax', 'configs', 'launch', 'tests'),
}
# A file or folder of the package imports only from earlier lines, and a folder from itself too.
ORDER = (
  '__init__',
  'keys growing events stop finite distributed config_file stages repeat rows compiled_code',
  'nasbench201 graph_layout kernels microbatch freed_memory',
  'genotype tabular parallel cost depthwise environment',
  'dense drawing checkpoint metrics',
  'ops',
  'gan',
  'data',
  'objective',
  'layers blocks heads',
  'mixed network201 stems',
  'walks',
  'cell',
  'skeletons',
  'spaces',
  'supernet network',
  'state optimizers angle evolution eigenvalue torch_weights',
  'methods',
  'loop samples timing watch',
  'seeds perturbation',
  'retrain',
  'limits',
  'decoding',
  'search',
  'generator communication earlier_search',
  'rules phases',
  'given_genotype method_checks stage_checks',
  'checks',
  'config runs usage',
  'claim figures tables analysis',
  'plots dry_run',
  'main',
  'benchmark contact_sheet',
)
LEVELS = {name: level for level, names in enumerate(ORDER) for name in names.split()}
VAGUE = re.compile(r'(^|_)(utils?|helpers?|common|misc)(_|$)')
LONGEST = 400


def python_files(*folders):
  return sorted(path for folder in folders for path in (ROOT / folder).rglob('*.py'))


def unit(path):
  """The file or folder of the package that a module belongs to: what has a level."""
  return path.relative_to(PACKAGE).parts[0].removesuffix('.py')


def imported_units(source):
  """Units of unrealnas_jax that a source imports, wherever in it the import stands."""
  units = set()
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.ImportFrom):
      assert node.level == 0, f'line {node.lineno}: imports name the whole path here'
      if node.module == 'unrealnas_jax':
        units |= {alias.name for alias in node.names}
      elif node.module.startswith('unrealnas_jax.'):
        units.add(node.module.split('.')[1])
    if isinstance(node, ast.Import):
      names = [alias.name.split('.') for alias in node.names]
      units |= {name[1] for name in names if name[0] == 'unrealnas_jax' and len(name) > 1}
  return units


def offences(name, source):
  """Units that a module of unit `name` imports though they are not below it."""
  return {
    other
    for other in imported_units(source)
    if other in LEVELS and other != name and LEVELS[other] >= LEVELS[name]
  }


@pytest.mark.parametrize('path', python_files('unrealnas_jax'), ids=lambda p: str(p.name))
def test_imports_only_from_lower_levels(path):
  assert unit(path) in LEVELS, f'{unit(path)} needs a place in ORDER'
  source = path.read_text()
  assert not imported_units(source) - LEVELS.keys() - {'__version__'}
  assert not offences(unit(path), source)


def test_the_check_of_levels_sees_every_form_of_import():
  for source in (
    'import unrealnas_jax.main',
    'from unrealnas_jax import genotype, main',
    'from unrealnas_jax.main import run',
    'def late():\n  import unrealnas_jax.main as m',
  ):
    assert offences('metrics', source) == {'main'}
    assert offences('benchmark', source) == set()
  assert offences('checkpoint', 'from unrealnas_jax import metrics') == {'metrics'}
  assert offences('data', 'from unrealnas_jax.data import npz') == set()
  assert imported_units('import jax\nfrom absl import app') == set()


def test_top_level_holds_only_what_the_layout_names():
  try:
    listed = subprocess.run(
      ['git', 'ls-files', '--cached', '--others', '--exclude-standard'],
      cwd=ROOT,
      capture_output=True,
      text=True,
      check=True,
    )
  except (OSError, subprocess.CalledProcessError):
    pytest.skip('not a git checkout')
  top = {line.split('/')[0] for line in listed.stdout.splitlines()}
  assert {name for name in top if not name.startswith('.')} <= ALLOWED_AT_TOP


@pytest.mark.parametrize(
  'path', python_files('unrealnas_jax', 'configs', 'launch', 'tests'), ids=lambda p: str(p.name)
)
def test_files_are_named_for_an_idea_and_short(path):
  assert not VAGUE.search(path.stem), f'{path.name}: name it for what it does'
  count = len(path.read_text().splitlines())
  assert count <= LONGEST, f'{path.name} has {count} lines, at most {LONGEST} are allowed'


def test_vague_names_are_seen():
  assert VAGUE.search('utils')
  assert VAGUE.search('test_helpers')
  assert not VAGUE.search('commonality')
