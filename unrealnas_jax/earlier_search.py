"""The genotype of an earlier search, read from the checkpoints in its workdir."""

import functools

import jax
from absl import logging
from etils import epath

from unrealnas_jax import checkpoint, decoding, keys, limits, perturbation, search, stages
from unrealnas_jax import genotype as genotypes
from unrealnas_jax.methods import METHODS


def genotype_of(workdir, config):
  """The genotype that the newest search checkpoint of an earlier run stands for.

  config: of that run. Neither its data is read nor its workdir changed.
  With limits on the network, which depend on the data, it is that of the finished search.
  Raises ValueError: it has no checkpoint of a search, or they are at fault.
  """
  if limits.of(config):
    return _limited_genotype(workdir)
  genotype, weights = None, {}
  parts = [*zip(stages.phases(config), enumerate(stages.configs(config)), strict=True)]
  number, last = parts[-1][1]
  if last.method.selection == 'perturbation':
    parts.append(('selection', (number, last)))
  for phase, (number, stage) in parts:
    restored = _restore_stage(workdir, stage, number, phase, weights.get(number - 1))
    if restored is None:
      break
    found, step, state = restored
    weights[number] = decoding.last_weights(found, state, stage, workdir)
    logging.info('The genotype is that of step %d of the %s in %s', step, phase, workdir)
    genotype, _ = decoding.decode(found, state, stage, workdir)
  if genotype is None:
    raise ValueError(f'genotype={str(workdir)!r} holds no checkpoint of a search')
  return genotype


def _limited_genotype(workdir):
  path = epath.Path(workdir) / 'genotype.json'
  if not path.exists():
    raise ValueError(
      f'genotype={str(workdir)!r} has limits on the network, which hold at the end of its search; '
      'allowed: the workdir of a finished search'
    )
  return genotypes.from_json(path.read_text(), str(path))


def _restore_stage(workdir, config, number, phase, weights):
  """(Search without a plan, step, state) of a stage's newest checkpoint, or None."""
  method, key, net = METHODS[config.method.name], jax.random.key(config.seed), None

  def make_like(stored):
    # How many classes and channels there are only the data says, and the stored weights do.
    classifier, stem = stored.get('params/classifier/bias'), stored.get('params/stem/kernel')
    if not classifier or not stem:
      raise ValueError(f'genotype={str(workdir)!r}: its checkpoint is none of a supernet')
    nonlocal net
    net = search.make_net(config, classifier.shape[0], stem.shape[2], weights)
    tx = search.make_optimizers(config, epoch_steps=1)
    of_stage = keys.of_stage(key, number)
    init = functools.partial(search.init_state, of_stage, config, net, method, tx)
    if phase == 'selection':
      return jax.eval_shape(lambda: perturbation.begin(init(), net.space, tx))
    return jax.eval_shape(init)

  restored = checkpoint.read_newest(workdir, phase, make_like)
  method = perturbation.of(method) if phase == 'selection' else method
  found = search.Search(key, None, net, method, None, phase, None, number)
  return restored and (found, *restored)
