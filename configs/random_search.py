"""Random cells, the best chosen by a short training of each on noise: what searches must beat.

Paper: Li, Talwalkar 2019, "Random Search and Reproducibility for Neural Architecture Search".

  python -m unrealnas_jax.main --config=configs/random_search.py
  python -m unrealnas_jax.main --config=configs/random_search.py --config.search.epochs=0

The second command takes the first random cell.

Time (laptop): 6 minutes on 2 cores of an AMD EPYC beside other work. Time (paper): not run yet.
"""

from configs import default, noise


def get_config(scale='auto'):
  config = noise.get_config(scale)
  default.search_as_on_cifar(config)
  config.method.name = 'random'
  config.method.random.measure = 'train_loss'  # on random labels no cell can tell the others
  if config.scale == 'laptop':
    config.method.random.cells = 5
  return config
