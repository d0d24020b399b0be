"""Search on images painted by rules, then train the found network on real images.

Beyond the paper UnrealNAS (arXiv 2205.02162): its generated images come from a generator that was
trained on real ones; here no real image is needed. A class is a rule, and an image's label the rule
that painted it, so unlike those of noise the labels can be learned and hold for unseen images. The
search is first-order DARTS (Liu et al. 2019).

  python -m unrealnas_jax.main --config=configs/procedural.py     # laptop on CPU, else paper
  python -m unrealnas_jax.main --config=configs/procedural.py:paper
  ... --config=configs/procedural.py --config.source.name=dead_leaves --workdir=runs/dead_leaves

  --config.source.name=   images
  fractals                attractors of iterated function systems (Kataoka et al. 2020)
  dead_leaves             shapes that fall on each other (Lee et al. 2001)
  spectrum                noise with amplitudes of 1/f^a (Baradad et al. 2021)
  gratings                stripes
  perlin                  clouds, ridges and veins (Perlin 1985)

  To see them:
  python -m unrealnas_jax.contact_sheet --config=configs/procedural.py --out=sheet.png

Time: not run yet.
"""

from configs import default


def get_config(scale='auto'):
  config = default.get_config(scale)
  config.source.name = 'fractals'
  if config.scale == 'paper':
    config.search.steps_per_call = 10  # nothing comes from the host, so the device need not wait
  return config
