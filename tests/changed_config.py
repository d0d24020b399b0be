"""A config with one key changed, past the types that ml_collections holds."""

from configs import default


def changed(key=None, value=None, scale='laptop'):
  config = default.get_config(scale)
  if key is not None:
    *parents, name = key.split('.')
    holder = config
    for parent in parents:
      holder = holder[parent]
    with holder.ignore_type():
      holder[name] = value
  return config
