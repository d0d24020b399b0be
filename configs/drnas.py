"""Search by DrNAS on Gaussian noise with random labels, then train the found network.

Paper: DrNAS (Chen et al. 2021), its settings for CIFAR-10. In the second of two stages each edge
has four operations left, which see more of the channels; the official code goes on with widened
weights, the same alphas and one schedule of the learning rate, while here each stage begins anew.

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
    config.search.epochs = 25
    config.method.warmup_epochs = 10
    parts = (6, 4)
  else:
    config.search.epochs = 3
    config.method.warmup_epochs = 1
    parts = (4, 2)
  config.stages = tuple(
    {'search.partial_channels': part, 'search.kept_ops': ops}
    for part, ops in zip(parts, (0, 4), strict=True)
  )
  return config
