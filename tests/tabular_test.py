"""The table of NAS-Bench-201: reading it in every form, ranks and regrets, what is refused."""

import pathlib
import sys

import numpy as np
import pytest
import stand_in_table
from stand_in_table import CELLS, accuracies

from unrealnas_jax import nasbench201, tabular
from unrealnas_jax.nasbench201 import Architecture

PUBLISHED = pathlib.Path(__file__).parents[2] / 'shared' / 'data' / 'nasbench201.csv.gz'


@pytest.mark.parametrize('name', ['x.csv', 'x.csv.gz'])
def test_reads_all_cells_in_their_order(tmp_path, name):
  values = accuracies()
  table = tabular.read(stand_in_table.write(tmp_path / name, values))
  assert table.archs == CELLS
  assert list(table.accuracy) == ['cifar10', 'cifar100', 'imagenet16_120']
  for accuracy, column in zip(table.accuracy.values(), values.T, strict=True):
    np.testing.assert_array_equal(accuracy, column)


def make_table(**accuracy):
  return tabular.Table(CELLS[:5], {name: np.array(value) for name, value in accuracy.items()})


def test_rank_and_regret_by_hand():
  table = make_table(cifar10=[10.0, 90.5, 90.5, 88.25, 94.0], cifar100=[5.0, 4, 3, 2, 1])
  expected = [(5, 84.0), (2, 3.5), (2, 3.5), (4, 5.75), (1, 0.0)]
  for cell, (rank, regret) in zip(CELLS, expected, strict=False):
    facts = tabular.look_up(table, cell)
    assert facts.keys() == {'nasbench201_cifar10', 'nasbench201_cifar100'}
    found = facts['nasbench201_cifar10']
    assert (found['rank'], found['cells'], found['regret_points']) == (rank, 5, regret)
  assert found['accuracy_percent'] == 94.0
  assert facts['nasbench201_cifar100'] == {
    'accuracy_percent': 1.0,
    'rank': 5,
    'cells': 5,
    'regret_points': 4.0,
  }


def ending(text):
  """Changes what stands in the last column of line 3, the comma before it too."""
  return lambda rows: [*rows[:2], rows[2].rpartition(',')[0] + text, *rows[3:]]


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda rows: rows[:-1], 'lacks 1 of the 15,625 cells, such as |none~0|+|none~0|none~1|+|none'),
    (lambda rows: [*rows, rows[1]], 'line 15627: |avg_pool_3x3~0|+'),
    (lambda rows: [rows[0], rows[1].replace('avg', 'max', 1), *rows[2:]], 'line 2: edge from node'),
    (lambda rows: [*rows[:2], '5', *rows[2:]], "line 3: '' names 1 nodes"),
    (ending(''), 'line 3: None is no accuracy; allowed: 0 to 100 percent'),
    (ending(',100.1'), "line 3: '100.1' is no accuracy"),
    (ending(',-1'), "line 3: '-1' is no accuracy"),
    (ending(',nan'), "line 3: 'nan' is no accuracy"),
    (ending(',x'), "line 3: 'x' is no accuracy"),
    (lambda rows: [rows[0].replace('arch', 'name')], 'lacks the columns arch'),
    (
      lambda rows: [rows[0].replace('200', '12')],
      'columns c100_test_200ep, c10_test_200ep, in16_t',
    ),
    (lambda rows: [], 'lacks the columns arch, c100_test_200ep'),
  ],
)
def test_a_broken_table_is_named_with_the_fault(tmp_path, change, message):
  path = pathlib.Path(stand_in_table.write(tmp_path / 'x.csv', accuracies()))
  path.write_text('\n'.join(change(path.read_text().splitlines())))
  with pytest.raises(ValueError, match='benchmark.nasbench201_csv = ') as caught:
    tabular.read(str(path))
  assert repr(str(path)) in str(caught.value)
  assert message in str(caught.value)


@pytest.mark.parametrize(
  ('name', 'content', 'message'),
  [
    ('x.csv', b'\x1f\x8b\x08\xff', 'is not a csv file: '),
    ('x.csv', b'arch,\0', 'lacks the columns'),
    ('x.csv.gz', b'arch,', 'is not a csv file: Not a gzipped file'),
    ('x.csv.gz', b'\x1f\x8b\x08\0\0\0\0\0\0\0', 'is not a csv file: Compressed file ended'),
    ('x.npz', b'x', "; allowed: '' for none, a file x.csv"),
    (None, b'', "x.csv'; no such file; allowed: '' for none, a file x.csv"),
  ],
)
def test_a_file_that_is_no_table(tmp_path, name, content, message):
  path = tmp_path / (name or 'x.csv')
  if name:
    path.write_bytes(content)
  with pytest.raises(ValueError, match='benchmark.nasbench201_csv = ') as caught:
    tabular.read(str(path))
  assert message in str(caught.value)


def trial(nats_bench, seed, epochs, tests):
  """One trained network: its accuracies after the last epoch, {set: percent}."""
  last = epochs - 1
  result = nats_bench.ResultsCount(
    *('x', None, {last: 99.0}, {last: 0.1}, 1.0, 1.0, {}, seed, epochs, None)
  )
  for name, accuracy in tests.items():
    result.update_OLD_eval(name, {last: accuracy}, {last: 1.0})
  return result


def write_nats(path, cells, values):
  """A topology space as nats_bench saves it, two trials of everything; a file, or a folder.

  values: [cells, 3] test accuracies; all other accuracies in it are below 5.
  """
  nats_bench = pytest.importorskip('nats_bench', reason="pip install -e '.[nasbench201]'")
  texts, cell_results = [nasbench201.to_text(cell) for cell in cells], {}
  for number, (cifar10, cifar100, imagenet) in enumerate(values):
    cell_results[number] = {}
    for epochs in (12, 200):
      results = nats_bench.ArchResults(number, texts[number])
      for seed, change in ((777, -0.5), (888, 0.5)):
        tests = {
          'cifar10-valid': {'x-valid': 3.0, 'ori-test': 4.0},
          'cifar10': {'ori-test': cifar10 + change},
          'cifar100': {'x-valid': 1.0, 'x-test': cifar100 + change, 'ori-test': 2.0},
          'ImageNet16-120': {'x-valid': 1.0, 'x-test': imagenet + change, 'ori-test': 2.0},
        }
        for dataset, found in tests.items():
          found = found if epochs == 200 else dict.fromkeys(found, 4.5)
          results.update(dataset, seed, trial(nats_bench, seed, epochs, found))
      cell_results[number][str(epochs)] = results.state_dict()

  if path.suffix:
    whole = {'meta_archs': texts, 'arch2infos': cell_results, 'evaluated_indexes': [*cell_results]}
    nats_bench.pickle_save(whole, path, ext='')
    return str(path)
  path.mkdir()
  nats_bench.pickle_save({'meta_archs': texts}, path / 'meta.pickle', ext='.pbz2')
  for number, results in cell_results.items():
    nats_bench.pickle_save(results, path / f'{number:06d}.pickle', ext='.pbz2')
  return str(path)


@pytest.mark.parametrize('name', ['NATS-tss.pickle.pbz2', 'NATS-tss-simple'])
def test_reads_the_mean_of_the_trials_from_nats_bench(tmp_path, name):
  """The archive is made with the official package, of four cells; the real one was not there."""
  values = accuracies()[:4].round(1)
  path = write_nats(tmp_path / name, CELLS[7:11], values)
  rows = list(tabular.reader_of(path)(path))
  assert [nasbench201.from_text(text) for _, text, _ in rows] == list(CELLS[7:11])
  np.testing.assert_allclose([found for *_, found in rows], values)
  with pytest.raises(ValueError, match='lacks 15,621 of the 15,625 cells'):
    tabular.read(path)


def test_what_is_not_nats_bench_is_refused(tmp_path):
  pytest.importorskip('nats_bench', reason="pip install -e '.[nasbench201]'")
  (tmp_path / 'x.pickle.pbz2').write_bytes(b'x')
  for path in (tmp_path, tmp_path / 'x.pickle.pbz2'):
    with pytest.raises(ValueError, match='is no topology space of NATS-Bench: '):
      tabular.read(str(path))


def test_without_the_package_it_is_named(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'nats_bench', None)
  with pytest.raises(ValueError, match=r"needs the package nats_bench: pip install -e '.\[nasben"):
    tabular.read(str(tmp_path))


@pytest.mark.skipif(not PUBLISHED.exists(), reason=f'{PUBLISHED} is not there')
def test_the_published_table():
  """Its best accuracies are those of the paper."""
  table = tabular.read(str(PUBLISHED))
  best = {name: round(accuracy.max(), 2) for name, accuracy in table.accuracy.items()}
  assert best == {'cifar10': 94.37, 'cifar100': 73.51, 'imagenet16_120': 47.31}
  conv, skip = 'nor_conv_3x3', 'skip_connect'
  facts = tabular.look_up(table, Architecture((conv, conv, conv, skip, conv, conv)))
  assert [facts[f'nasbench201_{name}']['rank'] for name in best] == [3, 1, 26]
  assert facts['nasbench201_imagenet16_120']['regret_points'] == 0.9667
