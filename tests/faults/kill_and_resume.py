"""Kills a small search at random moments, resumes it, and compares it with one never stopped.

  PYTHONPATH=.:tests python tests/faults/kill_and_resume.py --kills=50 [--seed=0] [--folder=DIR]

A search that comes to its end between two kills is compared, and the next one begins. Prints one
JSON object; the exit code is 1 if a search differed.
"""

import argparse
import collections
import json
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

import programs

POLL_SECONDS = 0.001


def at_any_time(workdir, usual, draw, wait):
  """From the start of the program to what its end would be."""
  del workdir
  wait(lambda: False, draw(0, usual['all']))


def among_steps(workdir, usual, draw, wait):
  """After the first line of metrics that this start of the program writes."""
  path = workdir / 'metrics.jsonl'
  before = path.stat().st_mtime_ns if path.exists() else 0
  wait(lambda: path.exists() and path.stat().st_mtime_ns > before)
  wait(lambda: False, draw(0, usual['steps']))


def in_a_write(workdir, usual, draw, wait):
  """While a checkpoint is half written, or moments after."""
  del usual
  before = half_written(workdir)
  wait(lambda: half_written(workdir) - before)
  wait(lambda: False, draw(0, 0.05))


MOMENTS = (at_any_time, among_steps, in_a_write)


def half_written(workdir):
  """Folders that Orbax has not given their names yet, by time of creation."""
  return {
    (path.name, path.stat().st_ctime_ns)
    for path in (workdir / 'checkpoints' / 'search').glob('*orbax-checkpoint-tmp*')
  }


def start(workdir, cache, images):
  args = (programs.SEARCH_ONLY, images)
  return subprocess.Popen(
    programs.command(workdir, *args),
    env=programs.environment(cache),
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )


def wait_for(process, found, seconds=300):
  """Waits until found(), the time is over or the process ends."""
  end = time.monotonic() + seconds
  while process.poll() is None and time.monotonic() < end and not found():
    time.sleep(POLL_SECONDS)


def finish(process):
  """The end of a process that must end well, unless it was killed; whether it was."""
  _, errors = process.communicate(timeout=300)
  if process.returncode not in (0, -signal.SIGKILL):
    raise RuntimeError(f'exit code {process.returncode}: {errors[-2000:]}')
  return process.returncode != 0


def run_whole(workdir, cache, images):
  """Runs a search to its end: seconds from its start, and from its first line of metrics."""
  began = time.monotonic()
  process = start(workdir, cache, images)
  wait_for(process, (workdir / 'metrics.jsonl').exists)
  first = time.monotonic()
  finish(process)
  end = time.monotonic()
  return {'all': end - began, 'steps': end - first}


def differences(whole, other):
  """What two searches do not have in common, to the last bit."""
  names = ('config.json', 'genotype.json', 'metrics.jsonl')
  found = [name for name in names if (whole / name).read_bytes() != (other / name).read_bytes()]
  (step, expected), (other_step, arrays) = (programs.last_state(x) for x in (whole, other))
  if other_step != step or arrays.keys() != expected.keys():
    return [*found, f'checkpoint {other_step}']
  return found + [
    name
    for name, x in expected.items()
    if (x.dtype, x.shape, x.tobytes())
    != (arrays[name].dtype, arrays[name].shape, arrays[name].tobytes())
  ]


def trial(kills, seed, folder, cache=None):
  """Kills and compares below a folder; what is printed of it."""
  draws, began = random.Random(seed), time.monotonic()
  folder.mkdir(parents=True, exist_ok=True)
  cache, images = cache or folder / 'cache', programs.write_images(folder)
  run_whole(folder / 'compiled', cache, images)  # so that the next is as quick as the others
  usual = run_whole(folder / 'whole', cache, images)
  counts, different, searches = collections.Counter(), [], 0
  while True:
    workdir = folder / f'killed{searches}'
    process = start(workdir, cache, images)
    if sum(counts[moment.__name__] for moment in MOMENTS) < kills:
      moment = draws.choice(MOMENTS)
      moment(workdir, usual, draws.uniform, lambda *args, p=process: wait_for(p, *args))
      process.kill()
    else:
      moment = None
    if finish(process):
      counts[moment.__name__] += 1
      counts['left a half-written checkpoint'] += bool(half_written(workdir))
      counts['before the first checkpoint'] += not programs.saved(workdir)
      continue
    searches += 1
    different += [f'{workdir.name}: {name}' for name in differences(folder / 'whole', workdir)]
    if moment is None:
      break
  seconds = round(time.monotonic() - began)
  return {
    **counts,
    'kills': kills,
    'searches': searches,
    'different': different,
    'seconds': seconds,
  }


def main():
  """Reads the arguments and prints what came out; the exit code."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--kills', type=int, default=5)
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument(
    '--folder', type=pathlib.Path, help='a new or empty one; default: a temporary one'
  )
  args = parser.parse_args()
  with tempfile.TemporaryDirectory() as temporary:
    report = trial(args.kills, args.seed, args.folder or pathlib.Path(temporary))
  print(json.dumps(report, indent=2))
  return 1 if report['different'] else 0


if __name__ == '__main__':
  sys.exit(main())
