"""The part of a config that data sets are read by."""

from configs import default


def data_config(path, **changes):
  """config.data for a path, with images as they are stored unless changed."""
  data = default.get_config('laptop').data
  data.update({'path': str(path), 'size': 0, **changes})
  return data
