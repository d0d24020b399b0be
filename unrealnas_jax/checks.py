"""What keys of a config must be together: (config, devices, dataset or None) -> problems."""

import os

from unrealnas_jax import given_genotype, method_checks, tabular
from unrealnas_jax.phases import examples_of, needs_images, phases, sizes, sources
from unrealnas_jax.rules import PATH

# The sources, beside one of generated images, whose labels are drawn by source.label_rate.
RANDOM_LABELS = 'noise', 'fresh_noise', 'fresh_labels', 'matched_noise', 'random_labels'


def _check_work(config, devices, dataset):
  if config.generator.steps and config.retrain.epochs and not config.genotype:
    yield (
      "genotype = ''; allowed: a published name or a file with generator.steps above 0, for the "
      'networks that judge the generated images'
    )
  if not config.genotype:
    return
  try:
    given_genotype.look_up(config.genotype)
  except ValueError as error:
    yield str(error)
  other = config.generator.steps or config.benchmark.nasbench201_csv
  if config.retrain.epochs == 0 and not other:
    yield (
      f'retrain.epochs = 0; allowed: at least 1 with genotype = {config.genotype!r}, '
      'or there is nothing to do'
    )


def _check_analysis(config, devices, dataset):
  from unrealnas_jax.data import IMAGELESS, SOURCES

  genotypes, sources, retrain = config.analysis.genotypes, config.analysis.sources, config.retrain
  if not genotypes:
    return
  for name in genotypes.split(','):
    try:
      name == given_genotype.RANDOM or given_genotype.look_up(name)
    except ValueError as error:
      yield f'analysis.genotypes = {genotypes!r}: {error}; allowed besides: {given_genotype.RANDOM}'
  if unknown := set(sources.split(',')) - SOURCES.keys():
    known = ', '.join(SOURCES)
    yield f'analysis.sources = {sources!r}; no source {unknown.pop()!r}; allowed: {known}'
  if retrain.epochs == 0:
    yield 'retrain.epochs = 0; allowed: at least 1 with analysis.genotypes'
  for key, value, allowed in (
    ('genotype', config.genotype, ''),
    (tabular.KEY, config.benchmark.nasbench201_csv, ''),
    ('retrain.auxiliary', retrain.auxiliary, 0),
    ('generator.steps', config.generator.steps, 0),
    ('source.pretext', config.source.pretext, ''),
    ('seeds', config.seeds, ()),
  ):
    if value != allowed:
      yield f'{key} = {value!r}; allowed: {allowed!r} with analysis.genotypes'
  yield from _several_labels(config, dataset)
  if set(sources.split(',')) & set(IMAGELESS) and retrain.batch > config.source.examples:
    yield (
      f'retrain.batch = {retrain.batch}; allowed: at most source.examples = '
      f'{config.source.examples} with analysis.sources = {sources!r}'
    )


def _several_labels(config, dataset):
  # Bits of several labels are half right before any training, so that no epoch is the one in which
  # half of them are known; and a part of right bits says little of images that are known by heart.
  reason = 'with analysis.genotypes, which counts images whose one class a network knows'
  if config.source.label_rate:
    yield f'source.label_rate = {config.source.label_rate}; allowed: 0 {reason}'
  if dataset and dataset.names:
    yield (
      f'data.path = {config.data.path!r}, whose images have several labels; allowed: one class an '
      f'image {reason}'
    )
  if config.source.labels == 'condition' and _makes_several(config):
    yield (
      f'source.generator = {config.source.generator!r}, whose images have several labels; allowed: '
      f'one class an image {reason}'
    )


def _makes_several(config):
  from unrealnas_jax.data import generated

  try:
    made = 'generated' in sources(config) and generated.describe(config.source.generator)
  except ValueError:
    return False  # told by _check_generator
  return bool(made) and made.several


def _check_data(config, devices, dataset):
  from unrealnas_jax.data.datasets import kind_of

  if not needs_images(config):
    return
  try:
    kind = kind_of(config.data.path)
  except ValueError as error:
    yield str(error)
    return
  if kind == 'npz' and not os.path.isfile(os.path.expanduser(config.data.path)):
    yield f'data.path = {config.data.path!r}; no such file; allowed: {PATH}'


def _check_batches(config, devices, dataset):
  for name in phases(config):
    batch = config[name].batch
    if batch % devices:
      yield f'{name}.batch = {batch}; allowed: a multiple of the number of devices, {devices}'
    if name != 'search' and dataset and batch > dataset.train.size:
      yield (
        f'{name}.batch = {batch}; allowed: at most {dataset.train.size}, the number of training '
        f'images of data.path = {config.data.path!r}'
      )


def _check_microbatches(config, devices, dataset):
  for name in [name for name in phases(config) if name != 'generator']:
    batch, part = config[name].batch, config[name].microbatch
    allowed = [n for n in range(devices, batch + 1, devices) if batch % n == 0]
    if part and part not in allowed and batch % devices == 0:
      yield (
        f'{name}.microbatch = {part}; allowed: 0, or a divisor of {name}.batch = {batch} and '
        f'multiple of the number of devices, {devices}: {", ".join(map(str, allowed))}'
      )


def _check_halves(config, devices, dataset):
  key, examples = examples_of(config, dataset)
  if 'search' not in phases(config) or not examples:
    return
  from unrealnas_jax.data import make_halves

  try:
    weights, arch = map(len, make_halves(config, examples, dataset))
  except ValueError as error:
    yield str(error)
    return
  batch, most = config.search.batch, min(weights, arch)
  if batch > most:
    yield (
      f'search.batch = {batch}; allowed: at most {most}, the smaller part of {key} = {examples} '
      f'split at search.train_portion = {config.search.train_portion}'
    )
    return
  per_call, epoch_steps = config.search.steps_per_call, weights // batch
  if epoch_steps % per_call:
    divisors = (str(n) for n in range(1, epoch_steps + 1) if epoch_steps % n == 0)
    yield (
      f'search.steps_per_call = {per_call}; allowed: a divisor of the {epoch_steps} steps of an '
      f'epoch: {", ".join(divisors)}'
    )


def _check_sizes(config, devices, dataset):
  for name in phases(config):
    for key, size in sizes(config, name, dataset):
      for change in ('pad', 'cutout'):
        pixels = config[name].augment[change]
        if size and pixels >= size:
          yield f'{name}.augment.{change} = {pixels}; allowed: less than {key} = {size} pixels'


def _check_views(config, devices, dataset):
  data = config.data
  if needs_images(config) and data.size == 0:
    for key, allowed in (('crop', 0), ('random_crop', 1)):
      if data[key] != allowed:
        yield f'data.{key} = {data[key]}; allowed: {allowed} with data.size = 0'


def _check_labels(config, devices, dataset):
  smoothing = config.retrain.label_smoothing
  if 'retrain' in phases(config) and smoothing and dataset and dataset.names:
    yield (
      f'retrain.label_smoothing = {smoothing}; allowed: 0 with several labels an image, which '
      f'data.path = {config.data.path!r} has'
    )
  smoothing, several = config.search.label_smoothing, _several_of_search(config, dataset)
  if 'search' in phases(config) and smoothing and several:
    yield (
      f'search.label_smoothing = {smoothing}; allowed: 0 with several labels an image, which '
      f'{several} gives'
    )


def _several_of_search(config, dataset):
  """'key = value' of what gives images of a search several labels; '' if each has one class."""
  source = config.source
  if source.pretext:
    return ''
  if source.name in ('real', 'shuffled_labels', 'noisy_labels'):
    return f'data.path = {config.data.path!r}' if dataset and dataset.names else ''
  if source.name == 'generated' and source.labels == 'condition':
    return f'source.generator = {source.generator!r}' if _makes_several(config) else ''
  drawn = source.name == 'generated' or source.name in RANDOM_LABELS
  return f'source.label_rate = {source.label_rate}' if source.label_rate and drawn else ''


def _check_search_stem(config, devices, dataset):
  stem, space = config.search.stem, config.search.space
  if 'search' in phases(config) and stem != 'cifar' and space == 'nasbench201':
    yield f"search.stem = {stem!r}; allowed: 'cifar' with search.space = {space!r}"


def _check_network(config, devices, dataset):
  retrain = config.retrain
  if 'retrain' not in phases(config):
    return
  imagenet = retrain.stem == 'imagenet'
  if imagenet and retrain.channels < 2:
    yield f'retrain.channels = {retrain.channels}; allowed: at least 2 for the stem imagenet'
  # Both reductions halve the image, and the stem of ImageNet three times before them.
  halvings = 5 if imagenet else 2
  for key, size in sizes(config, 'retrain', dataset):
    if retrain.auxiliary and 0 < size <= 2**halvings:
      yield (
        f'retrain.auxiliary = {retrain.auxiliary}; allowed: 0 with {key} = {size}, the auxiliary '
        f'head needs more than {2**halvings} pixels'
      )


def _check_generator(config, devices, dataset):
  from unrealnas_jax import gan
  from unrealnas_jax.data import generated

  if 'generated' in sources(config):
    try:
      generated.describe(config.source.generator)
    except ValueError as error:
      yield str(error)
  if 'generator' not in phases(config):
    return
  steps, every = config.generator.steps, config.generator.sheet_every
  if steps % every:
    yield f'generator.steps = {steps}; allowed: a multiple of generator.sheet_every = {every}'
  size = config.data.size
  shape = (size, size) if size else dataset and dataset.shape
  try:
    gan.doublings(shape or (8, 8))
  except ValueError as error:
    yield f'data.size = {size} gives the generator images of {error}'
  if config.benchmark.nasbench201_csv:
    yield f"{tabular.KEY} = {config.benchmark.nasbench201_csv!r}; allowed: '' with generator.steps"


def _check_nasbench201(config, devices, dataset):
  table, retrain = config.benchmark.nasbench201_csv, config.retrain
  try:
    is_cell = any(given_genotype.is_nasbench201(config, name) for name in _genotypes(config))
  except ValueError:
    return  # told by _check_work and _check_analysis
  if is_cell and 'retrain' in phases(config):
    for key, allowed in (('auxiliary', 0), ('drop_path', 0), ('stem', 'cifar')):
      if retrain[key] != allowed:
        yield f'retrain.{key} = {retrain[key]!r}; allowed: {allowed!r} for a NAS-Bench-201 cell'
  if table and not is_cell:
    yield (
      f"{tabular.KEY} = {table!r}; allowed: '' unless search.space = 'nasbench201' or genotype is "
      'a cell of NAS-Bench-201'
    )
  elif table:
    try:
      tabular.reader_of(table)
    except ValueError as error:
      yield str(error)


def _genotypes(config):
  """The names of what a run trains; '' is what its search finds."""
  return config.analysis.genotypes.split(',') if config.analysis.genotypes else [config.genotype]


# What keys must be together: (config, devices, dataset or None) -> problems.
CHECKS = (
  _check_work,
  _check_analysis,
  _check_data,
  _check_batches,
  _check_microbatches,
  _check_halves,
  *method_checks.CHECKS,
  _check_sizes,
  _check_views,
  _check_labels,
  _check_search_stem,
  _check_network,
  _check_nasbench201,
  _check_generator,
)
