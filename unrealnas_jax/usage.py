"""What --help says: how to start, the flags, the configs there are, the keys of the one given."""

import ast
import pathlib
import re
import textwrap

from unrealnas_jax.rules import flatten, rules

CONFIGS = pathlib.Path(__file__).parent.parent / 'configs'


def text(about, values, config=None):
  """The help.

  about: docstring of the program. values: absl's FlagValues. config: that of the command line, of
  which each key is told with its value and what is allowed.
  """
  parts = [about.strip(), '', 'Flags:', *_flags(values), '  --helpfull: the flags of libraries too']
  configs = list(_configs())
  if configs:
    parts += ['', 'Configs:', *(f'  {path}: {what}' for path, what in configs)]
  if config is None:
    parts += ['', '--help together with --config=FILE tells the keys of that config.']
  else:
    parts += ['', 'Keys:', *_keys(config)]
  return '\n'.join(part if not part.startswith('  ') else _wrapped(part) for part in parts)


def _flags(values):
  """The flags that this package has defined."""
  own = [
    flag
    for module, flags in values.flags_by_module_dict().items()
    if 'unrealnas_jax' in module
    for flag in flags
  ]
  for flag in own:
    yield f'  --{flag.name}{"" if flag.boolean else "=..."}: {flag.help}'


def _configs():
  """(path, first line of its docstring) of the configs beside the package."""
  for path in sorted(CONFIGS.glob('*.py')):
    tree = ast.parse(path.read_text())
    makes = any(getattr(node, 'name', '') == 'get_config' for node in tree.body)
    if makes and path.stem != 'default':
      about = ast.get_docstring(tree) or ''
      yield f'configs/{path.name}', about.split('\n')[0]


def _keys(config):
  """Each key with its value and what configs/default.py says of it, else what its rule allows."""
  allowed, meanings = rules(), dict(reversed([*_meanings()]))  # the first of each is the paper's
  for key, value in flatten(config.to_dict()).items():
    told = [text for name, text in meanings.items() if f'.{key}'.endswith(f'.{name}')]
    yield f'  --config.{key}={value}: {told[0] if told else allowed[key].allowed}'


def _meanings():
  """(key, comment) of the assignments in configs/default.py: behind them, or on lines above."""
  path, above = CONFIGS / 'default.py', []
  for line in path.read_text().splitlines() if path.exists() else ():
    match = re.match(r'  (?:config\.)?([\w.]+) = .*?(?:  # (.*))?$', line)
    if match and (match[2] or above):
      yield match[1], match[2] or ' '.join(above)
    above = [*above, line.strip('# ')] if line.startswith('  # ') else []


def _wrapped(line):
  return textwrap.fill(line, 100, subsequent_indent='      ', break_long_words=False)
