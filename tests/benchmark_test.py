"""The benchmark: which config it times, and what it says of a step; compiling is left out."""

import json
import pathlib
import sys
import types

import jax
import pytest
from absl import flags

from configs import nasbench201, noise, procedural
from unrealnas_jax import benchmark, compiled_code, kernels, timing
from unrealnas_jax.config import validate
from unrealnas_jax.rules import flatten

CONFIGS = pathlib.Path(__file__).parent.parent / 'configs'
NOISE = f'{CONFIGS}/noise.py:paper'


@pytest.fixture
def timed(monkeypatch):
  """Stands in for compiling and running; the plans that would have been timed."""
  plans = []

  def measure(plan, arguments, calls, profile):
    plans.append(plan)
    memory = types.SimpleNamespace(temp_size_in_bytes=7)
    return timing.Timed(1.0, 2.0, 3.0, 0.5, 0.25, memory, {'train_loss': 2.5})

  monkeypatch.setattr(timing, 'measure', measure)
  monkeypatch.setattr(timing, 'first_arguments', lambda key, plan, warmup=0: ())
  monkeypatch.setattr(benchmark, 'count', lambda config, dataset, seconds: {'step_gflop': 1.0})
  return plans


def start(capsys, *args):
  """(exit code, facts printed, messages) of the benchmark started with these arguments."""
  values = flags.FlagValues()
  sys.modules.pop('config_config', None)  # else a config file runs in what the last one left
  try:
    code = benchmark.main(benchmark.parse(['benchmark', *args], values), values)
  except SystemExit as end:
    code = end.code
  finally:
    jax.config.update('jax_enable_compilation_cache', True)
  out, err = capsys.readouterr()
  return code, out and json.loads(out), err


def test_papers_config_needs_no_other_keys(capsys, timed):
  code, facts, _ = start(capsys, f'--config={NOISE}', '--batch=16')
  assert code == 0
  assert facts['changed_here'] == {'search.batch': 16, 'retrain.epochs': 0}
  changed = benchmark.adapt(procedural.get_config('paper'), None, '', {})
  assert changed == {'search.steps_per_call': 1, 'retrain.epochs': 0}
  assert (facts['part'], facts['method'], facts['batch']) == ('search', 'darts', 16)
  assert (facts['channels'], facts['cells'], facts['stages']) == (16, 8, 1)
  assert facts['images_per_second'] == 32
  assert (facts['step_seconds'], facts['least_step_seconds']) == (0.5, 0.25)
  assert facts['compiled_programs'] == 'none kept: compiled anew'
  assert timed[0].per_call == 1


def test_keys_of_the_command_line_stay(capsys, timed):
  args = '--config.search.steps_per_call=10', '--config.search.cells=5'
  code, facts, message = start(
    capsys, f'--config={NOISE}', *args, '--method=pc_darts', '--batch=100'
  )
  assert code == 0, message
  assert timed[0].per_call == 10
  assert facts['cells'] == 5
  assert 'search.steps_per_call' not in facts['changed_here']


def test_retraining_needs_no_images(capsys, timed):
  code, facts, _ = start(capsys, f'--config={NOISE}', '--batch=16', '--genotype=DARTS_V2')
  assert code == 0
  assert (facts['part'], facts['genotype'], facts['batch']) == ('retrain', 'DARTS_V2', 16)
  assert timed[0].phase == 'retrain'
  assert (facts['channels'], facts['cells'], facts['parameters']) == (36, 20, 3_349_342)
  assert 'step_gflop' not in facts


@pytest.mark.parametrize('method', benchmark.METHODS)
def test_every_method_has_the_settings_of_its_file(method):
  config = procedural.get_config('laptop')
  found = benchmark.of_method(
    config, f'{CONFIGS}/procedural.py:laptop', method, {'search.channels': 16}
  )
  benchmark.adapt(found, 8, '', {})
  validate(found, 1)
  assert found.method.name == method
  assert found.source.name == config.source.name
  assert (found.search.channels, found.search.batch) == (16, 8)
  expected = {'pc_darts': ('search.partial_channels', 4), 'rlnas': ('search.affine', True)}
  if method in expected:
    key, value = expected[method]
    assert flatten(found.to_dict())[key] == value


def test_of_a_search_in_stages_the_first_is_timed(timed):
  config = benchmark.of_method(noise.get_config('laptop'), NOISE, 'drnas', {})
  benchmark.adapt(config, 16, '', {})
  _, _, facts = benchmark.prepare(config, None)
  assert facts == {'method': 'drnas', 'channels': 36, 'cells': 20, 'stages': 2}


def test_bad_flags_are_told(capsys, timed, tmp_path):
  code, _, message = start(capsys, f'--config={NOISE}', '--method=nope')
  assert code == 2
  assert '--method=nope; allowed: darts, pc_darts' in message
  with pytest.raises(ValueError, match='configs/nasbench201.py:gdas chooses it there'):
    benchmark.of_method(nasbench201.get_config('gdas,laptop'), 'nasbench201.py', 'gdas', {})
  with pytest.raises(ValueError, match='allowed: beside a config file that has .*gdas.py'):
    benchmark.of_method(noise.get_config('laptop'), f'{tmp_path}/own.py', 'gdas', {})
  _, _, message = start(capsys, f'--config={NOISE}', '--genotype=NOPE')
  assert "'NOPE'" in message


def test_programs_on_disk_are_used_only_when_asked(capsys, timed, monkeypatch):
  asked = []
  monkeypatch.setattr(compiled_code, 'keep', lambda: asked.append(True))
  start(capsys, f'--config={NOISE}', '--batch=16')
  assert not asked
  start(capsys, f'--config={NOISE}', '--batch=16', '--cache')
  assert asked


def test_kernels_are_summed_by_name_without_loops(tmp_path):
  def step(x):
    return jax.lax.fori_loop(0, 5, lambda _, x: jax.numpy.tanh(x @ x), x)

  x = jax.numpy.ones((64, 64))
  run = jax.jit(step).lower(x).compile()
  with jax.profiler.trace(str(tmp_path)):
    run(x).block_until_ready()
  found = kernels.longest(tmp_path)
  assert found == sorted(found, key=lambda kernel: -kernel['seconds'])
  assert {kernel['runs'] for kernel in found} & {5}
  assert not {kernel['kernel'] for kernel in found} & set(kernels.CONTAINERS)
  assert len(kernels.longest(tmp_path, count=1)) == 1
