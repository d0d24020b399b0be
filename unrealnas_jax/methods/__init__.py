"""Search methods, chosen by config.method.name: each a file with four pure functions.

init(key, *, net, hp) -> arch                                     what is learned
weights(arch, *, net, hp) -> {kind of cell: [E, O]}               what operations are multiplied by
step(key, state, train, val, *, net, tx, hp) -> (state, metrics)  one update on a device's shard
decode(key, state, *, net, hp) -> genotype                        the answer; key: that of net.init

and a constant SPARSE: whether operations whose weight is exactly 0 are left out (mixed.Form). A
method without alphas, whose answer is a cell drawn at random, bred from such or ranked, also has
draws(hp) -> whether cells are drawn for it; limits on their cost must then leave some to be drawn.

net: supernet.Net; tx: optimizers.Optimizers; hp: config.method; train, val: (images, labels) of the
two halves of the data; metrics: {name: []}, the same on all devices.
"""

from unrealnas_jax.methods import (
  darts,
  drnas,
  gdas,
  pc_darts,
  pdarts,
  random_search,
  rlnas,
  sdarts,
)

METHODS = {
  'darts': darts,
  'pc_darts': pc_darts,
  'pdarts': pdarts,
  'gdas': gdas,
  'drnas': drnas,
  'sdarts': sdarts,
  'rlnas': rlnas,
  'random': random_search,
}
LEARNED = tuple(name for name in METHODS if not hasattr(METHODS[name], 'draws'))  # have alphas
SECOND_ORDER = ('darts', 'pc_darts')  # methods that know config.method.order = 2


def turns(hp):
  """How many networks a search trains one after the other, each as long. hp: config.method"""
  return hp.random.cells if hp.name == 'random' else 1
