"""Search by RLNAS on Gaussian noise with random labels, then train the found network.

Paper: RLNAS (Zhang et al. 2021), its settings for the DARTS space on CIFAR-10.

  python -m unrealnas_jax.main --config=configs/rlnas.py          # laptop on CPU, else paper
  python -m unrealnas_jax.main --config=configs/rlnas.py:paper

Time (paper): not run yet.
"""

from configs import noise


def get_config(scale='auto'):
  config = noise.get_config(scale)
  config.method.name = 'rlnas'
  config.search.affine = True
  # Nothing is learned from the other part, which is the smallest that makes a batch.
  config.search.train_portion = 0.96
  if config.scale == 'paper':
    config.search.epochs = 250
  return config
