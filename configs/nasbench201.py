"""Search NAS-Bench-201 by any method on Gaussian noise with random labels, without retraining.

What the found cell reaches is looked up in the published table. Paper: Dong, Yang 2020, and the
method's own.

  python -m unrealnas_jax.main --config=configs/nasbench201.py:rlnas \
    --config.benchmark.nasbench201_csv=nasbench201.csv.gz
  python -m unrealnas_jax.main --config=configs/nasbench201.py:gdas,paper ...

After the colon: a method of unrealnas_jax.methods.METHODS, then the scale unless it is auto.
Time (laptop): 2 to 12 minutes on 2 cores of an AMD EPYC. Time (paper): not run yet.
"""

from configs import noise, pdarts


def get_config(choice='rlnas'):
  method, _, scale = choice.partition(',')
  config = noise.get_config(scale or 'auto')
  config.method.name = method
  config.method.random.measure = 'train_loss'
  config.method.rlnas.search = 'exhaustive'
  config.method.perturbation.finetune_epochs = 5
  config.retrain.epochs = 0
  search, evolution = config.search, config.method.evolution
  search.space = 'nasbench201'
  search.channels, search.cells = 16, 5
  search.weight_decay = 5e-4
  evolution.population, evolution.parents = 100, 30
  evolution.mutations = evolution.crossovers = 50
  if method in ('rlnas', 'gdas'):
    search.epochs = 250
    search.nesterov = config.scale == 'paper'
  if method == 'rlnas':
    search.train_portion = 0.96
  if method in ('drnas', 'sdarts'):
    search.epochs = 100
    search.weight_decay = 3e-4
  if method == 'pc_darts':
    search.partial_channels = 4
  if method == 'drnas':
    config.method.drnas.none = True
  if method == 'pdarts':
    # Its authors did not search this space: from one cell a stage to all, of 5, 4 and 3 candidates.
    pdarts.progress(config, cells=(1, 3, 5), kept_ops=(0, 4, 3))
  if config.scale == 'laptop':
    search.channels, search.cells = 8, 1
    # So few images, always the same, that even this supernet begins to know their labels by heart.
    config.source.examples = 800
    config.source.channels = 3
    search.batch, search.epochs, search.augment.pad = 64, 150, 0
    if method == 'pdarts':
      pdarts.progress(config, cells=(1, 2, 3), kept_ops=(0, 4, 3))
      # As many epochs in all as the others have; two fifths of each stage rest, as officially.
      search.batch, search.epochs, config.method.warmup_epochs = 64, 50, 20
    if method == 'rlnas':
      # The weights of edges alone, which are few beside those between the stages.
      config.method.rlnas.angle = 'edges'
      search.train_portion, search.lr = 0.9, 0.1
  return config
