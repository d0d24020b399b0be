"""Search by RLNAS on Gaussian noise with random labels, then train the found network.

Paper: RLNAS (Zhang et al. 2021), its settings for the DARTS space on CIFAR-10, and on ImageNet with
:imagenet.

  python -m unrealnas_jax.main --config=configs/rlnas.py          # laptop on CPU, else paper
  python -m unrealnas_jax.main --config=configs/rlnas.py:paper

Time (laptop): 3 minutes on 2 cores of an AMD EPYC beside other work. Time (paper): not run yet.
"""

from configs import datasets, default, noise


def get_config(scale='auto'):
  config = noise.get_config(scale)
  config.method.name = 'rlnas'
  config.search.affine = True
  # Nothing is learned from the other part, which is about the smallest that makes a batch.
  config.search.train_portion = 0.96
  default.search_as_on_cifar(config)
  if datasets.protocol(config) == 'imagenet':
    _imagenet(config)
  elif config.scale == 'paper':
    config.search.epochs = 250
  return config


def _imagenet(config):
  search = config.search
  search.channels, search.cells = 48, 14
  search.batch, search.epochs = 512, 50
  search.lr, search.lr_end, search.lr_schedule = 0.1, 5e-4, 'linear_by_step'
  search.weight_decay, search.decayed = 4e-5, 'convolutions'
  search.clip_by, search.label_smoothing = 'value', 0.1
  search.subset, search.train_portion = 1.0, 0.999
  search.max_multiply_adds = 600_000_000
