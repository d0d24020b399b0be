"""Which kernels a traced step spends its time in."""

import collections
import re

import jax
from etils import epath

CONTAINERS = ('while', 'call', 'conditional')  # their time is that of the kernels within


def longest(folder, count=20):
  """The kernels of the newest trace in a folder that ran longest, summed over numbers and threads.

  -> [{'kernel', 'runs', 'seconds'}], the longest first; dot.3 and dot.14 are both dot. Kernels that
  ran side by side on several threads or devices count each, so the sum can exceed the step.
  """
  traces = epath.Path(folder).glob('plugins/profile/*/*.xplane.pb')
  newest = max(traces, key=lambda path: path.stat().mtime)
  runs, seconds = collections.Counter(), collections.Counter()
  for plane in jax.profiler.ProfileData.from_serialized_xspace(newest.read_bytes()).planes:
    for line in plane.lines:
      for event in line.events:
        name = re.sub(r'[.\d]+$', '', event.name)
        if name not in CONTAINERS and 'hlo_op' in dict(event.stats):
          runs[name] += 1
          seconds[name] += event.duration_ns / 1e9
  return [
    {'kernel': name, 'runs': runs[name], 'seconds': spent}
    for name, spent in seconds.most_common(count)
  ]
