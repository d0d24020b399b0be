"""Runs a config once for each point of a grid: here, on a Ray cluster, or each on a TPU of its own.

  python launch/sweep.py --config=configs/noise.py --workdir=runs/seeds --grid=seed=0,1,2
  python launch/sweep.py --config=configs/noise.py --workdir=runs/lr --parallel=2 \\
    --grid=search.lr=0.01,0.025 --grid=method.arch_lr=3e-4,6e-4 -- --config.search.epochs=2
  python launch/sweep.py ... --on=ray --cpus=4 --gpus=1    on the cluster that `ray start` began
  python launch/sweep.py ... --on=tpu --parallel=4 --tpu=--type=v5litepod-8 --tpu=--zone=us-west4-a

What follows -- goes to every run. Each run has a folder and a log below the workdir, named after
its point. The same command again goes on with what is not finished. --dry_run prints the commands.
"""

import argparse
import concurrent.futures
import itertools
import json
import pathlib
import re
import shlex
import subprocess
import sys
from typing import NamedTuple

from etils import epath
from tqdm import tqdm

from unrealnas_jax import stop
from unrealnas_jax.rules import RULES, unknown

MAIN = [sys.executable, '-m', 'unrealnas_jax.main']
TPU = ['bash', str(pathlib.Path(__file__).with_name('tpu.sh')), 'keep']


class Job(NamedTuple):
  """One run: the name of its point, its folder, its log and its command line."""

  name: str
  workdir: str
  log: pathlib.Path
  command: list


def points(grid):
  """All combinations of ['seed=0,1', 'search.lr=0.1']: [{'seed': '0', 'search.lr': '0.1'}, ...].

  A comma within parentheses separates nothing. Raises ValueError: no such key, no value, or a key
  that is there twice.
  """
  axes = {}
  for axis in grid:
    key, _, values = axis.partition('=')
    if key not in RULES:
      raise ValueError(f'--grid={axis}: {unknown(key)}')
    if not values or key in axes:
      raise ValueError(f'--grid={axis}; allowed: KEY=VALUE,VALUE,... once for each key')
    axes[key] = re.split(r',(?![^(]*\))', values)
  return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def make_job(args, point):
  """The Job of a point of the grid."""
  name = re.sub(r'[^\w.,=+-]+', '_', ','.join(f'{k}={v}' for k, v in point.items())).strip('_')
  workdir = f'{args.workdir.rstrip("/")}/{name}'
  flags = [f'--config={args.config}', *(f'--config.{k}={v}' for k, v in point.items()), *args.flags]
  if args.on == 'tpu':
    vm = re.sub(r'[^a-z0-9]+', '-', f'{pathlib.Path(args.workdir).name}-{name}'.lower()).strip('-')
    command = [*TPU, f'--name={vm}', f'--workdir={workdir}', *args.tpu, '--', *flags]
  else:
    command = [*MAIN, f'--workdir={workdir}', *flags]
  return Job(name, workdir, pathlib.Path(args.logs or args.workdir) / f'{name}.log', command)


def run(command, log):
  """Runs a command to its end, its output going to a file; the exit code."""
  log.parent.mkdir(parents=True, exist_ok=True)
  with log.open('a') as file:
    return subprocess.run(command, stdout=file, stderr=file, stdin=subprocess.DEVNULL).returncode


def run_here(jobs, args):
  """Yields (job, exit code) of jobs as they end, so many at a time."""
  pool = concurrent.futures.ThreadPoolExecutor(args.parallel)
  try:
    futures = {pool.submit(run, job.command, job.log): job for job in jobs}
    for future in concurrent.futures.as_completed(futures):
      yield futures[future], future.result()
  finally:
    pool.shutdown(cancel_futures=True)  # what runs gets the signal too, and what waits never starts


def run_on_ray(jobs, args):
  """As `run_here`, where a cluster has room; all nodes must have the package and the workdir."""
  import ray

  ray.init(log_to_driver=False, logging_level='error')
  # The nodes need not have this file.
  ray.cloudpickle.register_pickle_by_value(sys.modules[run.__module__])
  remote = ray.remote(num_cpus=args.cpus, num_gpus=args.gpus)(run)
  running = {remote.remote(job.command, job.log): job for job in jobs}
  try:
    while running:
      (ended, *_), _ = ray.wait(list(running))
      yield running.pop(ended), ray.get(ended)
  finally:
    ray.shutdown()


PLACES = {'here': run_here, 'ray': run_on_ray, 'tpu': run_here}


def summary(job, code):
  """What is said of a job that has ended."""
  path = epath.Path(job.workdir) / 'result.json'
  if code or not path.exists():
    return f'{job.name}: exit code {code}, see {job.log}'
  accuracy = json.loads(path.read_text()).get('test_accuracy')
  return f'{job.name}: ' + ('searched' if accuracy is None else f'test accuracy {accuracy:.2%}')


def parse(argv):
  """The arguments, with what follows -- as flags."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--config', required=True, help='config file, perhaps with :SCALE after it')
  parser.add_argument('--workdir', required=True, help='folder of the folders of the runs')
  parser.add_argument('--grid', action='append', required=True, help='KEY=VALUE,VALUE,...')
  parser.add_argument('--on', choices=PLACES, default='here')
  parser.add_argument('--parallel', type=int, default=1, help='runs at a time, here or on TPUs')
  parser.add_argument('--cpus', type=float, default=1, help='CPU cores of a run on Ray')
  parser.add_argument('--gpus', type=float, default=0, help='GPUs of a run on Ray')
  parser.add_argument('--tpu', action='append', default=[], help='an option of launch/tpu.sh')
  parser.add_argument('--logs', help='folder of the logs where the workdir is in an object store')
  parser.add_argument('--dry_run', action='store_true', help='print the commands alone')
  split = argv.index('--') if '--' in argv else len(argv)
  args = parser.parse_args(argv[:split])
  args.flags = argv[split + 1 :]
  return args


def main(argv):
  """Runs the sweep that the arguments describe; the exit code, 1 if a run failed or was stopped."""
  args = parse(argv)
  try:
    jobs = [make_job(args, point) for point in points(args.grid)]
    if args.parallel < 1:
      raise ValueError(f'--parallel={args.parallel}; allowed: at least 1')
    if '://' in args.workdir and not args.logs:
      raise ValueError(
        f'--workdir={args.workdir} cannot hold the logs; allowed: with --logs=FOLDER'
      )
  except ValueError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2
  if args.dry_run:
    print('\n'.join(shlex.join(job.command) for job in jobs))
    return 0
  codes = []
  try:
    with tqdm(total=len(jobs), desc='sweep', unit='run', disable=None) as bar:  # on terminals only
      for job, code in PLACES[args.on](jobs, args):
        with bar.external_write_mode():
          print(summary(job, code), flush=True)
        bar.update()
        codes.append(code)
  except KeyboardInterrupt:
    print('stopped; the same command goes on', file=sys.stderr)
    return stop.EXIT_CODE
  return int(any(codes))


if __name__ == '__main__':
  sys.exit(main(sys.argv[1:]))
