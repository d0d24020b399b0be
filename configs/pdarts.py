"""Search by P-DARTS on Gaussian noise with random labels, then train the found network.

Paper: P-DARTS (Chen et al. 2019), its settings for CIFAR-10. It has no search on ImageNet: there
the search is that of CIFAR-10, on the images that PC-DARTS takes, and retraining is P-DARTS's.

  python -m unrealnas_jax.main --config=configs/pdarts.py         # laptop on CPU, else paper
  python -m unrealnas_jax.main --config=configs/pdarts.py:paper

Time (laptop): 10 minutes on 2 cores of an AMD EPYC beside other work. Time (paper): not run yet.
"""

from configs import datasets, default, noise


def get_config(scale='auto'):
  config = noise.get_config(scale)
  default.search_as_on_cifar(config)
  progress(config, cells=(5, 11, 17), kept_ops=(0, 5, 3))
  if datasets.protocol(config) == 'cifar':
    config.retrain.batch = 128
    config.retrain.drop_path = 0.3
  if config.scale == 'laptop':
    progress(config, cells=(3, 4, 5), kept_ops=(0, 5, 3))
    config.method.warmup_epochs = 1
    config.search.batch = 32
    config.search.epochs = 3
    config.retrain.batch = 64
  return config


def progress(config, cells, kept_ops):
  """Makes a config that of P-DARTS, with the official settings of each of three stages.

  cells: of each stage; kept_ops: candidates of each, 0 = all
  """
  method, search = config.method, config.search
  method.name = 'pdarts'
  method.arch_lr = 6e-4
  method.arch_clip = 5.0
  method.max_skips = 2
  method.warmup_epochs = 10
  search.lr_end = 0.0
  search.batch = 96
  search.epochs = 25
  config.stages = tuple(
    {'search.cells': depth, 'search.kept_ops': ops, 'method.skip_dropout': rate}
    for depth, ops, rate in zip(cells, kept_ops, (0.1, 0.4, 0.7), strict=True)
  )
