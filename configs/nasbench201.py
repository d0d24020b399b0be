"""Search NAS-Bench-201 by any method on Gaussian noise with random labels, without retraining.

What the found cell reaches is looked up in the published table. Paper: Dong, Yang 2020, and the
method's own.

  python -m unrealnas_jax.main --config=configs/nasbench201.py:rlnas \
    --config.benchmark.nasbench201_csv=nasbench201.csv.gz
  python -m unrealnas_jax.main --config=configs/nasbench201.py:gdas,paper ...

After the colon: a method of unrealnas_jax.methods.METHODS, then the scale unless it is auto.
Time (laptop): 2 to 5 minutes on 2 cores of an AMD EPYC. Time (paper): not run yet.
"""

from configs import noise


def get_config(choice='rlnas'):
  method, _, scale = choice.partition(',')
  config = noise.get_config(scale or 'auto')
  config.method.name = method
  config.method.random.measure = 'train_loss'
  config.retrain.epochs = 0
  search, evolution = config.search, config.method.evolution
  search.space = 'nasbench201'
  search.channels, search.cells = 16, 5
  search.weight_decay = 5e-4
  evolution.population, evolution.parents = 100, 30
  evolution.mutations = evolution.crossovers = 50
  if method in ('rlnas', 'gdas'):
    search.epochs = 250
  if method == 'rlnas':
    search.train_portion = 0.96
  if method == 'pc_darts':
    search.partial_channels = 4
  if config.scale == 'laptop':
    search.channels, search.cells = 8, 1
    search.batch = 64
    search.epochs = 40
    config.source.examples = 2_000
    config.source.channels = 3
    if method == 'rlnas':
      # So few images that the small supernet begins to know their labels by heart in minutes, and
      # the weights of its edges alone, which are few beside those between the stages.
      config.source.examples = 800
      config.method.rlnas.angle = 'edges'
      search.train_portion, search.epochs = 0.9, 150
      search.lr, search.augment.pad = 0.1, 0
  return config
