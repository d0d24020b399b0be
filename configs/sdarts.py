"""Search by SDARTS on Gaussian noise with random labels, then train the found network.

Paper: SDARTS (Chen, Hsieh 2020), its settings for CIFAR-10, which are those of DARTS.

  python -m unrealnas_jax.main --config=configs/sdarts.py         # laptop on CPU, else paper
  python -m unrealnas_jax.main --config=configs/sdarts.py:paper
  python -m unrealnas_jax.main --config=configs/sdarts.py \
    --config.method.sdarts.perturbation=adversarial

The perturbation is random (SDARTS-RS) or adversarial (SDARTS-ADV), which needs seven more gradients
a step.
Time (laptop): 7 minutes on 2 cores of an AMD EPYC beside other work. Time (paper): not run yet.
"""

from configs import noise


def get_config(scale='auto'):
  config = noise.get_config(scale)
  config.method.name = 'sdarts'
  return config
