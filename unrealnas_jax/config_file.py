"""Config files: where their runs are, and what to say of a file that is none.

A config file is a program of the user's, and may do anything.
"""

import os
import traceback

from ml_collections import ConfigDict

ALLOWED = 'a Python file whose get_config() returns a ConfigDict, such as configs/noise.py'


def default_workdir(file):
  """Where a run of --config=FILE is written unless --workdir says it.

  >>> default_workdir('configs/noise.py'), default_workdir('configs/noise.py:paper,imagenet')
  ('runs/noise', 'runs/noise_paper_imagenet')
  """
  file, _, choice = file.partition(':')
  name = os.path.splitext(os.path.basename(file))[0]
  return os.path.join('runs', '_'.join([name, *filter(None, choice.split(','))]))


def check(config, file):
  """Raises ValueError: get_config of a file returned no config; OSError: it was not read."""
  if isinstance(config, ConfigDict):
    return
  getattr(
    config, 'seed', None
  )  # in place of a file that could not be read is what raises its error
  found = type(config).__name__
  raise ValueError(f'--config={file}: get_config() returns {found}; allowed: {ALLOWED}')


def fault(error, file):
  """One line on an error that a config file caused, naming its line; None if it caused none."""
  while error.__context__:  # absl and ml_collections wrap what a config file raises, trace and all
    error = error.__context__
  if isinstance(error, AttributeError) and error.name == 'get_config':
    return f'--config={file} has no get_config(); allowed: {ALLOWED}'
  where = '' if isinstance(error, SyntaxError) else _line(error, os.path.abspath(file))
  if where is None:
    return None
  return f'--config={file}{where}: {type(error).__name__}: {error}; allowed: {ALLOWED}'


def _line(error, path):
  """', line N' of a file that raised an error; None if another is to say what is wrong."""
  frames = traceback.extract_tb(error.__traceback__)
  own = [frame for frame in frames if os.path.abspath(frame.filename) == path]
  # A ValueError from further down speaks for itself, such as that of configs/default.py.
  if not own or (isinstance(error, ValueError) and own[-1] is not frames[-1]):
    return None
  return f', line {own[-1].lineno}'
