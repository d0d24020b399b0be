"""What a search comes to: the genotype of its last state, or of one before it went too far."""

import numpy as np
from absl import logging

from unrealnas_jax import eigenvalue, keys, limits, metrics
from unrealnas_jax import genotype as genotypes
from unrealnas_jax.methods import alphas

UNLIMITED_SKIPS = 8  # config.method.max_skips that limits nothing


def decode(search, state, config, workdir):
  """(the genotype of a state, facts of the epoch it was taken of if that is an earlier one)

  search: the Search that the state is of
  """
  turned = _turned(search, state, config, workdir)
  if turned is None:
    key = keys.of_params(keys.of_stage(search.key, search.number))
    return search.method.decode(key, state, net=search.net, hp=config.method), {}
  logging.info('The eigenvalue has grown; the architecture is that of epoch %d.', turned['epoch'])
  genotype = alphas.decode(search.net.space, _tables(turned), config.method)
  return genotype, {'genotype_of_epoch': turned['epoch']}


def last_weights(search, state, config, workdir):
  """The mixing weights {kind: [E, O]} that a stage ends with; of the epoch that `decode` takes."""
  turned = _turned(search, state, config, workdir)
  if turned is None:
    return search.method.weights(state.arch, net=search.net, hp=config.method)
  return _tables(turned)


def ladder(space, weights, config):
  """For result.json the genotypes that a limit on identities has passed, if there is one."""
  otherwise = config.method.selection != 'alphas' or limits.of(config)
  if config.method.max_skips == UNLIMITED_SKIPS or otherwise:
    return {}
  passed = alphas.skip_ladder(space, weights)
  texts = {len(space.skips(genotype)): genotypes.to_text(genotype) for genotype in passed}
  return {'max_skips': config.method.max_skips, 'genotype_by_skips': texts}


def _turned(search, state, config, workdir):
  return eigenvalue.turning_point(metrics.epochs(workdir, search.phase, int(state.step)), config)


def _tables(epoch):
  return {kind: np.float32(table) for kind, table in epoch['weights'].items()}
