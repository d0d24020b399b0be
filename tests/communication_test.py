"""What devices tell each other in a step, counted from its trace and in the compiled step."""

import json
import subprocess
import sys

import jax
import numpy as np
import programs
import pytest
import quick_run
import virtual_devices

from unrealnas_jax import communication, search


@pytest.fixture(scope='module')
def found(compiled):
  """What tests/virtual_devices.py prints: {form: {number of devices: values, all-reduces}}."""
  program = programs.ROOT / 'tests' / 'virtual_devices.py'
  environment = programs.environment(compiled, devices=8)
  environment['PYTHONPATH'] += f':{program.parent}'
  done = subprocess.run(
    [sys.executable, program], env=environment, capture_output=True, text=True, check=True
  )
  return json.loads(done.stdout.splitlines()[-1])


def size(tree):
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize('form', virtual_devices.DEVICES)
def test_two_steps_are_the_same_on_any_number_of_devices(form, found):
  one, *others = map(str, virtual_devices.DEVICES[form])
  for devices in others:
    for name, values in found[form][one]['values'].items():
      other = found[form][devices]['values'][name]
      np.testing.assert_allclose(other, values, rtol=2e-3, atol=2e-4, err_msg=f'{devices} {name}')


def test_the_count_is_that_of_the_compiled_step(found):
  config = virtual_devices.get_config()
  counted = communication.count(search.prepare(config, None, plain=True))
  expected = sum(kind['bytes'] for kind in counted.values())
  for devices in ('2', '4', '8'):
    sent = sum(map(sum, found['plain'][devices]['all_reduces']))
    # XLA sends what is equal once: a gradient of the pools that two nodes have in common.
    assert 0.9 * expected <= sent <= expected, devices


def test_a_step_sends_one_gradient_of_the_weights_one_of_the_architecture_and_statistics():
  config = quick_run.get_config()
  prepared = search.prepare(config, None)
  state = jax.eval_shape(prepared.plan.init)
  counted = communication.count(prepared)
  assert counted['weights']['bytes'] == size(state.params)
  assert counted['architecture']['bytes'] == size(state.arch)
  assert counted['metrics']['bytes'] < 100
  # Two moments on each of two ways out, two sums on each of two ways back.
  assert counted['batch_norm']['bytes'] == 4 * size(state.batch_stats)
  config.search.batch *= 2
  assert communication.count(search.prepare(config, None)) == counted
