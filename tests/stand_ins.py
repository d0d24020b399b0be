"""The program with a search and a retraining that do nothing, started within the test."""

import pathlib
import sys
import types

import numpy as np
from absl import flags

import unrealnas_jax
from unrealnas_jax import genotype, main

ROOT = pathlib.Path(__file__).parent.parent
NOISE = str(ROOT / 'configs' / 'noise.py')
RETRAIN = str(ROOT / 'configs' / 'retrain.py')
TRAIN_GENERATOR = str(ROOT / 'configs' / 'train_generator.py')
GENERATED = str(ROOT / 'configs' / 'generated.py')
FOUND = genotype.PUBLISHED['DARTS_V2']


def install(monkeypatch):
  """Puts the stand-ins in place; the list to which they add what they were given."""
  calls = []

  def search(config, dataset, workdir):
    calls.append('search')
    assert dataset is None or dataset.test is None
    pathlib.Path(workdir, 'genotype.json').write_text(genotype.to_json(FOUND))
    pathlib.Path(workdir, 'checkpoints', 'search', '8').mkdir(parents=True)
    return FOUND, {'search_seconds': 12.34}

  def restore(workdir, config):
    calls.append(('restore', workdir, config.seed))
    return FOUND

  def retrain(config, given, dataset, workdir):
    calls.append(('retrain', given))
    assert dataset.test.size
    facts = {'parameters': 3169414, 'multiply_adds': 500951712, 'retrain_seconds': 2.0}
    return {**facts, 'test_accuracy': np.float32(0.975)}

  def generator(config, given, dataset, workdir):
    calls.append(('generator', given))
    assert dataset.test.size
    return {'generator_seconds': 3.0, 'gan_train_accuracy': 0.5}

  modules = {
    'search': types.SimpleNamespace(run=search),
    'earlier_search': types.SimpleNamespace(genotype_of=restore),
    'retrain': types.SimpleNamespace(run=retrain),
    'generator': types.SimpleNamespace(run=generator),
    'plots': types.SimpleNamespace(report=lambda workdir: None),
  }
  for name, module in modules.items():
    monkeypatch.setitem(sys.modules, f'unrealnas_jax.{name}', module)
    monkeypatch.setattr(unrealnas_jax, name, module, raising=False)
  monkeypatch.setattr(main, '_set_up_log', lambda: None)
  return calls


def start(*args):
  """The exit code of the program started with these arguments."""
  values = flags.FlagValues()
  sys.modules.pop('config_config', None)  # else a config file runs in what the last one left
  try:
    return main.main(main.parse(['main', *args], values), values)
  except SystemExit as end:
    return end.code


def contents(folder):
  return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}
