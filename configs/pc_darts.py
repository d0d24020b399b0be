"""Search by PC-DARTS on Gaussian noise with random labels, then train the found network.

Paper: PC-DARTS (Xu et al. 2020), its settings for CIFAR-10, and for ImageNet with :imagenet.

  python -m unrealnas_jax.main --config=configs/pc_darts.py       # laptop on CPU, else paper
  python -m unrealnas_jax.main --config=configs/pc_darts.py:paper

Time (laptop): 4 minutes on 2 cores of an AMD EPYC beside other work. Time (paper): not run yet.
"""

from configs import datasets, noise


def get_config(scale='auto'):
  config = noise.get_config(scale)
  config.method.name = 'pc_darts'
  if config.search.stem == 'imagenet':  # then the rest is in datasets.py
    config.search.partial_channels = 2
    return config
  config.method.arch_lr = 6e-4
  config.search.partial_channels = 4
  config.search.lr = 0.1
  config.search.lr_end = 0.0
  if datasets.protocol(config) == 'cifar':
    config.retrain.drop_path = 0.3
  if config.scale == 'paper':
    config.search.batch = 256
    config.method.warmup_epochs = 15
  else:
    config.method.warmup_epochs = 1
  return config
