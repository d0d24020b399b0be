"""How well given cells memorise random labels and noise, and how they generalise on real labels.

Papers: UnrealNAS (arXiv 2205.02162), which analyses the cells it searches so; Zhang et al. 2017
(arXiv 1611.03530), fitting random labels. One budget for all, without regularisation by
augmentation, drop path or auxiliary head, which would hide what a network can memorise.

  python -m unrealnas_jax.main --config=configs/analysis.py     # laptop on CPU, else paper
  python -m unrealnas_jax.main --config=configs/analysis.py \\
    --config.analysis.genotypes=runs/noise,DARTS_V2,PC_DARTS_cifar,random,random

Time (laptop): not measured yet. Time (paper): not run yet.
"""

from configs import default


def get_config(scale='auto'):
  config = default.get_config(scale)
  config.analysis.genotypes = 'DARTS_V2,PC_DARTS_cifar,random'
  retrain = config.retrain
  retrain.auxiliary = retrain.drop_path = 0.0
  retrain.weight_decay = 0.0
  retrain.augment.pad = retrain.augment.cutout = 0
  retrain.augment.flip = False
  if config.scale == 'laptop':
    config.source.examples = 1_433  # as many as there are digits to train on
    retrain.channels = 8
    retrain.epochs = 20
  return config
