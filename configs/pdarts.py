"""Search by P-DARTS on Gaussian noise with random labels, then train the found network.

Paper: P-DARTS (Chen et al. 2019), its settings for CIFAR-10.

  python -m unrealnas_jax.main --config=configs/pdarts.py         # laptop on CPU, else paper
  python -m unrealnas_jax.main --config=configs/pdarts.py:paper

Time (paper): not run yet.
"""

from configs import noise


def get_config(scale='auto'):
  config = noise.get_config(scale)
  method, search = config.method, config.search
  method.name = 'pdarts'
  method.arch_lr = 6e-4
  method.arch_clip = 5.0
  method.max_skips = 2
  method.warmup_epochs = 10
  search.lr_end = 0.0
  search.batch = 96
  search.epochs = 25
  cells = (5, 11, 17)
  config.retrain.batch = 128
  config.retrain.drop_path = 0.3
  if config.scale == 'laptop':
    method.warmup_epochs = 1
    search.batch = 32
    search.epochs = 3
    cells = (3, 4, 5)
    config.retrain.batch = 64
  config.stages = tuple(
    {'search.cells': depth, 'search.kept_ops': ops, 'method.skip_dropout': rate}
    for depth, ops, rate in zip(cells, (0, 5, 3), (0.1, 0.4, 0.7), strict=True)
  )
  return config
