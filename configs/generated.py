"""Search on images of a trained generator, made inside the compiled step, then train what it found.

Paper: UnrealNAS (arXiv 2205.02162), its source of generated images. First train the generator:

  python -m unrealnas_jax.main --config=configs/train_generator.py
  python -m unrealnas_jax.main --config=configs/generated.py        # laptop on CPU, else paper

The images are labelled by the class they were made of; --config.source.labels=random gives the
same images random labels. --config.source.generator=DIR takes the generator of another workdir.

Time (paper): not run yet.
"""

from configs import default


def get_config(scale='auto'):
  config = default.get_config(scale)
  config.source.name = 'generated'
  if config.scale == 'paper':
    config.search.steps_per_call = 10  # nothing comes from the host, so the device need not wait
  return config
