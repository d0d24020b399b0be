"""Reports: one file that needs nothing else, of one run and of several."""

import html.parser
import json
import re

import made_run
import numpy as np
import pytest
from PIL import Image
from stand_ins import NOISE, install, start

import unrealnas_jax
from unrealnas_jax import genotype, plots

VOID = ('meta', 'br', 'link', 'img')


class Page(html.parser.HTMLParser):
  """What a page holds: its tags, texts, addresses; asserts that tags are closed in order."""

  def __init__(self, path):
    super().__init__()
    self.open, self.tags, self.texts, self.addresses = [], [], [], []
    self.feed(path.read_text())
    assert self.open == []

  def handle_starttag(self, tag, attributes):
    self.tags.append(tag)
    self.addresses += [value for name, value in attributes if name in ('src', 'href', 'xlink:href')]
    if tag not in VOID:
      self.open.append(tag)

  def handle_startendtag(self, tag, attributes):
    self.handle_starttag(tag, attributes)
    if tag not in VOID:
      self.open.pop()

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if data.strip():
      self.texts.append(data.strip())


def headings(page_path):
  return re.findall('<(?:h2|summary)>(.*?)</', page_path.read_text())


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """The workdir of a run whose name and config are no friends of HTML, with its report."""
  folder = tmp_path_factory.mktemp('runs') / '<b>run'
  made_run.write(folder, accuracy=0.876, genotype='<script>alert(1)</script>')
  assert plots.report(folder) == folder / 'report.html'
  return folder


def test_report_of_a_run(folder):
  path = folder / 'report.html'
  page = Page(path)
  assert headings(path) == [
    *('Result', 'Cells', 'Mixing weights', 'Search over time'),
    *('What the search was shown', 'Config', 'Environment'),
  ]
  assert page.texts.count('87.60%') == 1
  assert genotype.to_text(genotype.PUBLISHED['DARTS_V2']) in page.texts
  for text in ('sep_conv_3x3', 'loss', 'search.epochs', 'python', '0 → 2'):
    assert text in page.texts
  names = ('cell_normal', 'cell_reduce', 'weights_normal', 'weights_reduce', 'search', 'samples')
  files = {f'{name}.{form}' for name in names for form in ('svg', 'png')}
  assert {path.name for path in (folder / 'figures').iterdir()} == files


def test_report_needs_no_network_and_no_other_file(folder):
  page = Page(folder / 'report.html')
  assert not {'script', 'link', 'iframe', 'img', 'object'} & set(page.tags)
  links = {a for a in page.addresses if not a.startswith(('#', 'data:'))}
  assert all(re.fullmatch(r'figures/\w+\.(svg|png)', link) for link in links)
  assert len(links) == 12  # for papers: what they show is in the page itself


def test_what_users_write_is_text(folder):
  page = Page(folder / 'report.html')
  assert '<script>alert(1)</script>' in page.texts
  assert '<b>run' in page.texts


def test_report_is_made_anew_the_same(folder, capsys):
  first = (folder / 'report.html').read_bytes()
  (folder / 'report.html').unlink()
  assert plots.main([str(folder)]) == 0
  assert capsys.readouterr().out == f'{folder}/report.html\n'
  assert (folder / 'report.html').read_bytes() == first


def test_report_of_a_run_that_has_just_begun(tmp_path):
  folder = made_run.write(tmp_path / 'run')
  for path in folder.iterdir():
    if path.name != 'config.json':
      path.unlink()
  path = plots.report(folder)
  Page(path)
  assert headings(path) == ['Config']


def test_comparison_of_runs(tmp_path):
  folders = [
    made_run.write(tmp_path / name, seed=seed, scale=scale, accuracy=seed / 10)
    for name, seed, scale in (('a', 1, 'laptop'), ('b', 3, 'laptop'), ('c', 5, 'paper'))
  ]
  path = plots.compare(folders, tmp_path / 'out')
  page = Page(path)
  assert headings(path) == ['Results', 'Search over time']
  assert '3 runs of 2 configurations' in page.texts
  for text in ('20.00% ± 14.14%', '50.00%', 'scale=laptop', 'scale=paper', 'val loss'):
    assert text in page.texts
  assert (tmp_path / 'out' / 'figures' / 'search_compared.png').exists()


def test_report_of_several_seeds(tmp_path):
  folder = made_run.write_seeds(tmp_path / 'run', together=(1, 2), alone=(3,))
  path = plots.report(folder)
  page = Page(path)
  of_each = [
    f'{title} of seed {seed}' for seed in (1, 2, 3) for title in ('Cells', 'Mixing weights')
  ]
  assert headings(path) == [
    *('Result', 'Search over time', *of_each),
    *('What the search was shown', 'Config', 'Environment'),
  ]
  for text in (
    '20.00% ± 10.00%',
    '30.00%',
    'seed 3',
    'darts on noise, scale laptop, seeds 1, 2, 3',
  ):
    assert text in page.texts
  assert (folder / 'figures' / 'cell_seed_2_normal.svg').exists()
  assert (folder / 'figures' / 'weights_seed_2_reduce.png').exists()


def test_seeds_of_a_run_are_compared_as_runs(tmp_path):
  seeds = made_run.write_seeds(tmp_path / 'seeds', together=(1, 2), alone=(3,))
  other = made_run.write(tmp_path / 'other', scale='paper')
  page = Page(plots.compare([seeds, other], tmp_path / 'out'))
  for text in ('4 runs of 2 configurations', '20.00% ± 10.00%', '50.00%'):
    assert text in page.texts


def test_report_shows_what_a_generator_makes(tmp_path):
  folder = made_run.write(tmp_path / 'run')
  (folder / 'samples').mkdir()
  Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(folder / 'samples' / '000002.png')
  assert 'What the generator makes' in headings(plots.report(folder))
  assert (folder / 'figures' / 'generated.png').exists()


def test_curves_of_a_group_are_mean_and_deviation_at_shared_steps(tmp_path):
  folders = [made_run.write(tmp_path / str(seed), seed=seed) for seed in (1, 3)]
  lines = (folders[0] / 'metrics.jsonl').read_text().splitlines(keepends=True)
  (folders[0] / 'metrics.jsonl').write_text(''.join(lines[:3]))  # killed after two steps
  groups = plots.tables.group([plots.runs.read(folder) for folder in folders])
  steps, means, deviations = plots._compared(groups, 'search')['val loss']['all runs']
  # val_loss is seed / step: 1 and 3 at step 1, half of it at step 2; their deviation is sqrt(2).
  assert list(steps) == [1, 2]
  assert list(means) == [2, 1]
  assert deviations == pytest.approx([2**0.5, 2**-0.5])


def test_command_for_several_and_for_none(tmp_path, capsys):
  one, two = (str(made_run.write(tmp_path / name)) for name in ('one', 'two'))
  assert plots.main([one, two, f'--out={tmp_path}/out']) == 0
  assert capsys.readouterr().out == f'{tmp_path}/out/report.html\n'
  assert plots.main([str(tmp_path)]) == 2
  assert capsys.readouterr().err == (
    f'error: {tmp_path} holds no config.json; allowed: the workdir of a run\n'
  )


def test_a_finished_run_has_a_report(tmp_path, monkeypatch, capsys):
  install(monkeypatch)
  monkeypatch.setattr(unrealnas_jax, 'plots', plots)
  assert start(f'--config={NOISE}', f'--workdir={tmp_path}/run') == 0
  assert headings(tmp_path / 'run' / 'report.html') == ['Result', 'Cells', 'Config', 'Environment']
  assert f'{tmp_path}/run/report.html' in capsys.readouterr().out
  described = json.loads((tmp_path / 'run' / 'environment.json').read_text())
  assert described['devices'] == '4 x cpu'


def test_a_report_that_cannot_be_made_is_a_warning(tmp_path, monkeypatch, caplog):
  install(monkeypatch)

  def broken(workdir):
    raise ZeroDivisionError('no fonts')

  monkeypatch.setattr(unrealnas_jax.plots, 'report', broken)
  assert start(f'--config={NOISE}', f'--workdir={tmp_path}/run') == 0
  (warning,) = [record for record in caplog.records if record.levelname == 'WARNING']
  assert f'python -m unrealnas_jax.plots {tmp_path}/run' in warning.getMessage()
  assert json.loads((tmp_path / 'run' / 'result.json').read_text())['test_accuracy'] == 0.975
