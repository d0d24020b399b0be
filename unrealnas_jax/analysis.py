"""How well the networks of given cells memorise and generalise, with one budget for all.

Each cell is trained on each source of config.analysis. How fast and how far the network of a cell
fits random labels, of real images or of noise, tells what it can express; on real labels the
difference between training and test accuracy tells how it generalises.
Sources: Zhang et al. 2017, "Understanding Deep Learning Requires Rethinking Generalization"
(networks fit random labels); UnrealNAS (arXiv 2205.02162), which analyses searched cells so.
"""

import pathlib
import re

import jax
import numpy as np
from absl import logging
from etils import epath
from jax import lax

from unrealnas_jax import genotype as genotypes
from unrealnas_jax import loop, metrics, objective, parallel, retrain, runs
from unrealnas_jax.data import SOURCES, batches, real
from unrealnas_jax.given_genotype import RANDOM, load_genotype
from unrealnas_jax.methods import paths
from unrealnas_jax.spaces import SPACES

REACHED = {'epochs_to_half': 0.5, 'epochs_to_nine_tenths': 0.9}  # parts of the training data


def run(config, dataset, cells, workdir):
  """Trains each cell on each source, or goes on: {'analysis': [facts, ...]} for result.json.

  cells: as `load_cells` gives them; they are written to genotypes.json.
  Facts: fitted_accuracy, the part of the training data that the network gets right in evaluation
  mode after the last epoch; epochs_to_half and epochs_to_nine_tenths, after how many epochs that
  much was right, None if never; with real labels test_accuracy, and gap_of_accuracy, by how much it
  is below fitted_accuracy.
  Raises ValueError: the checkpoints or metrics in workdir cannot be used.
  """
  if parallel.is_primary():
    fields = {name: genotypes.to_fields(cell) for name, cell in cells.items()}
    metrics.write_json(epath.Path(workdir) / 'genotypes.json', fields)
  rows = [
    _train(config, cell, name, source, dataset, workdir)
    for source in config.analysis.sources.split(',')
    for name, cell in cells.items()
  ]
  return {'analysis': rows, 'scale': config.scale}


def load_cells(config, workdir=None):
  """{name: genotype} of config.analysis.genotypes.

  workdir: of an analysis that goes on, and keeps what it began with: a search that is given may
  have gone on meanwhile.
  Raises ValueError: a genotype is at fault.
  """
  kept = runs.read_genotypes(epath.Path(workdir) / 'genotypes.json') if workdir else {}
  cells = {}
  for number, given in enumerate(config.analysis.genotypes.split(',')):
    name = name_of(given)
    while name in cells:
      name += f'_{number}'
    cells[name] = kept[name] if kept else _make_cell(config, given, number)
  return cells


def _make_cell(config, given, number):
  if given != RANDOM:
    return load_genotype(given)
  space, key = SPACES[config.search.space], jax.random.fold_in(jax.random.key(config.seed), 5)
  return space.decode(paths.one_hot(space, paths.sample(jax.random.fold_in(key, number), space)))


def name_of(given):
  """What a genotype is called in files: its published name, or that of its file or folder.

  >>> name_of('runs/noise/genotype.json'), name_of('runs/noise'), name_of('DARTS_V2')
  ('noise', 'noise', 'DARTS_V2')
  """
  path = pathlib.PurePath(given)
  path = path.parent if path.name == 'genotype.json' else path
  name = path.name.removesuffix('.json').removesuffix('.txt')
  return re.sub(r'[^\w.-]+', '_', name).strip('._') or 'cell'


def prepare(config, cell, name, source, dataset):
  """The Retraining of a cell on the source of a name, which tells the fit of its training data."""
  made = SOURCES[source](config, dataset)
  found = retrain.prepare(config, cell, made, f'{name}{runs.ON}{source}')
  fitted = _fitted(config, found.network, made, found.key)
  plan = found.plan._replace(end_of_epoch=lambda state: {'fitted_accuracy': fitted(state)})
  return found._replace(plan=plan)


def _train(config, cell, name, source, dataset, workdir):
  key, plan, network = prepare(config, cell, name, source, dataset)
  state, _ = loop.run(plan, key, config, workdir)
  tested = {}
  if source == 'real':
    test = real.make(config, dataset, split='test')
    tested = retrain.evaluate(config, network, state, test, dataset)
  if not parallel.is_primary():  # which alone has written what is read here
    return {}
  curve = runs.read_series(workdir)[plan.phase]['fitted_accuracy'][1]
  made = SOURCES[source](config, dataset)
  logging.info('%s on %s: %.2f %% of the training data fitted', name, source, 100 * curve[-1])
  return {
    'genotype': name,
    'source': source,
    'examples': made.examples,
    'parameters': retrain.measure(network, made.shape)['parameters'],
    'fitted_accuracy': curve[-1],
    **{key: first_above(curve, level) for key, level in REACHED.items()},
    'test_accuracy': tested.get('test_accuracy'),
    'gap_of_accuracy': curve[-1] - tested['test_accuracy'] if tested else None,
  }


def first_above(curve, level):
  """How many entries it takes until one is at least `level`; None if none is.

  >>> first_above([0.1, 0.6, 0.4], 0.5)
  2
  """
  reached = np.flatnonzero(np.asarray(curve) >= level)
  return int(reached[0]) + 1 if len(reached) else None


def _fitted(config, network, source, key):
  """state -> which part of a source's labels the network gets right, without augmentation."""

  def count(key, state, batch):
    images, labels = source.fn(key, batch)
    variables = {'params': state.params, 'batch_stats': state.batch_stats}
    logits, _ = network.apply(variables, images, train=False)
    return lax.psum(objective.count(logits, labels, batch['mask']), parallel.AXIS)

  run_batch = parallel.pmap_step(count, batches=1, donate=False)
  key, indices = parallel.replicate(key), np.arange(source.examples)
  batch_size = config.retrain.microbatch or config.retrain.batch
  part = jax.process_index(), jax.process_count()

  def fitted(state):
    counts = [
      np.asarray(run_batch(key, state, parallel.shard(batch)), np.float64)
      for batch in batches.eval_batches(source.read, indices, batch_size, part=part)
    ]
    right, known = np.sum(counts, axis=0)
    return right / known

  return fitted
