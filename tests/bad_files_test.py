"""Files that are not what they should be: one message, code 2; nothing is run or unpickled."""

import io
import json
import pickle
import sys
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
from stand_ins import NOISE, RETRAIN, contents, install, start

from configs import default
from unrealnas_jax import checkpoint, earlier_search, genotype, parallel
from unrealnas_jax.config import to_json


@pytest.fixture(autouse=True)
def calls(monkeypatch):
  calls = install(monkeypatch)
  # Of the search, what reads its checkpoints is the real one.
  stand_in = sys.modules['unrealnas_jax.earlier_search']
  monkeypatch.setattr(stand_in, 'genotype_of', earlier_search.genotype_of)
  return calls


class Touch:
  """Creates a file where it is unpickled."""

  def __init__(self, path):
    self.path = str(path)

  def __reduce__(self):
    return open, (self.path, 'w')


def config_file(text):
  def make(folder):
    (folder / 'mine.py').write_text(text)
    return [f'--config={folder}/mine.py']

  return make


def changed_config(change):
  lines = 'from configs import default', 'def get_config():', "  c = default.get_config('laptop')"
  return config_file('\n'.join((*lines, f'  {change}', '  return c\n')))


NO_CONFIG = 'a Python file whose get_config() returns a ConfigDict'
CONFIG_FILES = {
  'a folder': (lambda folder: [f'--config={folder}'], 'Is a directory'),
  'empty': (config_file(''), f'mine.py has no get_config(); allowed: {NO_CONFIG}'),
  'syntax': (config_file('def get_config(:\n'), 'mine.py: SyntaxError: invalid syntax (mine.py, l'),
  'binary': (config_file('\x00\x01'), 'mine.py: SyntaxError: source code string cannot contain n'),
  'raises': (config_file('\n1 / 0\n'), 'mine.py, line 2: ZeroDivisionError: division by zero; al'),
  'value error': (config_file("int('x')\n"), 'mine.py, line 1: ValueError: invalid literal'),
  'imports': (config_file('import nowhere\n'), 'mine.py, line 1: ModuleNotFoundError: No module n'),
  'a dict': (config_file('def get_config(): return {}\n'), 'mine.py: get_config() returns dict; a'),
  'none': (config_file('def get_config(): pass\n'), 'mine.py: get_config() returns NoneType; allo'),
  'lacks a key': (changed_config('del c.search.clip'), 'search.clip: missing; allowed: a number'),
  'strange key': (changed_config('c.search.rate = 3'), 'search.rate: no such key; the nearest is'),
  'wrong type': (
    changed_config('c.search.unlock(); c.search.lr = None; c.search.ignore_type'),
    'search.lr = None; allowed: a number above 0',
  ),
}


def genotype_file(data):
  def make(folder):
    content = data(folder) if callable(data) else data
    (folder / 'genotype.json').write_bytes(content)
    return [f'--config={RETRAIN}', f'--config.genotype={folder}/genotype.json']

  return make


def fields(**changes):
  return json.dumps(genotype.PUBLISHED['DARTS_V2']._asdict() | changes).encode()


def code(folder):
  return f'Genotype(normal=open({str(folder / "evil")!r}, "w"))'.encode()


def a_pickle(folder):
  return pickle.dumps(Touch(folder / 'evil'))


GENOTYPES = {
  'empty': (genotype_file(b''), 'is not of the form Genotype(normal=[...]'),
  'binary': (genotype_file(b'\x00\xff'), 'is not a text file'),
  'cut short': (genotype_file(fields()[:40]), 'not JSON'),
  'other JSON': (
    genotype_file(b'{"seed": 2}'),
    'a genotype needs the fields normal, normal_concat',
  ),
  'no edges': (genotype_file(fields(normal=[])), 'normal has 0 edges; allowed: two for every node'),
  'a number': (genotype_file(fields(normal=3)), 'normal=3 must be a list'),
  'operation': (
    genotype_file(fields(reduce=[['sep_conv_9x9', 0], ['none', 1]], reduce_concat=[2])),
    "reduce edge 0: unknown operation 'sep_conv_9x9'; known: none, max_pool_3x3",
  ),
  'node': (
    genotype_file(fields(reduce=[['none', 0], ['none', 2]], reduce_concat=[2])),
    'reduce edge 1 into node 2 comes from node 2; allowed: 0 to 1',
  ),
  'concat': (genotype_file(fields(normal_concat=[9])), 'normal_concat names node 9; allowed: 2 to'),
  'code': (genotype_file(code), 'is not of the form Genotype(normal=[...]'),
  'a pickle': (genotype_file(a_pickle), 'is not a text file'),
}


def workdir(damage):
  """The workdir of an earlier search whose checkpoint is that of a quick space."""

  def make(folder):
    earlier = folder / 'earlier'
    arrays = {
      'params': {'classifier': {'bias': jnp.zeros(4)}, 'stem': {'kernel': jnp.zeros((3, 3, 1, 6))}}
    }
    manager = checkpoint.open(earlier, 'search', 3)
    checkpoint.save(manager, 8, parallel.replicate(arrays))
    checkpoint.close(manager)
    (earlier / 'config.json').write_text(to_json(default.get_config('laptop')))
    damage(earlier)
    return [f'--config={RETRAIN}', f'--config.genotype={earlier}']

  return make


def lose_config(earlier):
  (earlier / 'config.json').unlink()


def spoil_config(earlier):
  (earlier / 'config.json').write_text('[')


def lose_checkpoints(earlier):
  (earlier / 'checkpoints' / 'search' / '8').rename(earlier / 'elsewhere')


def spoil_checkpoint(earlier):
  for path in earlier.rglob('manifest.ocdbt'):
    path.write_bytes(b'x')


def lose_classifier(earlier):
  spoilt = earlier / 'checkpoints' / 'search'
  (spoilt / '8').rename(earlier / 'elsewhere')
  manager = checkpoint.open(earlier, 'search', 3)
  checkpoint.save(manager, 8, parallel.replicate({'w': jnp.zeros(3)}))
  checkpoint.close(manager)


EARLIER = {
  'another space': (workdir(lambda earlier: None), 'holds another kind of state: '),
  'another program': (workdir(lose_classifier), 'its checkpoint is none of a supernet'),
  'unreadable': (workdir(spoil_checkpoint), 'none of the checkpoints [8] is readable'),
  'no checkpoint': (workdir(lose_checkpoints), 'it has no checkpoints/search/STEP); allowed:'),
  'no config': (workdir(lose_config), 'config.json: [Errno 2] No such file'),
  'no JSON': (workdir(spoil_config), 'config.json: Expecting value'),
  'an empty folder': (
    lambda folder: [f'--config={RETRAIN}', f'--config.genotype={folder}'],
    'is a folder that no search has left',
  ),
}


def npz(data=None, **changes):
  """A file of 40 grey images, with some arrays changed, or of other data."""

  def make(folder):
    path, x, y = folder / 'x.npz', np.zeros((40, 8, 8), np.uint8), np.arange(40) % 2
    arrays = {'x_train': x, 'y_train': y, 'x_test': x[:6], 'y_test': y[:6]} | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    if data is not None:
      path.write_bytes(data(path, folder))
    small = '--config.search.batch=8', '--config.retrain.batch=8', '--config.data.size=0'
    return [f'--config={NOISE}', f'--config.data.path={path}', *small]

  return make


def pickled(path, folder):
  """An array of Python objects that touch a file."""
  whole = io.BytesIO()
  with zipfile.ZipFile(path) as old, zipfile.ZipFile(whole, 'w') as new:
    for name in old.namelist():
      if name != 'x_train.npy':
        new.writestr(name, old.read(name))
    member = io.BytesIO()
    np.save(member, np.array([Touch(folder / 'evil')], object), allow_pickle=True)
    new.writestr('x_train.npy', member.getvalue())
  return whole.getvalue()


def a_folder(folder):
  (folder / 'x.npz').mkdir()
  return [f'--config={NOISE}', f'--config.data.path={folder}/x.npz']


FLOATS = np.zeros((40, 8, 8), np.float32)
IMAGES = {
  'empty': (npz(lambda path, folder: b''), 'not a zip archive, or cut short'),
  'cut short': (npz(lambda path, folder: path.read_bytes()[:900]), 'not a zip archive, or cut sh'),
  'text': (npz(lambda path, folder: b'x,y\n1,2\n'), 'not a zip archive, or cut short'),
  'a pickle': (npz(pickled), 'x_train is an array of Python objects; allowed: an array of numbers'),
  'a whole pickle': (npz(lambda path, folder: a_pickle(folder)), 'not a zip archive, or cut short'),
  'a folder': (a_folder, 'no such file; allowed:'),
  'lacks one': (npz(y_test=None), 'y_test is missing (the file holds x_test, x_train, y_train)'),
  'shape': (npz(x_train=np.zeros((40, 64), np.uint8)), 'x_train is of shape [40, 64]; allowed: ['),
  'mixed sizes': (npz(x_test=np.zeros((6, 9, 9), np.uint8)), 'x_test is [9, 9, 1] an image where'),
  'channels': (npz(x_train=np.zeros((40, 8, 8, 5), np.uint8)), 'x_train is of shape [40, 8, 8, 5]'),
  'NaN': (npz(x_train=FLOATS + np.nan), 'x_train is not finite everywhere'),
  'range': (npz(x_train=FLOATS + 255), 'x_train is float from 255 to 255; allowed: uint8, or flo'),
  'type': (npz(x_train=np.zeros((40, 8, 8), int)), 'x_train is of type int64; allowed: uint8, or'),
  'lengths': (npz(y_train=np.arange(39) % 2), 'y_train is 39 labels where x_train has 40 images'),
  'negative': (npz(y_train=np.arange(40) % 2 - 1), 'y_train is -1 somewhere; allowed: classes fr'),
  'out of range': (npz(y_test=np.full(6, 7)), 'y_test is of class 7, which y_train lacks; allowed'),
  'no images': (npz(x_test=np.zeros((0, 8, 8), np.uint8)), 'which holds no image; allowed: [N, H'),
  'text labels': (npz(y_train=np.full(40, 'cat')), 'y_train is of type <U3; allowed: '),
}

WRONG = {
  f'{kind}: {name}': case
  for kind, cases in (
    ('config', CONFIG_FILES),
    ('genotype', GENOTYPES),
    ('workdir', EARLIER),
    ('npz', IMAGES),
  )
  for name, case in cases.items()
}


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')  # Orbax's threads
@pytest.mark.parametrize(('make', 'message'), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_file_is_one_message_and_code_2(tmp_path, capsys, calls, make, message):
  args = make(tmp_path)
  before = contents(tmp_path)
  assert start(*args, f'--workdir={tmp_path}/run') == 2
  out, err = capsys.readouterr()
  assert out == ''
  assert err.startswith('error: ')
  assert err.count('\n') == 1
  assert message in err
  assert calls == []
  assert contents(tmp_path) == before
  assert not (tmp_path / 'run').exists()
