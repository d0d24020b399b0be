"""Search on images of a trained generator, made inside the compiled step, then train what it found.

Paper: UnrealNAS (arXiv 2205.02162), its source of generated images. First train the generator, by
the same choice after the colon, which is where its workdir is looked for:

  python -m unrealnas_jax.main --config=configs/train_generator.py
  python -m unrealnas_jax.main --config=configs/generated.py        # laptop on CPU, else paper

  python -m unrealnas_jax.main --config=configs/train_generator.py:paper    # CIFAR-10
  python -m unrealnas_jax.main --config=configs/generated.py:paper

  python -m unrealnas_jax.main --config=configs/train_generator.py:paper,imagenet
  python -m unrealnas_jax.main --config=configs/generated.py:paper,imagenet

  python -m unrealnas_jax.main --config=configs/train_generator.py:paper,chexpert
  python -m unrealnas_jax.main --config=configs/generated.py:paper,chexpert

The images are labelled by what they were made of, a class or, where the real images had several
labels, those of one of them; --config.source.labels=random gives the same images random labels.
--config.source.generator=DIR takes the generator of another workdir.

Time (laptop,cifar10, of 10,000 images): search 107 s and retraining 569 s on 2 cores of
an AMD EPYC beside other work.
Time (paper): not run yet.
"""

from configs import default
from unrealnas_jax import config_file


def get_config(scale=''):
  config = default.get_config(scale or 'auto')
  config.source.name = 'generated'
  config.source.generator = config_file.default_workdir(f'train_generator.py:{scale}')
  if config.scale == 'paper':
    config.search.steps_per_call = 10  # nothing comes from the host, so the device need not wait
  return config
