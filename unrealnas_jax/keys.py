"""Named children of the key of a run, which is that of its one seed.

What is drawn for an example, an edge or a layer comes from children of these.
"""

import jax


def of_stage(key, number):
  """For a stage of a search, all but its data, which stages share; the first has the run's own."""
  return jax.random.fold_in(key, number) if number else key


def of_params(key):
  """Of a stage: what the supernet's weights begin with."""
  return jax.random.fold_in(key, 0)


def of_arch(key):
  """Of a stage: what the architecture begins with."""
  return jax.random.fold_in(key, 1)


def of_step(key, step):
  """Of a stage: what is drawn in a step."""
  return jax.random.fold_in(jax.random.fold_in(key, 2), step)


def of_data(key):
  """Of a run: what a source draws images and labels from."""
  return jax.random.fold_in(key, 3)


def of_retraining(key):
  """Of a run: for all of the training of the found network."""
  return jax.random.fold_in(key, 4)


def of_decisions(key):
  """Of a stage: the order in which edges are decided by perturbation."""
  return jax.random.fold_in(key, 5)
