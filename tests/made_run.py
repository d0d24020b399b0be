"""A workdir as a run leaves it, written without running anything."""

import json

import numpy as np
from changed_config import changed

from unrealnas_jax import config as config_lib
from unrealnas_jax import genotype as genotypes
from unrealnas_jax.spaces import SPACES

EPOCHS = 3


def write(folder, seed=2, accuracy=0.5, **config):
  """Writes the workdir of a finished run; config: top keys of the config, such as genotype."""
  folder.mkdir(parents=True)
  values = json.loads(config_lib.to_json(changed('seed', seed))) | config
  found = genotypes.PUBLISHED['DARTS_V2']
  result = {'test_accuracy': accuracy, 'parameters': 1000 * seed, 'genotype': 'Genotype(...)'}
  for name, content in {
    'config': values,
    'genotype': found._asdict(),
    'result': result,
    'environment': {'python': '3.11', 'revision': None},
  }.items():
    (folder / f'{name}.json').write_text(json.dumps(content))
  lines = [line for epoch in range(1, EPOCHS + 1) for line in epoch_lines(epoch, seed)]
  (folder / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
  images = np.random.default_rng(0).integers(0, 255, (5, 8, 8, 1)).astype(np.uint8)
  np.savez(folder / 'samples.npz', images=images, labels=np.arange(5))
  return folder


def write_seeds(folder, together, alone):
  """Writes the workdir of a run of several seeds, of which one program searched some."""
  write(folder, seeds=[*together, *alone])
  for name in ('genotype.json', 'metrics.jsonl', 'samples.npz'):
    (folder / name).unlink()
  for seed in (*together, *alone):
    write(folder / f'seed_{seed}', seed=seed, accuracy=seed / 10)
  both = folder / '_'.join(['seeds', *map(str, together)])
  both.mkdir()
  lines = [line for epoch in range(1, EPOCHS + 1) for line in epoch_lines(epoch, seed=0)]
  for line in lines:
    if weights := line.pop('weights', None):
      line['each'] = [{'normal_skips': 10 * seed, 'weights': weights} for seed in together]
  (both / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))
  for seed in together:
    (folder / f'seed_{seed}' / 'metrics.jsonl').unlink()
    (folder / f'seed_{seed}' / 'samples.npz').rename(both / 'samples.npz')
  return folder


def epoch_lines(epoch, seed):
  """The lines of metrics.jsonl of an epoch of two steps."""
  space, end = SPACES['darts'], 2 * epoch
  for step in (end - 1, end):
    losses = {'train_loss': 1 / step, 'val_loss': seed / step, 'train_accuracy': 0.1 * step}
    yield {'phase': 'search', 'step': step, **losses}
  shape = len(space.edges), len(space.ops)
  weights = {kind: np.full(shape, 0.1 * epoch).tolist() for kind in space.kinds}
  signs = {'eval_accuracy': None, 'normal_skips': epoch, 'reduce_skips': 0, 'none_mass': 0.1}
  yield {'phase': 'search', 'step': end, 'epoch': epoch, **signs, 'weights': weights}
