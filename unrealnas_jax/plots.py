"""Makes the report of a run anew, or one that compares several.

  python -m unrealnas_jax.plots WORKDIR                      # WORKDIR/report.html
  python -m unrealnas_jax.plots WORKDIR WORKDIR ... [--out=DIR]  # comparison/report.html

A report is one file that needs no network. Its figures lie beside it as SVG and PNG.
"""

import argparse
import pathlib
import sys

import jinja2
import numpy as np
from etils import epath

from unrealnas_jax import drawing, figures, runs, tables
from unrealnas_jax import genotype as genotypes
from unrealnas_jax.spaces import SPACES

TEMPLATE = pathlib.Path(__file__).with_name('report.html')


def main(argv=None):
  """The exit code of the command."""
  parser = argparse.ArgumentParser(
    prog='python -m unrealnas_jax.plots',
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  parser.add_argument('workdir', nargs='+', help='folder of a run')
  parser.add_argument('--out', default='comparison', help='folder of a comparison')
  args = parser.parse_args(argv)
  try:
    path = report(args.workdir[0]) if len(args.workdir) == 1 else compare(args.workdir, args.out)
  except (ValueError, OSError) as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  print(path)
  return 0


def report(workdir):
  """Writes report.html and figures/ to the workdir of a run; the path of the report.

  Raises ValueError: the folder is no workdir, or a file in it cannot be read.
  """
  run, seeds = runs.read(workdir), runs.read_seeds(workdir)
  sections = [
    *(_seeds(seeds) if seeds else _run(run)),
    _section('Config', table=(['', ''], list(run.config.items())), folded=True),
    _section('Environment', table=(['', ''], list(run.environment.items())), folded=True),
  ]
  return _write(epath.Path(workdir), run.name, _subtitle(run), sections)


def compare(workdirs, out):
  """Writes a report that compares runs to the folder `out`; the path of the report.

  Runs whose configs differ in the seed alone are one row and one curve, with their standard
  deviation. Raises ValueError as `report`.
  """
  found = [run for path in workdirs for run in runs.read_seeds(path) or [runs.read(path)]]
  groups = tables.group(found)
  sections = [
    _section('Results', _COMPARISON, table=tables.compare(groups)),
    *_analysis(groups),
    *_bands(groups),
  ]
  title = f'{_count(len(found), "run")} of {_count(len(groups), "configuration")}'
  return _write(epath.Path(out), title, ', '.join(map(str, workdirs)), sections)


_WEIGHTS = (
  'What each operation of each edge was multiplied by at the end of each epoch. Rows are the nodes '
  'that edges lead to, columns those they come from.'
)
_COMPARISON = 'Mean ± standard deviation over the runs of a configuration.'
_FACTS = (
  'Fitted accuracy is that on the training data after the last epoch, without augmentation; the '
  'gap is what test accuracy lacks of it. Epochs to half and to nine tenths: after which so much '
  'of the training data was right for the first time; empty if never, and then left out of means.'
)
_BANDS = 'Mean over the runs of a configuration, in a band of one standard deviation each way.'
_SEEDS = (
  'Mean ± standard deviation over the seeds, then each of them. Of seeds that one program '
  'searched, train and val losses and accuracies are known as their mean alone, without a band.'
)
_SHEET = 'Samples at the end of its training: a row for each class.'


def _run(run):
  yield _section('Result', table=(['', ''], tables.results(run)))
  yield from _analysis([tables.Group({}, [run])])
  yield from _cells(run)
  yield _section('Mixing weights', _WEIGHTS, figures=_weights(run))
  for phase, series in run.series.items():
    if not run.compared:
      yield _curves(phase, series)
  yield _section('What the search was shown', figures=_samples(run))
  yield _section('What the generator makes', _SHEET, figures=_sheet(run))


def _seeds(each):
  yield _section('Result', _SEEDS, table=tables.seeds(each))
  yield from _bands(tables.group(each))
  for run in each:
    name = f'seed {run.config["seed"]}'
    yield from _cells(run, name)
    yield _section(f'Mixing weights of {name}', _WEIGHTS, figures=_weights(run, name))
  yield _section('What the search was shown', figures=_samples(each[0]))


def _bands(groups):
  together = (run for group in groups for run in group.runs if not run.compared)
  for phase in dict.fromkeys(phase for run in together for phase in run.series):
    panels = _compared(groups, phase)
    figure = {f'{phase}_compared': figures.curves(panels, shared=True)} if panels else {}
    yield _section(f'{_words(phase)} over time', _BANDS, figures=figure)


def _count(number, word):
  return f'{number} {word}{"" if number == 1 else "s"}'


def _words(phase):
  return phase.replace('_', ' ').capitalize()


def _section(title, text='', code='', table=None, figures=None, folded=False):
  """What the template shows under a heading; figures: name -> Figure."""
  return {
    'title': title,
    'text': text,
    'code': code,
    'head': table[0] if table else [],
    'rows': table[1] if table else [],
    'figures': figures or {},
    'folded': folded,
  }


def _subtitle(run):
  config = run.config
  searched = f'{config.get("method.name")} on {config.get("source.name")}'
  work = f'genotype {config["genotype"]}' if config.get('genotype') else searched
  if config.get('generator.steps'):
    work = 'training of a generator'
  if config.get('analysis.genotypes'):
    work = f'analysis of {config["analysis.genotypes"].replace(",", ", ")}'
  seeds = config.get('seeds') or [config.get('seed')]
  named = f'seed{"s" if len(seeds) > 1 else ""} {", ".join(map(str, seeds))}'
  return f'{work}, scale {config.get("scale")}, {named}'


def _cells(run, of=''):
  for name, genotype in run.compared.items() or [(of, run.genotype)]:
    graphs = drawing.graphs(genotype).items() if genotype else ()
    drawn = {_file('cell', name, kind): drawing.draw_cell(graph) for kind, graph in graphs}
    title = f'Cells of {name}' if name else 'Cells'
    code = genotype and genotypes.to_text(genotype)
    yield _section(title, code=code, figures=drawn)


def _analysis(groups):
  """A table of analyses, and the fit over time: a plot for each source, a curve for each cell."""
  analysed = [run for group in groups for run in group.runs if run.compared]
  phases, panels = dict.fromkeys(phase for run in analysed for phase in run.series), {}
  for measured in ('fitted accuracy', 'train loss'):
    for phase in phases:
      name, source = phase.rsplit(runs.ON, 1)
      for label, curve in _compared(groups, phase).get(measured, {}).items():
        cell = name if len(groups) == 1 else f'{name}, {label}'
        panels.setdefault(f'{source}: {measured}'.replace('_', ' '), {})[cell] = curve
  rows = [
    (group.settings, [facts for run in group.runs for facts in run.result.get('analysis', ())])
    for group in groups
  ]
  figure = {'analysis': figures.curves(panels, shared=True)} if panels else {}
  yield _section('Analysis', _FACTS, table=tables.analysis(rows), figures=figure)


def _weights(run, of=''):
  space = SPACES.get(run.config.get('search.space'))
  return {
    _file('weights', of, kind): figures.weights(epochs, tables, space)
    for kind, (epochs, tables) in run.weights.items()
  }


def _curves(phase, series):
  return _section(
    f'{_words(phase)} over time', figures={phase: figures.curves(figures.panels(series))}
  )


def _file(*words):
  return '_'.join(filter(None, words)).replace(' ', '_')


def _samples(run):
  return {'samples': figures.examples(*run.samples)} if run.samples else {}


def _sheet(run):
  return {} if run.sheet is None else {'generated': figures.picture(run.sheet)}


def _compared(groups, phase):
  """Panels of a phase: name -> Group -> mean and deviation at the steps that its runs share."""
  panels = {}
  for group in groups:
    named = [run.series.get(phase, {}) for run in group.runs]
    for name in dict.fromkeys(name for series in named for name in series):
      curves = [dict(zip(*series[name], strict=True)) for series in named if name in series]
      steps = sorted(set.intersection(*(set(curve) for curve in curves)))
      values = np.array([[curve[step] for step in steps] for curve in curves])
      spread = values.std(0, ddof=1) if len(curves) > 1 else np.zeros(len(steps))
      curve = np.array(steps), values.mean(0), spread
      panels.setdefault(name.replace('_', ' '), {})[group.label] = curve
  return panels


def _write(folder, title, subtitle, sections):
  """Writes report.html and the files of all figures; the path of the report."""
  (folder / 'figures').mkdir(parents=True, exist_ok=True)
  for section in sections:
    for name, figure in section['figures'].items():
      files = figures.files(figure, name)
      for form, content in files.items():
        (folder / 'figures' / f'{name}.{form}').write_bytes(content)
      section['figures'][name] = figures.inline(files['svg'])
  shown = [section for section in sections if section['rows'] or section['figures']]
  template = jinja2.Template(TEMPLATE.read_text(encoding='utf-8'), autoescape=True)
  path = folder / 'report.html'
  path.write_text(template.render(title=title, subtitle=subtitle, sections=shown))
  return path


if __name__ == '__main__':
  sys.exit(main())
