"""The notebook, executed from start to end at smoke scale."""

import ast
import json
import os
import pathlib

import numpy as np
import programs
import pytest
import quick_run

nbclient = pytest.importorskip('nbclient')
nbformat = pytest.importorskip('nbformat')
transformer = pytest.importorskip('IPython.core.inputtransformer2')

ROOT = pathlib.Path(__file__).parent.parent.parent
SMOKE = """
import quick_run

from unrealnas_jax.rules import flatten

SCALE, PUBLISHED, FOLDER = 'laptop', 'DARTS_V2', 'runs'
CHANGES = flatten(quick_run.get_config().to_dict()) | {'search.cells': 1, 'retrain.cells': 1}
"""


@pytest.fixture
def notebook():
  return nbformat.read(ROOT / 'launch' / 'colab.ipynb', as_version=4)


def tagged(notebook, tag):
  (cell,) = [cell for cell in notebook.cells if tag in cell.metadata.get('tags', ())]
  return cell


def test_it_is_clean(notebook):
  nbformat.validate(notebook)
  for cell in notebook.cells:
    if cell.cell_type == 'code':
      assert (cell.outputs, cell.execution_count) == ([], None)
      code = ast.parse(transformer.TransformerManager().transform_cell(cell.source))
      defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
      assert not any(isinstance(node, defined) for node in ast.walk(code))


def test_it_runs_from_start_to_end(notebook, tmp_path, monkeypatch, compiled):
  np.savez(tmp_path / 'x.npz', **quick_run.images())
  environment = programs.environment(compiled)
  environment['PYTHONPATH'] += f'{os.pathsep}{ROOT / "tests"}'
  for name, value in environment.items():
    monkeypatch.setenv(name, value)
  tagged(notebook, 'install').source = ''  # the package is there, and nothing may be downloaded
  tagged(notebook, 'parameters').source = SMOKE
  resources = {'metadata': {'path': str(tmp_path)}}
  nbclient.NotebookClient(notebook, timeout=500, resources=resources).execute()

  outputs = [cell.get('outputs', []) for cell in notebook.cells]
  shown = [output.get('data', {}) for cell in outputs for output in cell]
  assert sum('image/png' in data for data in shown) == 3  # samples, weights, cells
  (table,) = [data['text/markdown'] for data in shown if 'text/markdown' in data]
  assert table.splitlines()[0].startswith('| genotype | runs | ')
  assert table.splitlines()[3].startswith('| DARTS_V2 | 1 | ')
  progress = ''.join(o.text for cell in outputs for o in cell if o.get('name') == 'stderr')
  assert 'search: 100%' in progress
  assert 'retrain: 100%' in progress
  for name in ('search', 'found', 'DARTS_V2', 'comparison'):
    assert (tmp_path / 'runs' / name / 'report.html').exists()
  found = json.loads((tmp_path / 'runs' / 'found' / 'result.json').read_text())
  assert 0 <= found['test_accuracy'] <= 1
