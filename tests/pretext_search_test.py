"""Searches by tasks whose heads differ: they run, are restored, and learn nothing but the task."""

import json

import jax
import numpy as np
import pytest
import quick_run

from unrealnas_jax import search
from unrealnas_jax.config import validate


def make_config(task):
  config = quick_run.get_config()
  config.source.pretext, config.source.channels, config.retrain.epochs = task, 3, 0
  config.search.epochs, config.checkpoint.every = 1, 0
  return config


@pytest.mark.parametrize(
  ('task', 'classes', 'width'), [('jigsaw', 24, 4), ('colorisation', 261, 1)]
)
def test_a_search_and_what_its_checkpoint_holds(task, classes, width, tmp_path):
  config = make_config(task)
  validate(config, jax.local_device_count())
  genotype, _ = search.run(config, None, tmp_path)
  lines = [json.loads(line) for line in (tmp_path / 'metrics.jsonl').read_text().splitlines()]
  losses = [line['train_loss'] for line in lines if 'train_loss' in line]
  # What guessing costs at first, for the classes of the task are many.
  assert len(losses) == 4
  assert 0.5 * np.log(classes) < losses[0] < 2 * np.log(classes)
  assert np.isfinite(losses).all()
  assert 0 <= lines[-1]['eval_accuracy'] <= 1
  assert search.restore_genotype(tmp_path, config) == genotype
  net = search.prepare(config, None).net
  params, _ = jax.eval_shape(net.init, jax.random.key(0))
  kernel = params['classifier']['kernel']
  assert kernel.shape[1] == classes
  config.source.pretext = ''
  plain, _ = jax.eval_shape(search.prepare(config, None).net.init, jax.random.key(0))
  assert kernel.shape[0] == width * plain['classifier']['kernel'].shape[0]
