"""Text and JSON forms of genotypes, validation, the published ones, loading by name or file."""

import json
import subprocess
import sys

import pytest

from unrealnas_jax import genotype, nasbench201
from unrealnas_jax.genotype import PUBLISHED, Genotype

# As cnn/train_search.py of the official code logs it.
LOGGED = (
  "Genotype(normal=[('sep_conv_3x3', 1), ('skip_connect', 0), ('dil_conv_5x5', 2), "
  "('max_pool_3x3', 0)], normal_concat=range(2, 4), reduce=[('avg_pool_3x3', 0), "
  "('skip_connect', 1), ('skip_connect', 2), ('avg_pool_3x3', 0)], reduce_concat=range(2, 4))"
)
SMALL = Genotype(
  normal=(('sep_conv_3x3', 1), ('skip_connect', 0), ('dil_conv_5x5', 2), ('max_pool_3x3', 0)),
  normal_concat=(2, 3),
  reduce=(('avg_pool_3x3', 0), ('skip_connect', 1), ('skip_connect', 2), ('avg_pool_3x3', 0)),
  reduce_concat=(2, 3),
)
ARCH = '|nor_conv_3x3~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|'
CELL = nasbench201.from_text(ARCH)


def test_text_is_the_official_one():
  assert genotype.to_text(SMALL) == LOGGED


@pytest.mark.parametrize(
  'text',
  [
    LOGGED,
    f'2019-04-26 11:35:15,870 genotype = {LOGGED}\n',
    LOGGED.replace('range(2, 4)', '[2, 3]'),
  ],
  ids=['call', 'log line', 'list'],
)
def test_reads_official_text(text):
  assert genotype.from_text(text) == SMALL


@pytest.mark.parametrize('name', PUBLISHED)
def test_round_trips(name):
  published = PUBLISHED[name]
  for write, read in (
    (genotype.to_text, genotype.from_text),
    (genotype.to_json, genotype.from_json),
  ):
    text = write(published)
    again = read(text)
    assert again == published
    assert write(again) == text
    hash(again)  # tuples all the way down


def test_a_nasbench201_cell_takes_every_form(tmp_path):
  genotype.validate(CELL)
  assert genotype.to_text(CELL) == ARCH
  assert json.loads(genotype.to_json(CELL)) == genotype.to_fields(CELL) == {'arch': ARCH}
  (tmp_path / 'genotype.json').write_text(genotype.to_json(CELL))
  (tmp_path / 'genotype.txt').write_text(f'{ARCH}\n')
  for found in (
    genotype.from_text(f'{ARCH}\n'),
    genotype.from_json(genotype.to_json(CELL)),
    genotype.load(ARCH),
    genotype.load(str(tmp_path / 'genotype.json')),
    genotype.load(str(tmp_path / 'genotype.txt')),
  ):
    assert found == CELL
    assert isinstance(found, nasbench201.Architecture)


def test_a_broken_nasbench201_cell_is_named_with_the_fault(tmp_path):
  broken, path = ARCH.replace('none', 'nine', 1), tmp_path / 'genotype.json'
  path.write_text(json.dumps({'arch': broken}))
  for where, read in (
    ('x', lambda: genotype.validate(CELL._replace(ops=('nine', *CELL.ops[1:])), 'x')),
    ('x', lambda: genotype.from_text(broken, 'x')),
    ('x: arch', lambda: genotype.from_json(path.read_text(), 'x')),
    (f'genotype={broken!r}', lambda: genotype.load(broken)),
    (f'genotype={str(path)!r}: arch', lambda: genotype.load(str(path))),
  ):
    with pytest.raises(ValueError, match="unknown operation 'nine'") as caught:
      read()
    assert str(caught.value).startswith(f'{where}: edge from node 0 to node ')
  with pytest.raises(ValueError, match="x: arch: '3' names 1 nodes"):
    genotype.from_json('{"arch": 3}', 'x')


def test_concat_with_a_gap_is_written_as_a_list():
  assert 'reduce_concat=[3, 4, 6])' in genotype.to_text(PUBLISHED['AmoebaNet'])


def test_published_ones_are_complete():
  assert len(PUBLISHED) == 23
  assert PUBLISHED['DARTS_V2'].normal[-1] == ('dil_conv_3x3', 2)
  assert genotype.RECORDS['DARTS_V2']['source'] == 'quark0/darts cnn/genotypes.py'


@pytest.mark.parametrize(
  ('field', 'value', 'message'),
  [
    (
      'normal',
      (('sep_conv_9x9', 0), ('skip_connect', 1)),
      r"normal edge 0: unknown operation 'sep_conv_9x9'; known: none, max_pool_3x3, ",
    ),
    (
      'reduce',
      (('skip_connect', 0), ('skip_connect', 2)),
      'reduce edge 1 into node 2 comes from node 2; allowed: 0 to 1',
    ),
    ('reduce', (('skip_connect', 0), ('skip_connect', -1)), 'from node -1; allowed: 0 to 1'),
    ('reduce', (('skip_connect', 0), ('skip_connect', True)), 'from node True; allowed: 0 to 1'),
    ('normal', SMALL.normal[:3], 'normal has 3 edges; allowed: two for every node'),
    ('normal', (), 'normal has 0 edges'),
    ('normal', ('ab', 'cd'), "normal edge 0 is 'ab'; allowed:"),
    ('normal_concat', (2, 4), 'normal_concat names node 4; allowed: 2 to 3'),
    ('reduce_concat', (1, 2), 'reduce_concat names node 1; allowed: 2 to 3'),
    ('reduce_concat', (), r'reduce_concat=\[\]; allowed: one or more'),
    ('reduce_concat', (2, 2), r'reduce_concat=\[2, 2\]; allowed: one or more different'),
  ],
)
def test_validate_names_what_is_wrong_and_what_is_allowed(field, value, message):
  genotype.validate(SMALL)
  broken = SMALL._replace(**{field: value})
  for check in (
    lambda: genotype.validate(broken, 'x.json'),
    lambda: genotype.from_json(genotype.to_json(broken), 'x.json'),
    lambda: genotype.from_text(genotype.to_text(broken), 'x.json'),
  ):
    with pytest.raises(ValueError, match=f'^x.json: .*{message}'):
      check()


@pytest.mark.parametrize(
  'text',
  [
    '',
    'DARTS_V2',
    'Genotype(',
    'Genotype(normal=[])',
    'Genotype([], [], [], [])',
    LOGGED.replace('range(2, 4)', 'range(10 ** 9)'),
    LOGGED.replace('range(2, 4)', '__import__("os").getpid()'),
    LOGGED.replace("'max_pool_3x3'", 'print(1)'),
  ],
)
def test_other_text_is_refused_and_not_evaluated(text, capsys):
  with pytest.raises(ValueError, match='^genotype'):
    genotype.from_text(text)
  assert capsys.readouterr().out == ''


@pytest.mark.parametrize('text', ['', '{', '[]', '3', '{"normal": []}', '{"normal": null}'])
def test_other_json_is_refused(text):
  with pytest.raises(ValueError, match='^genotype'):
    genotype.from_json(text)


def test_loads_by_name_and_from_files(tmp_path):
  assert genotype.load('PC_DARTS_cifar') is PUBLISHED['PC_DARTS_cifar']
  for name, write in (('genotype.json', genotype.to_json), ('genotype.txt', genotype.to_text)):
    (tmp_path / name).write_text(write(SMALL))
    assert genotype.load(str(tmp_path / name)) == SMALL


@pytest.mark.parametrize('name', ['', 'DARTS_V3', 'missing/genotype.json', LOGGED, '\0'])
def test_unknown_name_or_missing_file_lists_the_published_ones(name):
  with pytest.raises(ValueError, match='published: NASNet, AmoebaNet, DARTS_V1, DARTS_V2') as error:
    genotype.load(name)
  assert f'genotype={name!r}' in str(error.value)


@pytest.mark.parametrize('content', [b'{"normal": 3}', b'\xff\xfe\x00', b'hello'])
def test_broken_file_is_named(tmp_path, content):
  path = tmp_path / 'genotype.json'
  path.write_bytes(content)
  with pytest.raises(ValueError, match='genotype.json'):
    genotype.load(str(path))


def test_importing_it_does_not_import_jax():
  code = 'import sys, unrealnas_jax.genotype; sys.exit("jax" in sys.modules)'
  subprocess.run([sys.executable, '-c', code], check=True)
