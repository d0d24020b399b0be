"""Search by DrNAS on Gaussian noise with random labels, then train the found network.

Paper: DrNAS (Chen et al. 2021), its settings for CIFAR-10, and for ImageNet with :imagenet
(DARTS-space/train_search_imagenet.py). In the second of two stages each edge has four operations
left, which see more of the channels; the official code goes on with widened weights, the same
alphas and one schedule of the learning rate, while here each stage begins anew, warm-up included.

  python -m unrealnas_jax.main --config=configs/drnas.py          # laptop on CPU, else paper
  python -m unrealnas_jax.main --config=configs/drnas.py:paper

Time (laptop): 12 minutes on 2 cores of an AMD EPYC beside other work. Time (paper): not run yet.
"""

from configs import datasets, default, noise


def get_config(scale='auto'):
  config = noise.get_config(scale)
  config.method.name = 'drnas'
  on_imagenet = datasets.protocol(config) == 'imagenet'
  parts = _imagenet(config) if on_imagenet else _cifar(config)
  config.stages = tuple(
    {'search.partial_channels': part, 'search.kept_ops': ops}
    for part, ops in zip(parts, (0, 4), strict=True)
  )
  return config


def _cifar(config):
  """Sets all but the stages; what part of the channels each searches."""
  method, search = config.method, config.search
  default.search_as_on_cifar(config)
  if config.scale == 'paper':
    search.channels, search.cells = 36, 20
    search.epochs, method.warmup_epochs = 25, 10
  else:
    search.epochs, method.warmup_epochs = 3, 1
  method.arch_lr = 6e-4
  search.lr, search.lr_end = 0.1, 0.0
  if datasets.protocol(config) == 'cifar':
    config.retrain.batch, config.retrain.drop_path = 64, 0.3
  return (6, 4) if config.scale == 'paper' else (4, 2)


def _imagenet(config):
  """As `_cifar`; what is not here is as PC-DARTS has it, in datasets.py."""
  search = config.search
  search.channels, search.cells = 48, 14
  search.batch, search.epochs = 512, 25
  config.method.warmup_epochs = 10
  return 6, 3
