"""Train a class-conditional GAN on real images: the generator of configs/generated.py.

Papers: spectral normalisation and the networks, Miyato et al. 2018 (arXiv 1802.05957); projection
discriminator, Miyato and Koyama 2018 (arXiv 1802.05637); DiffAugment, Zhao et al. 2020 (arXiv
2006.10738). After it, two networks judge the images: one is trained on generated images and tested
on real ones, the other the reverse (Shmelkov et al. 2018, arXiv 1807.09499).

  python -m unrealnas_jax.main --config=configs/train_generator.py  # laptop on CPU, else paper
  python -m unrealnas_jax.main --config=configs/train_generator.py:paper    # CIFAR-10
  python -m unrealnas_jax.main --config=configs/train_generator.py:paper,imagenet
  python -m unrealnas_jax.main --config=configs/train_generator.py:paper,chexpert

configs/generated.py with the same choice after the colon searches on its images.

Time (paper): not run yet.
"""

from configs import default


def get_config(scale='auto'):
  config = default.get_config(scale)
  config.genotype = 'DARTS_V2'  # of the networks that judge
  config.generator.steps = 50_000
  # The judges are smaller and trained for less than a found network.
  config.retrain.channels = 16
  config.retrain.cells = 8
  config.retrain.epochs = 50
  config.retrain.drop_path = 0.0
  if config.scale == 'laptop':
    config.generator.steps = 3_000
    config.retrain.channels = 8
    config.retrain.cells = 3
    config.retrain.epochs = 10
  return config
