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

At 224 pixels the networks have 64 channels at the full size and twice as many at each half of it,
up to 512, as those of Miyato et al. have 64 to 1,024 on ImageNet at 128 pixels; five updates of the
discriminator for each of the generator and, on ImageNet, 450,000 of these are theirs too
(configs/sn_projection.yml of the official code). On other sets 50,000 updates are ours.
At the laptop scale images of more than 16 pixels have networks of 32 channels in place of 64.
Digits have 1,000 updates there in place of 3,000.
DiffAugment shifts by 1/8 of the height and cuts out 1/2 of it at every size.

Time (laptop): 17 minutes; laptop,cifar10, of 10,000 images: 57 to 75 minutes; both on 2 cores of an
AMD EPYC beside other work.
Time (paper): not run yet.
"""

from configs import default


def get_config(scale='auto'):
  config = default.get_config(scale)
  config.genotype = 'DARTS_V2'  # of the networks that judge
  size, hp = config.data.size, config.generator
  hp.steps = 50_000
  hp.augment.pad, hp.augment.cutout = size // 8, size // 2
  if config.scale == 'paper' and size >= 224:
    hp.channels = hp.discriminator_channels = 512  # at most; see unrealnas_jax.gan.channels_at
    hp.steps = 450_000 if config.data.path == 'tfds:imagenet2012' else hp.steps
  # The judges are smaller and trained for less than a found network.
  config.retrain.channels = 16
  config.retrain.cells = 8
  config.retrain.epochs = 50
  config.retrain.drop_path = 0.0
  if config.scale == 'laptop':
    hp.steps = 1_000 if config.data.path == 'digits' else 3_000
    if size > 16:  # else a step would take several times as long as for digits
      hp.channels = hp.discriminator_channels = 32
    config.retrain.channels = 8
    config.retrain.cells = 3
    config.retrain.epochs = 10
  return config
