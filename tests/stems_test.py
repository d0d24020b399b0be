"""Stems of the supernets: that of ImageNet against the discrete network's, and its size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import tiny

from unrealnas_jax import blocks, cost, layers, ops, supernet
from unrealnas_jax.network import ImageNetStem
from unrealnas_jax.spaces.darts import SPACE
from unrealnas_jax.stems import STEMS

WIDTHS = (6, 12, 12)  # of the three convolutions at 4 channels


def test_stem_of_imagenet_is_that_of_the_discrete_network():
  stem, images = STEMS['imagenet'], tiny.noise(2, 24, 16, 3)
  params, stats, widths = stem.init(lambda shape: tiny.noise(*shape, seed=sum(shape)), 3, 4)
  apply = functools.partial(stem.apply, mode=layers.Mode(True, None))
  found, seen = jax.jit(apply)(images, params, stats)
  assert widths == (12, 12)
  assert [y.shape for y in found] == [(2, 6, 4, 12), (2, 3, 2, 12)]

  module = ImageNetStem(12, blocks.Mode(True, jnp.dtype('float32'), None, None))
  kernels = params['kernel'], params['second']['kernel'], params['third']['kernel']
  weights, norms = {}, {}
  for number, (kernel, width) in enumerate(zip(kernels, WIDTHS, strict=True)):
    weights[f'conv_{number}'] = {'kernel': kernel}
    weights[f'norm_{number}'] = {'scale': jnp.ones(width), 'bias': jnp.zeros(width)}
    norms[f'norm_{number}'] = layers.init_stats(width)
  variables = {'params': weights, 'batch_stats': norms}
  expected, updated = module.apply(variables, images, mutable=['batch_stats'])
  for ours, theirs in zip(found, expected, strict=True):
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
  for number, name in enumerate(('first', 'second', 'third')):
    moved = ops.running(stats[name], seen[name])
    tiny.assert_trees_close(moved, dict(updated['batch_stats'][f'norm_{number}']), 1e-4)


def test_supernet_for_imagenet_is_that_of_pc_darts():
  """Of which a user logged 0.956512 million parameters (issue 15 of the official code)."""
  net = supernet.make(supernet.Shape(SPACE, 16, 8, 1000, 3, stem='imagenet', partial=2))
  params, stats = jax.eval_shape(net.init, jax.random.key(0))
  assert cost.parameters(params) == 956_512
  assert params['stem']['kernel'].shape == (3, 3, 3, 24)  # where a checkpoint tells the channels
  images = jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.float32)
  apply = functools.partial(net.apply, train=True)
  logits, seen = jax.eval_shape(apply, params, stats, tiny.mixing(SPACE), images)
  assert logits.shape == (2, 1000)
  assert seen == stats


def test_everything_in_a_supernet_with_the_stem_of_imagenet_learns():
  net = tiny.net(stem='imagenet', channels=4)
  params, stats = tiny.variables(net)

  def loss(params):
    labels = jnp.array([0, 3])
    return net.loss(params, stats, tiny.mixing(net.space), tiny.noise(2, 40, 33, 3), labels)[0]

  for path, leaf in jax.tree.leaves_with_path(jax.jit(jax.grad(loss))(params)):
    assert jnp.isfinite(leaf).all(), path
    assert jnp.abs(leaf).max() > 0, path
