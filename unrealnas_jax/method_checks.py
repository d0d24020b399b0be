"""What keys of a method must be together: (config, devices, dataset or None) -> problems."""

from unrealnas_jax.phases import needs_images, phases


def _check_order(config, devices, dataset):
  from unrealnas_jax.methods import SECOND_ORDER

  method = config.method
  if 'search' not in phases(config) or method.order == 1:
    return
  if method.name not in SECOND_ORDER:
    yield (
      f'method.order = 2; allowed: 1 with method.name = {method.name!r}, or 2 with '
      f'{", ".join(SECOND_ORDER)}'
    )


def _check_digits(config, devices, dataset):
  method = config.method
  if 'search' not in phases(config) or config.dtype == 'float32':
    return
  needing = []
  if method.order == 2 and method.hvp == 'finite_difference':
    needing.append("method.hvp = 'finite_difference'")
  if method.eigenvalue.every:
    needing.append(f'method.eigenvalue.every = {method.eigenvalue.every}')
  for setting in needing:
    yield (
      f'dtype = {config.dtype!r}; allowed: float32 with {setting}, whose differences of gradients '
      'would be lost in rounding'
    )


def _check_learning_rates(config, devices, dataset):
  from unrealnas_jax.methods import turns

  for name in [name for name in phases(config) if name != 'generator']:
    lr, lr_end = config[name].lr, config[name].lr_end
    if lr_end > lr:
      yield f'{name}.lr_end = {lr_end}; allowed: at most {name}.lr = {lr}'
    if lr_end == 0 and config[name].lr_schedule == 'exponential':
      yield f"{name}.lr_schedule = 'exponential'; allowed: with {name}.lr_end above 0, not {lr_end}"
    parts, warmup, epochs = 1, config[name].lr_warmup, config[name].epochs
    if name == 'search':
      parts = turns(config.method)
    if warmup * parts > epochs:
      shared = f' by method.random.cells = {parts}' if parts > 1 else ''
      yield f'{name}.lr_warmup = {warmup}; allowed: at most {name}.epochs = {epochs}{shared}'


def _check_epochs(config, devices, dataset):
  from unrealnas_jax.methods import LEARNED

  method, epochs = config.method, config.search.epochs
  if 'search' not in phases(config):
    return
  if epochs == 0 and method.name != 'random':
    yield "search.epochs = 0; allowed: at least 1, or 0 with method.name = 'random'"
  elif method.name in LEARNED and method.selection == 'alphas' and method.warmup_epochs >= epochs:
    yield (
      f'method.warmup_epochs = {method.warmup_epochs}; allowed: less than search.epochs = '
      f'{epochs}, or the architecture never learns'
    )


def _check_method(config, devices, dataset):
  from unrealnas_jax.decoding import UNLIMITED_SKIPS
  from unrealnas_jax.methods import LEARNED
  from unrealnas_jax.spaces import SPACES

  if 'search' not in phases(config):
    return
  rate, count, ops = (
    config.method.skip_dropout,
    config.search.kept_ops,
    len(SPACES[config.search.space].ops),
  )
  if rate and config.method.name != 'pdarts':
    yield f"method.skip_dropout = {rate}; allowed: 0 unless method.name = 'pdarts'"
  for key, value, allowed in (
    ('eigenvalue.every', config.method.eigenvalue.every, 0),
    ('max_skips', config.method.max_skips, UNLIMITED_SKIPS),
    ('warmup_epochs', config.method.warmup_epochs, 0),
    ('selection', config.method.selection, 'alphas'),
  ):
    if config.method.name not in LEARNED and value != allowed:
      yield (
        f'method.{key} = {value!r}; allowed: {allowed!r} with method.name = '
        f'{config.method.name!r}, which has no alphas, or method.name = {", ".join(LEARNED)}'
      )
  if config.method.name not in LEARNED and count:
    yield f'search.kept_ops = {count}; allowed: 0 with method.name = {config.method.name!r}'
  if count > ops or count == 1:
    yield f'search.kept_ops = {count}; allowed: 0 for all, or from 2 to {ops}'


def _check_selection(config, devices, dataset):
  method = config.method
  if 'search' not in phases(config) or method.selection != 'perturbation':
    return
  if method.eigenvalue.every:
    yield (
      f'method.eigenvalue.every = {method.eigenvalue.every}; allowed: 0 with method.selection = '
      "'perturbation', which needs the supernet of the epoch that the cell would be taken of"
    )


def _check_cells(config, devices, dataset):
  from unrealnas_jax.methods import paths, rlnas
  from unrealnas_jax.spaces import SPACES

  method, space = config.method, config.search.space
  if 'search' not in phases(config) or method.name != 'rlnas':
    return
  if method.rlnas.search == 'exhaustive':
    if paths.number_of_cells(SPACES[space]) > rlnas.MOST_CELLS:
      yield (
        f"method.rlnas.search = 'exhaustive'; allowed: 'evolution' with search.space = {space!r}, "
        'which has too many cells to rank them all'
      )
    return
  bred = method.evolution.mutations + method.evolution.crossovers
  if bred > method.evolution.population:
    yield (
      f'method.evolution.mutations + method.evolution.crossovers = {bred}; allowed: at most '
      f'method.evolution.population = {method.evolution.population}, the cells of a generation'
    )


def _check_limits(config, devices, dataset):
  if 'search' not in phases(config) or needs_images(config) and dataset is None:
    return
  if not config.search.max_parameters and not config.search.max_multiply_adds:
    return
  from unrealnas_jax import data, limits
  from unrealnas_jax.methods import METHODS
  from unrealnas_jax.spaces import SPACES

  space, method = SPACES[config.search.space], METHODS[config.method.name]
  draws = hasattr(method, 'draws') and method.draws(config.method)
  try:
    images = dataset or data.make_source(config, None)
  except ValueError:
    return  # told by _check_generator
  yield from limits.problems(config, space, images, draws)


def _check_partial(config, devices, dataset):
  parts, channels = config.search.partial_channels, config.search.channels
  if 'search' in phases(config) and channels % parts:
    yield (f'search.partial_channels = {parts}; allowed: a divisor of search.channels = {channels}')


CHECKS = (
  _check_order,
  _check_digits,
  _check_learning_rates,
  _check_epochs,
  _check_method,
  _check_selection,
  _check_cells,
  _check_limits,
  _check_partial,
)
