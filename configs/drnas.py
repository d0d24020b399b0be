"""Search by DrNAS on Gaussian noise with random labels, then train the found network.

Paper: DrNAS (Chen et al. 2021), its settings for CIFAR-10, in one stage. The official code has two
of 25 epochs: the second sees a fourth of the channels, and four operations of each edge.

  python -m unrealnas_jax.main --config=configs/drnas.py          # laptop on CPU, else paper
  python -m unrealnas_jax.main --config=configs/drnas.py:paper

Time (paper): not run yet.
"""

from configs import noise


def get_config(scale='auto'):
  config = noise.get_config(scale)
  config.method.name = 'drnas'
  config.method.arch_lr = 6e-4
  config.search.lr = 0.1
  config.search.lr_end = 0.0
  config.retrain.batch = 64
  config.retrain.drop_path = 0.3
  if config.scale == 'paper':
    config.search.channels = 36
    config.search.cells = 20
    config.search.partial_channels = 6
    config.method.warmup_epochs = 10
  else:
    config.search.partial_channels = 4
    config.method.warmup_epochs = 1
  return config
