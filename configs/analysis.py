"""How well given cells memorise random labels and noise, and how they generalise on real labels.

Papers: UnrealNAS (arXiv 2205.02162), which analyses the cells it searches so; Zhang et al. 2017
(arXiv 1611.03530), fitting random labels. One budget for all, without regularisation by
augmentation, drop path, auxiliary head or weight decay, which would hide what a network can
memorise. No protocol of such an analysis is published: epochs and the laptop's sizes are ours.

  python -m unrealnas_jax.main --config=configs/analysis.py     # laptop on CPU, else paper
  python -m unrealnas_jax.main --config=configs/analysis.py \\
    --config.analysis.genotypes=runs/noise,DARTS_V2,PC_DARTS_cifar,random,random
  python -m unrealnas_jax.main --config=configs/analysis.py --config.search.space=nasbench201 \\
    --config.analysis.genotypes=random,random,random

Images must have one class each: bits of several labels are half right before any training.
source.examples should be the number of training images, as it is of digits and CIFAR-10.
Time (laptop): 13 minutes of processor time on 2 cores of an AMD EPYC; by the clock it was only
measured beside other work, 32 minutes. Time (paper): not run yet.
"""

from configs import default


def get_config(scale='auto'):
  config = default.get_config(scale)
  config.analysis.genotypes = 'DARTS_V2,PC_DARTS_cifar,random'
  retrain = config.retrain
  retrain.auxiliary = retrain.drop_path = retrain.weight_decay = retrain.label_smoothing = 0.0
  retrain.augment.pad = retrain.augment.cutout = 0
  retrain.augment.flip = False
  config.data.random_crop, config.data.jitter = 1.0, 0.0
  retrain.epochs = 100
  if config.scale == 'laptop':
    retrain.channels, retrain.epochs = 8, 30
  if config.data.path == 'digits':
    config.source.examples = 1_433
    config.data.size = config.source.size = 8  # as they are stored
  return config
