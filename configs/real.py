"""Search on real images with true labels, then train: the usual pipeline, to compare with.

Paper: DARTS, first order (Liu et al. 2019).

  python -m unrealnas_jax.main --config=configs/real.py           # laptop on CPU, else paper
  python -m unrealnas_jax.main --config=configs/real.py:paper    # CIFAR-10
  python -m unrealnas_jax.main --config=configs/real.py:paper,imagenet
  python -m unrealnas_jax.main --config=configs/real.py:paper,chexpert

The other data sets are in datasets.py.

Time (paper): not run yet.
"""

from configs import default


def get_config(scale='auto'):
  config = default.get_config(scale)
  config.source.name = 'real'
  return config
