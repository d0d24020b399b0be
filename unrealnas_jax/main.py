"""The main job: search an architecture, train the network it stands for, print what came out.

  python -m unrealnas_jax.main --config=configs/noise.py [--workdir=DIR] [--config.KEY=VALUE ...]

The same command again goes on where it was stopped. Bad input ends with one message and code 2, a
run that SIGTERM or SIGINT stopped with the command to give again and code 75.
"""

import json
import os
import re
import shlex
import sys
import traceback

import jax
from absl import app, flags, logging
from etils import epath
from ml_collections import config_flags

from unrealnas_jax import (
  claim,
  compiled_code,
  config_file,
  distributed,
  environment,
  freed_memory,
  metrics,
  parallel,
  stop,
  tabular,
  usage,
)
from unrealnas_jax import genotype as genotypes
from unrealnas_jax.config import validate
from unrealnas_jax.given_genotype import load_genotype
from unrealnas_jax.phases import needs_images
from unrealnas_jax.rules import RULES, unknown

PACKAGE = os.path.dirname(os.path.abspath(__file__))

# What the summary says of result.json: key -> (label, format).
SUMMARY = {
  'genotype': ('genotype', '{}'),
  'parameters': ('parameters', '{:,}'),
  'multiply_adds': ('multiply-adds', '{:,}'),
  'search_seconds': ('search', '{:.1f} s'),
  'selection_seconds': ('selection', '{:.1f} s'),
  'retrain_seconds': ('retrain', '{:.1f} s'),
  'test_accuracy': ('test accuracy', '{:.2%}'),
  'test_auc': ('mean test AUC', '{:.4f}'),
  'generator_seconds': ('generator', '{:.1f} s'),
  'gan_train_accuracy': ('GAN-train', '{:.2%} (trained on generated, tested on real images)'),
  'gan_test_accuracy': ('GAN-test', '{:.2%} (trained on real, tested on generated images)'),
  'real_accuracy': ('real', '{:.2%} (trained and tested on real images)'),
  'gan_train_auc': ('GAN-train AUC', '{:.4f} (mean over labels)'),
  'gan_test_auc': ('GAN-test AUC', '{:.4f} (mean over labels)'),
  'real_auc': ('real AUC', '{:.4f} (mean over labels)'),
  **{
    f'nasbench201_{name}': (
      name,
      '{0[accuracy_percent]:.2f} % in the table, rank {0[rank]:,} of {0[cells]:,}, '
      '{0[regret_points]:.2f} points below the best',
    )
    for name in tabular.COLUMNS
  },
}
HELP = ('--help', '-help', '-h', '--helpshort')
FILES = (
  'report.html',
  'result.json',
  'genotype.json',
  'generator.json',
  'generator_labels.npz',
  'samples',
  'genotypes.json',
  'config.json',
  'metrics.jsonl',
  'tensorboard',
  'checkpoints',
)


def main(argv, values=flags.FLAGS):
  """Does the job that the parsed flags describe; the exit code."""
  _set_up_log()
  try:
    if len(argv) > 1:
      raise ValueError(f'{argv[1]!r} is no flag; allowed: --config=FILE and --config.KEY=VALUE')
    job = estimate if values.dry_run else run
    workdir = values.workdir or config_file.default_workdir(values['config'].config_filename)
    with stop.at_once():
      job(values.config, workdir)
  except KeyboardInterrupt as stopped:
    where = ' '.join(['stopped', *map(str, stopped.args)])
    _tell(f'{where}; to go on: {shlex.join(sys.orig_argv)}', sys.stderr)
    return stop.EXIT_CODE
  except (ValueError, OSError, MemoryError, jax.errors.JaxRuntimeError) as error:
    if not _is_users(error):
      raise
    logging.debug('The error comes from here:', exc_info=True)
    return fail(_too_large(error) if _is_memory(error) else error)
  return 0


def run(config, workdir):
  """Searches, retrains and tests as the config says; what result.json holds then.

  Everything is written below workdir; a run that is there already is finished, or only read.
  Nothing is written before all that can be known to be wrong has been looked for.
  Raises ValueError: config, workdir or data cannot be used.
  """
  distributed.check()
  compiled_code.keep()
  path = epath.Path(workdir) / 'result.json'
  if path.exists() and claim.is_ours(workdir, config):
    _tell(f'{workdir} holds this run, finished; another --workdir starts a new one.')
    result = json.loads(path.read_text())
    _tell(summary(result, workdir))
    return result
  validate(config, jax.device_count())
  claim.check(workdir, config)
  devices = f'{jax.device_count()} x {jax.devices()[0].device_kind}'
  logging.info('Scale %s on %s; --config=FILE:laptop or FILE:paper chooses.', config.scale, devices)
  dataset, given = load_data(config), _given(config, workdir)
  published = config.benchmark.nasbench201_csv
  table = tabular.read(published) if published else None
  with claim.hold(workdir, config):
    logging.info('Everything is written to %s', workdir)
    if parallel.is_primary():
      metrics.write_json(epath.Path(workdir) / 'environment.json', environment.describe())
    job = _job(config)
    result = job(config, dataset, given, workdir, table)
    if parallel.is_primary():
      metrics.write_json(path, result)
      report(workdir)
  _tell(summary(result, workdir))
  return result


def estimate(config, workdir):
  """Prints what the run would be and cost, without a workdir. Raises ValueError: as `run`."""
  compiled_code.keep()
  validate(config, jax.device_count())
  claim.check(workdir, config)
  dataset, given = load_data(config), _given(config, workdir)
  from unrealnas_jax import dry_run

  for text in dry_run.describe(config, dataset, given):
    _tell(text)


def load_data(config):
  """The real images of a run, checked against the config; None for a run without any."""
  if not needs_images(config):
    return None
  from unrealnas_jax.data import datasets

  dataset = datasets.load(config.data)
  validate(config, jax.device_count(), dataset)
  return dataset


def _job(config):
  """What a config asks for: (config, dataset, given genotype, workdir, table) -> result.json."""
  if config.generator.steps:
    return train_generator
  if config.analysis.genotypes:
    return analyse
  return search_all_seeds if config.seeds else search_and_retrain


def search_all_seeds(config, dataset, given, workdir, table):
  """Results of all seeds, each also in its folder seed_N, and their mean and standard deviation.

  What a search by one program writes is in seeds_N_..., of a search alone in the seed's folder.
  """
  from unrealnas_jax import search, seeds

  seen, results = dataset and dataset._replace(test=None), {}
  for group in seeds.groups(config):
    found = [(given, {})] * len(group)
    if given is None and len(group) > 1:
      name = '_'.join(str(alone.seed) for alone in group)
      found = search.run_together(group, seen, epath.Path(workdir) / f'seeds_{name}')
    for alone, (genotype, facts) in zip(group, found, strict=True):
      folder = epath.Path(workdir) / f'seed_{alone.seed}'
      folder.mkdir(parents=True, exist_ok=True)
      results[alone.seed] = search_and_retrain(alone, dataset, genotype, folder, table) | facts
      if parallel.is_primary():
        metrics.write_json(folder / 'result.json', results[alone.seed])
        metrics.write_json(folder / 'config.json', alone.to_dict())
  return seeds.summary(results)


def search_and_retrain(config, dataset, given, workdir, table=None):
  """The genotype and what search and retraining found of it, as result.json holds them.

  given: the genotype of config.genotype, None to search for one; table: of NAS-Bench-201, or None.
  """
  # Imported only now: bad input should not have to wait for the import of every layer.
  from unrealnas_jax import retrain, search

  genotype, facts = given, {}
  if given is None:
    seen = dataset and dataset._replace(test=None)  # no search can look at test images
    genotype, facts = search.run(config, seen, workdir)
  elif parallel.is_primary():
    metrics.write_json(epath.Path(workdir) / 'genotype.json', genotypes.to_fields(given))
  if config.retrain.epochs:
    facts = {**facts, **retrain.run(config, genotype, dataset, workdir)}
  if table:
    facts = {**facts, **tabular.look_up(table, genotype)}
  return {'genotype': genotypes.to_text(genotype), 'scale': config.scale, **facts}


def train_generator(config, dataset, given, workdir, table):
  """What the training of a generator came to, as result.json holds it; given: the judges'."""
  del table
  from unrealnas_jax import generator

  return {'scale': config.scale, **generator.run(config, given, dataset, workdir)}


def analyse(config, dataset, given, workdir, table):
  """What trainings of given cells tell of them, as result.json holds it."""
  del table
  from unrealnas_jax import analysis

  return analysis.run(config, dataset, given, workdir)


def report(workdir):
  """Writes report.html. A run has succeeded without it, so what goes wrong is a warning."""
  try:
    from unrealnas_jax import plots

    plots.report(workdir)
  except Exception:
    text = 'No report was made; `python -m unrealnas_jax.plots %s` tries again.'
    logging.warning(text, workdir, exc_info=True)


def _given(config, workdir):
  """The genotype that config.genotype names, None to search for one; of an analysis {name: cell}.

  A run that goes on keeps what it began with: a search that is given may have gone on meanwhile.
  """
  kept = epath.Path(workdir) / 'genotype.json'
  if config.analysis.genotypes:
    from unrealnas_jax import analysis

    return analysis.load_cells(config, workdir if claim.is_ours(workdir, config) else None)
  if not config.genotype:
    return None
  if kept.exists() and claim.is_ours(workdir, config):
    return genotypes.from_json(kept.read_text(), str(kept))
  return load_genotype(config.genotype)


def summary(result, workdir):
  """The closing lines for a result: what came out, and where it was written."""
  lines = [
    f'{label:14} {form.format(result[key])}'
    for key, (label, form) in SUMMARY.items()
    if result.get(key) is not None
  ]
  lines += [
    f'{name:42} {mean:.6g}, standard deviation {result["standard_deviation"][name]:.2g}'
    for name, mean in result.get('mean', {}).items()
    if result['standard_deviation'][name] is not None
  ]
  if 'analysis' in result:
    from unrealnas_jax import tables

    lines += tables.aligned(*tables.analysis([({}, result['analysis'])]))
  found = [epath.Path(workdir) / name for name in FILES]
  lines += [f'{"written":14} {path}' for path in found if path.exists()]
  return '\n'.join(lines)


def parse(argv, values=flags.FLAGS):
  """Defines and parses the flags; what is left of argv. Bad flags end the program with code 2."""
  freed_memory.keep()  # here, since loading a config asks JAX for its devices
  help_text = (
    'config file; behind it :laptop (small, for a CPU) or :paper (the official protocol), else '
    'laptop where JAX finds only a CPU; --config.KEY=VALUE changes keys'
  )
  config_flags.DEFINE_config_file('config', None, help_text, flag_values=values, sys_argv=argv)
  flags.DEFINE_string(
    'workdir', '', 'folder of the run; default: runs/NAME for NAME.py', flag_values=values
  )
  about = 'only says what the run would be: config, sizes, memory, time; nothing is written'
  flags.DEFINE_bool('dry_run', False, about, flag_values=values)
  distributed.define(values)
  file = ''
  try:
    file = _look_ahead(argv)
    rest = values([arg for arg in argv if arg not in HELP])
    if set(HELP) & set(argv):
      print(usage.text(sys.modules['__main__'].__doc__, values, values.config if file else None))
      sys.exit(0)
    if not file:
      raise ValueError('--config=FILE is missing; allowed: a config file such as configs/noise.py')
    if 'scale' in values['config'].override_values:
      raise ValueError('--config.scale only tells the scale; --config=FILE:SCALE chooses it')
    config_file.check(values.config, file)
    return rest
  except Exception as error:  # a config file may raise anything
    message = _explain(argv, error, file)
    if message is None:
      raise
    sys.exit(fail(message))


def fail(message):
  """Tells the user what is wrong; the exit code."""
  print(f'error: {message}', file=sys.stderr)
  return 2


def _look_ahead(argv):
  """The config file, seen before the flags are parsed: loading it asks JAX for its devices."""
  early = flags.FlagValues()
  early.set_gnu_getopt()
  flags.DEFINE_string('config', '', '', flag_values=early)
  distributed.define(early)
  early(argv, known_only=True)
  distributed.start(early)
  file = early.config.split(':')[0]
  if file:  # so that `from configs import default` works from any folder
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(file))))
  return file


def _explain(argv, error, file):
  """One message for what went wrong with the flags; None if the fault is not the user's."""
  given = [match[1] for arg in argv if (match := re.match(r'--?(?:no)?config\.([^=]+)', arg))]
  strange = [key for key in given if not any(f'{known}.'.startswith(f'{key}.') for known in RULES)]
  illegal = re.match(r'flag --config\.([^=]+)=(.*?): ', str(error), re.DOTALL)
  if isinstance(error, OSError):
    return f'--config: {str(error).splitlines()[-1].strip()}'
  if strange and isinstance(error, KeyError | AttributeError):
    return f'--config.{strange[0]}: {unknown(strange[0])}'
  if illegal:
    allowed = RULES[illegal[1]].allowed if illegal[1] in RULES else 'its keys, one by one'
    return f'--config.{illegal[1]}={illegal[2]}; allowed: {allowed}'
  fault = config_file.fault(error, file)
  if fault or not isinstance(error, ValueError | flags.Error):
    return fault
  if str(error).startswith('flag --') and not str(error).startswith('flag --config='):
    return str(error)
  while error.__context__:  # absl and ml_collections wrap what a config file raises, trace and all
    error = error.__context__
  return str(error)


def _is_users(error):
  """Whether an error is told without a trace: the package's own ValueErrors, disks, memory."""
  if _is_memory(error):
    return True
  if isinstance(error, OSError):
    return error.errno is not None
  frames = traceback.extract_tb(error.__traceback__)
  return os.path.abspath(frames[-1].filename).startswith(PACKAGE)


def _is_memory(error):
  return isinstance(error, MemoryError) or str(error).startswith('RESOURCE_EXHAUSTED')


def _too_large(error):
  reason = str(error).strip().split('\n')[0] or 'none left'
  return (
    f'not enough memory ({reason}); allowed: smaller search.batch, '
    'search.channels, search.cells, source.size, source.examples, or those of retrain and data'
  )


def _set_up_log():
  """Shows this package's log lines, and of others the warnings; --verbosity changes it."""
  if not flags.FLAGS['verbosity'].present:
    logging.set_verbosity(logging.INFO)
    logging.get_absl_handler().addFilter(_is_worth_showing)


def _is_worth_showing(record):
  # Orbax and its asyncio log each error that it raises as well, several times and with traces.
  told_twice = re.search('/(orbax|asyncio)/', record.pathname)
  return record.pathname.startswith(PACKAGE) or (record.levelname != 'INFO' and not told_twice)


def _tell(text, file=None):
  if parallel.is_primary():
    print(text, file=file, flush=True)


if __name__ == '__main__':
  app.run(main, flags_parser=parse)
