"""Search by second-order DARTS on real images with true labels, then train what it found.

Paper: DARTS, second order (Liu et al. 2019).

  python -m unrealnas_jax.main --config=configs/darts_second_order.py  # laptop on CPU
  python -m unrealnas_jax.main --config=configs/darts_second_order.py:paper

Time (laptop): 7 to 16 minutes on 2 cores of an AMD EPYC beside other work.
Time (paper): not run yet.
"""

from configs import real


def get_config(scale='auto'):
  config = real.get_config(scale)
  config.method.order = 2
  return config
