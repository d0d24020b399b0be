"""What runs have left in their workdirs, read back for reports and comparisons."""

import json
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from unrealnas_jax import genotype as genotypes
from unrealnas_jax import samples
from unrealnas_jax.rules import flatten

ON = '_on_'  # stands between cell and source in the name of a phase of an analysis


class Run(NamedTuple):
  """A run; what its workdir does not hold is None or empty.

  name: of the folder. config, result: as their JSON files, flat: {'search.epochs': 50}.
  environment: as its JSON file. genotype: the found or given one; compared: name -> genotype, those
  of an analysis.
  series: phase -> name -> (steps [N], values [N], NaN where there is none).
  weights: kind of cell -> (epochs [T] from 1 on over all stages, mixing weights [T, E, O] at
    their ends).
  samples: (images uint8, labels). sheet: uint8 [H, W] or [H, W, 3], images of a trained generator.
  """

  name: str
  config: dict[str, Any]
  result: dict[str, Any]
  environment: dict[str, Any]
  genotype: Any
  compared: dict[str, Any]
  series: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]
  weights: dict[str, tuple[np.ndarray, np.ndarray]]
  samples: tuple[np.ndarray, np.ndarray] | None
  sheet: np.ndarray | None


def read(workdir):
  """The Run of a workdir, finished or not.

  Raises ValueError: the folder is no workdir, or a file in it cannot be read.
  """
  folder = epath.Path(workdir)
  if not (folder / 'config.json').exists():
    raise ValueError(f'{workdir} holds no config.json; allowed: the workdir of a run')
  path = folder / 'genotype.json'
  lines = _lines(folder / 'metrics.jsonl')
  return Run(
    name=folder.resolve().name,
    config=flatten(_json(folder / 'config.json')),
    result=flatten(_json(folder / 'result.json')),
    environment=_json(folder / 'environment.json'),
    genotype=genotypes.from_json(path.read_text(), str(path)) if path.exists() else None,
    compared=read_genotypes(folder / 'genotypes.json'),
    series=_series(lines),
    weights=_weights(lines),
    samples=samples.read(workdir),
    sheet=samples.read_sheet(workdir),
  )


def read_seeds(workdir):
  """The finished Runs of a run of several seeds, in their order; [] of any other.

  Of seeds that one program searched, losses and the like are their mean, and what is measured at
  the end of an epoch is each one's own. Raises ValueError as `read`.
  """
  folder = epath.Path(workdir)
  seeds = _json(folder / 'config.json').get('seeds', ())
  paths = {str(seed): folder / f'seed_{seed}' for seed in seeds}
  found = {seed: read(path) for seed, path in paths.items() if (path / 'config.json').exists()}
  for together in folder.glob('seeds_*'):
    lines = _lines(together / 'metrics.jsonl')
    for number, seed in enumerate(together.name.split('_')[1:]):
      if seed in found:
        own = [line | line.get('each', {number: {}})[number] for line in lines]
        found[seed] = found[seed]._replace(
          series=_series(own) | found[seed].series,
          weights=_weights(own),
          samples=samples.read(together),
        )
  return list(found.values())


def read_genotypes(path):
  """{name: genotype} of a JSON file, {} where there is none. Raises ValueError as `read`."""
  return {
    name: genotypes.from_json(json.dumps(fields), f'{path}: {name}')
    for name, fields in _json(epath.Path(path)).items()
  }


def read_series(workdir):
  """Run.series of a workdir. Raises ValueError as `read`."""
  return _series(_lines(epath.Path(workdir) / 'metrics.jsonl'))


def is_number(value):
  """Whether a value of a JSON file is a number, which True is not."""
  return isinstance(value, int | float) and not isinstance(value, bool)


def _json(path):
  """The object in a file, {} where there is no file."""
  try:
    return json.loads(path.read_text()) if path.exists() else {}
  except ValueError as error:
    raise ValueError(f'{path} is not JSON: {error}') from error


def _lines(path):
  """The objects of metrics.jsonl. A last line may be cut short where a run was killed."""
  text = path.read_text() if path.exists() else ''
  try:
    return [json.loads(line) for line in text.split('\n')[:-1]]
  except ValueError as error:
    raise ValueError(f'{path} is not made of lines of JSON: {error}') from error


def _series(lines):
  found = {}
  for line in lines:
    for name, value in line.items():
      if name not in ('phase', 'step', 'epoch') and (is_number(value) or value is None):
        points = found.setdefault(line['phase'], {}).setdefault(name, [])
        points.append((line['step'], np.nan if value is None else value))
  return {
    phase: {name: tuple(np.transpose(points)) for name, points in named.items()}
    for phase, named in found.items()
  }


def _weights(lines):
  """The mixing weights that have the shape of the last ones."""
  told = [line for line in lines if 'weights' in line]
  found = {}
  for kind, last in told[-1]['weights'].items() if told else ():
    tables = [(n, np.array(line['weights'].get(kind, []))) for n, line in enumerate(told, 1)]
    tables = [(epoch, table) for epoch, table in tables if table.shape == np.shape(last)]
    epochs, stack = zip(*tables, strict=True)
    found[kind] = np.array(epochs), np.stack(stack)
  return found
