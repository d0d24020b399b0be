"""A program that takes steps of a tiny search on 1, 2, 4 and 8 devices and prints what came out.

  JAX_NUM_CPU_DEVICES=8 PYTHONPATH=.:tests python tests/virtual_devices.py

One JSON object: for each form and number of devices the state and metrics after two steps on the
same batches, and of each all-reduce in the text of the compiled step the bytes of its arrays. In
the plain form, which has no loops, the text has every all-reduce of a step.
"""

import json
import math
import re

import jax
import numpy as np
import quick_run
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from unrealnas_jax import parallel, search

DEVICES = {'plain': (1, 2, 4, 8), 'quick': (1, 4)}
SIZES = {'f32': 4}


def all_reduces(text):
  """Bytes of each array of each all-reduce in the text of a compiled program: [[bytes]]."""
  results = re.findall(r'= (.*) all-reduce(?:-start)?\(', text)
  return [
    [
      SIZES[kind] * math.prod(int(size) for size in sizes.split(',') if size)
      for kind, sizes in re.findall(r'(\w+)\[([\d,]*)\]', result)
    ]
    for result in results
  ]


def take_steps(found, devices):
  """The state and metrics after two steps on the first so many devices, and all_reduces."""
  mesh = Mesh(np.array(jax.devices()[:devices]), (parallel.AXIS,))
  put = {
    name: NamedSharding(mesh, PartitionSpec(*spec))
    for name, spec in (('whole', ()), ('split', (parallel.AXIS,)))
  }
  key, state = jax.device_put((found.key, jax.jit(found.plan.init)()), put['whole'])
  compiled = None
  for pair in found.plan.batches(range(2)):
    rows = [jax.tree.map(lambda x: x.reshape(devices, 1, -1, *x.shape[2:]), half) for half in pair]
    arguments = key, state, *jax.device_put(rows, put['split'])
    compiled = compiled or found.plan.step.lower(*arguments).compile()
    state, metrics = compiled(*arguments)
  values = jax.tree.leaves_with_path((state, metrics))
  return {
    'values': {jax.tree_util.keystr(path): np.ravel(x).tolist() for path, x in values},
    'all_reduces': all_reduces(compiled.as_text()),
  }


def get_config():
  """One cell: its step is compiled once for each number of devices."""
  config = quick_run.get_config()
  config.search.cells = 1
  return config


def main():
  found = {}
  for form, numbers in DEVICES.items():
    made = search.prepare(get_config(), None, plain=form == 'plain')
    found[form] = {devices: take_steps(made, devices) for devices in numbers}
  print(json.dumps(found))


if __name__ == '__main__':
  main()
