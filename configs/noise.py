"""Search on Gaussian noise with random labels, then train the found network on real images.

Paper: UnrealNAS (arXiv 2205.02162), its source without any image: noise; the search is first-order
DARTS (Liu et al. 2019).

  python -m unrealnas_jax.main --config=configs/noise.py          # laptop on CPU, else paper
  python -m unrealnas_jax.main --config=configs/noise.py:paper    # CIFAR-10
  python -m unrealnas_jax.main --config=configs/noise.py:paper,imagenet
  python -m unrealnas_jax.main --config=configs/noise.py:paper,chexpert

  ... --config.source.examples=1000          # fewer images, which are sooner known by heart
  ... --config.source.distribution=uniform --config.source.mean=0.5 --config.source.std=0.3

  --config.source.name=   images and labels
  noise                   source.examples images are kept with their labels: these can be memorised
  fresh_noise             images and labels are drawn anew each step: nothing can be
  fresh_labels            the images of noise, whose labels are drawn anew each step: as little can
  matched_noise           noise in the place of each real image, labelled as random_labels does

  ... --config.search.steps_per_call=10      # by one call of the device; must divide an epoch's
  One step a call suits any number of images, such as the data set's, which matched_noise has.

The other data sets are in datasets.py. Where images have several labels, noise has independent fair
bits.

Time (laptop): 3 to 5 minutes on 2 cores of an AMD EPYC, compilation included.
Time (paper): not run yet.
"""

from configs import default


def get_config(scale='auto'):
  config = default.get_config(scale)
  config.source.name = 'noise'
  return config
