"""The stages of a search: one config each, changed from the whole by what config.stages says."""

from ml_collections import ConfigDict


def configs(config):
  """One config a stage, each without stages; config itself where it has none.

  Raises ValueError: a stage changes a key that no config has.
  """
  if not config.stages:
    return [config]
  return [_changed(config, number, stage) for number, stage in enumerate(config.stages)]


def phases(config):
  """What the stages are called in checkpoints and metrics."""
  count = len(config.stages)
  return [f'search_{number + 1}' for number in range(count)] or ['search']


def _changed(config, number, stage):
  changed = config.copy_and_resolve_references()  # ConfigDict(config) would share its sections
  changed.stages = ()
  for key, value in stage.items():
    *sections, name = key.split('.')
    node = changed
    for section in sections:
      node = node.get(section) if isinstance(node, ConfigDict) else None
    if not isinstance(node, ConfigDict) or name not in node or name == 'stages':
      raise ValueError(f'stage {number + 1} changes {key}, which is no key of a config')
    node.unlock()
    try:
      node[name] = value
    except TypeError as error:
      raise ValueError(f'stage {number + 1} changes {key} to {value!r} ({error})') from error
  return changed
