"""Search on real images with one fixed random label each, then train what it found on true labels.

Paper: UnrealNAS (arXiv 2205.02162), its source of real images with random labels; random labels
in search are also RLNAS (Zhang et al. 2021). The search is first-order DARTS (Liu et al. 2019).

  python -m unrealnas_jax.main --config=configs/random_labels.py  # laptop on CPU, else paper
  python -m unrealnas_jax.main --config=configs/random_labels.py:paper    # CIFAR-10
  python -m unrealnas_jax.main --config=configs/random_labels.py:paper,imagenet
  python -m unrealnas_jax.main --config=configs/random_labels.py:paper,chexpert

  ... --config.source.classes=2              # any number of classes

  --config.source.name=   labels
  random_labels           a random one for each image, of source.classes
  noisy_labels            with probability source.label_noise a random one, else the true one
  shuffled_labels         the true ones, dealt out anew: each as often as before

The other data sets are in datasets.py. Images with several labels get independent fair bits. True
labels have one part in a search on random ones: where search.subset is below 1 (imagenet), as many
images of each class are drawn.

Time (paper): not run yet.
"""

from configs import default


def get_config(scale='auto'):
  config = default.get_config(scale)
  config.source.name = 'random_labels'
  return config
