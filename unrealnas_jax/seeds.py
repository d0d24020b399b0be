"""Several independent runs, one a seed: their configs, one program, and their statistics."""

import jax
import jax.numpy as jnp
import numpy as np

from unrealnas_jax import loop, parallel


def configs(config):
  """One config a seed, as a run of that seed alone has it."""
  found = []
  for seed in config.seeds:
    alone = config.copy_and_resolve_references()
    alone.seed, alone.seeds = seed, ()
    found.append(alone)
  return found


def groups(config):
  """The configs of the seeds in lists of config.seeds_together, each to be searched at once."""
  alone = configs(config)
  return [alone[n : n + config.seeds_together] for n in range(0, len(alone), config.seeds_together)]


def together(plans, step):
  """The Plan of several searches that differ in their seed alone, as one program.

  Arrays of its state and its key have a leading axis, one row a search; batches have it after the
  steps, [S, N, B, ...]. step: that of one search, on one device's batches.
  What is measured is their mean; what is said of an epoch also in `each`, one after the other.
  """

  def init():
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *(plan.init() for plan in plans))

  def run(keys, states, *batches):
    axes = (0, 0) + (1,) * len(batches)
    states, values = jax.vmap(step, axes, (0, 1))(keys, states, *batches)
    return states, jax.tree.map(lambda x: x.mean(1), values)

  def batches(steps):
    for calls in zip(*(plan.batches(steps) for plan in plans), strict=True):
      yield jax.tree.map(lambda *arrays: np.stack(arrays, axis=1), *calls)

  def end_of_epoch(states):
    each = [plan.end_of_epoch(row(states, n)) for n, plan in enumerate(plans)]
    numbers = [name for name in each[0] if name != 'weights']
    means = {name: np.mean([values[name] for values in each]) for name in numbers}
    return means | {'each': each}

  return plans[0]._replace(
    init=init,
    step=parallel.pmap_step(run),
    batches=batches,
    end_of_epoch=end_of_epoch,
    batch_axis=2,
    enough=loop.never,
  )


def row(states, number):
  """The state of one of several searches."""
  return jax.tree.map(lambda leaf: leaf[number], states)


def summary(results):
  """Mean and standard deviation over seeds of all numbers in results: {seed: result.json of it}."""
  flat = [dict(_numbers(result)) for result in results.values()]
  shared = [name for name in flat[0] if all(name in values for values in flat)]
  columns = {name: np.array([values[name] for values in flat]) for name in shared}
  return {
    'mean': {name: column.mean() for name, column in columns.items()},
    'standard_deviation': {  # of a sample: divided by one less than the number of seeds
      name: column.std(ddof=1) if len(column) > 1 else None for name, column in columns.items()
    },
    'seeds': {str(seed): result for seed, result in results.items()},
  }


def _numbers(tree, prefix=''):
  for name, value in tree.items():
    if isinstance(value, dict):
      yield from _numbers(value, f'{prefix}{name}.')
    elif isinstance(value, int | float) and not isinstance(value, bool):
      yield prefix + name, value
