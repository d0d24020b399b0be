"""Search spaces: what a cell is made of and how its mixing weights become a genotype."""

from unrealnas_jax.spaces import darts, nasbench201

SPACES = {'darts': darts.SPACE, 'nasbench201': nasbench201.SPACE}
