"""What stages of a search, and searches together, must be like: config -> problems."""

from unrealnas_jax import stages
from unrealnas_jax.phases import phases


def check_stages(config):
  """Problems of config.stages and of what does not go with it, or with searches together."""
  from unrealnas_jax.methods import METHODS

  try:
    stages.configs(config)
  except ValueError as error:
    yield f'stages = {config.stages!r}; {error}; allowed: keys of configs/default.py'
  if 'search' not in phases(config):
    return
  method = config.method
  parting = config.stages or method.eigenvalue.every or method.selection == 'perturbation'
  if config.seeds_together > 1 and parting:
    yield (
      f'seeds_together = {config.seeds_together}; allowed: 1 with stages, method.eigenvalue.every '
      "or method.selection = 'perturbation', where searches part"
    )
  if config.seeds_together > 1 and METHODS[method.name].SPARSE:
    yield (
      f'seeds_together = {config.seeds_together}; allowed: 1 with method.name = {method.name!r}: '
      'searches together would compute all operations, where each alone computes one an edge'
    )
  if config.seeds_together > 1 and method.order == 2 and method.hvp == 'exact':
    yield (
      f"seeds_together = {config.seeds_together}; allowed: 1 with method.hvp = 'exact', which "
      "cannot be taken of searches together; method.hvp = 'finite_difference' can"
    )
  if config.seeds_together > max(1, len(config.seeds)):
    yield (
      f'seeds_together = {config.seeds_together}; allowed: 1, or as many as there are in seeds = '
      f'{tuple(config.seeds)!r}'
    )
  if config.search.kept_ops and not config.stages:
    yield f'search.kept_ops = {config.search.kept_ops}; allowed: 0 without stages'
  yield from _kept(config)


def _kept(config):
  from unrealnas_jax.methods import LEARNED

  try:
    parts = stages.configs(config) if config.stages else []
  except ValueError:
    return  # told above
  counts = [part.search.kept_ops for part in parts]
  if not all(isinstance(count, int) for count in counts):
    return  # told by the rule of the key
  for number, (part, count) in enumerate(zip(parts, counts[1:], strict=False)):
    if part.method.name not in LEARNED and count:
      yield (
        f'stages = {config.stages!r}; search.kept_ops = {count} in stage {number + 2}; allowed: 0 '
        f'after method.name = {part.method.name!r}, which ranks no operations'
      )
  if counts and counts[0]:
    yield f'stages = {config.stages!r}; search.kept_ops = {counts[0]} in stage 1; allowed: 0'
  for number, (count, before) in enumerate(zip(counts[1:], counts, strict=False)):
    if before and not 0 < count <= before:
      yield (
        f'stages = {config.stages!r}; search.kept_ops = {count} in stage {number + 2}; allowed: 2 '
        f'to {before}, for what a stage has left out does not come back'
      )
