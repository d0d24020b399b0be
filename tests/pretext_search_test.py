"""Searches by tasks whose heads differ: steps, traced and not compiled, and their checkpoints.

What the steps compute is tested where it is computed: heads_test, objective_test, supernet_test.
"""

import jax
import numpy as np
import pytest
import quick_run

from unrealnas_jax import checkpoint, earlier_search, parallel, search
from unrealnas_jax.config import validate


@pytest.mark.parametrize(
  ('task', 'space', 'cells', 'kernel'),
  [('jigsaw', 'quick', 2, (4 * 8, 24)), ('colorisation', 'nasbench201', 1, (8, 313))],
)
def test_steps_and_what_a_checkpoint_holds(task, space, cells, kernel, tmp_path):
  config = quick_run.get_config()
  config.source.pretext, config.source.channels, config.retrain.epochs = task, 3, 0
  config.search.space, config.search.cells = space, cells
  validate(config, 4)
  found = search.prepare(config, None)
  before = jax.eval_shape(found.plan.init)
  assert before.params['classifier']['kernel'].shape == kernel
  # vmap raises where a step forgets to average over its axis, the devices.
  step = jax.vmap(found.step, (None, None, 0, 0), (None, None), axis_name=parallel.AXIS)
  batches = jax.tree.map(lambda x: x[None], next(iter(found.plan.batches(range(1)))))
  after, metrics = jax.eval_shape(step, found.key, before, *batches)
  shapes = lambda state: jax.tree.map(lambda x: (x.shape, x.dtype), state)  # noqa: E731
  assert shapes(after) == shapes(before)
  assert set(metrics) == {'train_loss', 'train_accuracy', 'val_loss', 'val_accuracy'}
  # From the config and what the checkpoint holds the same head is made again.
  manager = checkpoint.open(tmp_path, 'search', 1)
  ones = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), before)
  checkpoint.save(manager, 4, parallel.replicate(ones))
  checkpoint.close(manager)
  weights = found.method.weights(ones.arch, net=found.net, hp=config.method)
  assert earlier_search.genotype_of(tmp_path, config) == found.net.space.decode(weights)
