"""A generator so small that it compiles in a second, and the workdir that its training left."""

import functools

import jax
import numpy as np
from etils import epath

from unrealnas_jax import checkpoint, metrics, parallel
from unrealnas_jax.data import generated


def description(**changes):
  values = dict(dataset='made', latent=3, channels=4, classes=5, shape=(8, 8, 3))
  values |= dict(mean=(0.5, 0.25, 0.125), std=(0.5, 1.0, 2.0))
  return generated.Description(**(values | changes))


def variables(description):
  """Of numbers that make its images differ."""
  network = generated.make_network(description)
  init = functools.partial(network.init, train=False)
  shapes = jax.eval_shape(init, jax.random.key(0), *generated.first_inputs(description))
  rng = np.random.default_rng(0)

  def draw(leaf):
    if leaf.ndim == 1:  # among them the variances of norms
      return np.float32(rng.uniform(0.5, 1.5, leaf.shape))
    return np.float32(rng.normal(size=leaf.shape) / np.sqrt(np.prod(leaf.shape[:-1])))

  return jax.tree.map(draw, shapes)


def write(workdir, description, rows=None, **state):
  """Makes workdir that of a finished training; the variables. state: what else was saved."""
  ema = variables(description)
  manager = checkpoint.open(workdir, 'generator', 1)
  step = np.int32(7)
  checkpoint.save(manager, 7, parallel.replicate({'step': step, 'ema': ema, **state}))
  checkpoint.close(manager)
  generated.save(workdir, description, rows)
  metrics.write_json(epath.Path(workdir) / 'result.json', {})
  return ema
