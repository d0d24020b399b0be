"""Pretext tasks, chosen by config.source.pretext: each makes labels of a source's images alone.

A task is a function make(config, source) -> Source whose images are shown, after augmentation, as
the task changes them; the labels that they had are not.
Source: Liu et al. 2020, UnNAS, pycls/datasets/prepare.py.
"""

import jax
import numpy as np

from unrealnas_jax.data.pretext import colorisation, jigsaw, rotation
from unrealnas_jax.data.source import Source, with_views

TASKS = {
  'rotation': rotation.make,
  'jigsaw': jigsaw.make,
  'colorisation': colorisation.make,
}
NONE = ''
# The child of the data key that tasks draw from: no example has this index, and unlike
# painted.WORLD no source draws from it.
TASK = np.uint32(2**32 - 2)


def head(config) -> dict:
  """What the supernet's head must be for the task: {'tiles', 'per_pixel'} of supernet.Shape."""
  task = config.source.pretext
  return {
    'tiles': config.source.grid**2 if task == 'jigsaw' else 1,
    'per_pixel': task == 'colorisation',
  }


def add(config, source: Source) -> Source:
  """The source with the task config.source.pretext; ValueError: its images cannot be used so."""
  if config.source.pretext == NONE:
    return source
  made = TASKS[config.source.pretext](config, source)

  def task(key, batch, images):
    return made.task(jax.random.fold_in(key, TASK), batch, images)

  return made._replace(task=task, read=with_views(source.read))
