"""Train and test a known network, without a search.

Paper: the evaluation of DARTS (Liu et al. 2019). The genotype must be given: a published name, a
file genotype.json, or the workdir of an earlier search.

  python -m unrealnas_jax.main --config=configs/retrain.py --config.genotype=PC_DARTS_cifar
  python -m unrealnas_jax.main --config=configs/retrain.py:paper --config.genotype=DARTS_V2

Time (paper): not run yet.
"""

from ml_collections import config_dict

from configs import default


def get_config(scale='auto'):
  config = default.get_config(scale)
  del config.genotype  # its default means a search; a placeholder has to be filled
  config.genotype = config_dict.placeholder(str)
  return config
