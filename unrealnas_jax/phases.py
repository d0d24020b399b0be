"""Which trainings a config asks for, and of what images."""


def phases(config):
  """The names of the trainings; `retrain` is also that of a generator's judges and an analysis."""
  retrain = ['retrain'] if config.retrain.epochs else []
  if config.generator.steps:
    return ['generator', *retrain]
  return retrain if config.genotype or config.analysis.genotypes else ['search', *retrain]


def sources(config):
  """The names of the sources of all that a run sees."""
  return {name for phase in phases(config) for name in _sources(config, phase)}


def needs_images(config):
  """Whether a run looks at real images."""
  from unrealnas_jax.data import IMAGELESS

  return bool(sources(config) - set(IMAGELESS))


def examples_of(config, dataset):
  """(what the number is called, how many examples a search has); 0 if only the data tells."""
  from unrealnas_jax.data import IMAGELESS

  if config.source.name in IMAGELESS:
    return 'source.examples', config.source.examples
  return 'the training images', dataset.train.size if dataset else 0


def sizes(config, phase, dataset):
  """(what the number is called, the smaller side in pixels) of each kind of image of a phase.

  0 if only the data tells.
  """
  from unrealnas_jax.data import IMAGELESS

  names = set(_sources(config, phase))
  if 'generated' in names:
    yield 'the size of the generated images', _generated_size(config.source.generator)
  if names & (set(IMAGELESS) - {'generated'}):
    yield 'source.size', config.source.size
  if names - set(IMAGELESS):
    side, size = min(dataset.shape[:2]) if dataset else 0, config.data.size
    yield ('data.size', size) if size else ('the smaller side of the images', side)


def _sources(config, phase):
  if phase == 'search':
    return [config.source.name]
  return config.analysis.sources.split(',') if config.analysis.genotypes else ['real']


def _generated_size(workdir):
  from unrealnas_jax.data import generated

  try:
    return min(generated.describe(workdir).shape[:2])
  except ValueError:
    return 0
