"""Search by GDAS on Gaussian noise with random labels, then train the found network.

Paper: GDAS (Dong, Yang 2019). Its settings for CIFAR-10 as AutoDL-Projects has them
(scripts-search/NASNet-space-search-by-GDAS.sh and what it names). It has no search on ImageNet:
there the search is that of CIFAR-10, on the images that PC-DARTS takes.

  python -m unrealnas_jax.main --config=configs/gdas.py           # laptop on CPU, else paper
  python -m unrealnas_jax.main --config=configs/gdas.py:paper

Time (laptop): 6 minutes on 2 cores of an AMD EPYC beside other work. Time (paper): not run yet.
"""

from configs import default, noise


def get_config(scale='auto'):
  config = noise.get_config(scale)
  config.method.name = 'gdas'
  default.search_as_on_cifar(config)
  if config.scale == 'paper':
    config.search.cells = 6
    config.search.batch = 256
    config.search.epochs = 250
    config.search.weight_decay = 5e-4
    config.search.nesterov = True
  else:
    config.search.epochs = 15  # a step is quick, and trains but one operation of each edge
  return config
