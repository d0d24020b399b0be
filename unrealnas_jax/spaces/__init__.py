"""Search spaces: what a cell is made of and how its mixing weights become a genotype."""

from unrealnas_jax.spaces import darts

SPACES = {'darts': darts.SPACE}
