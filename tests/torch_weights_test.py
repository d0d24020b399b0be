"""Weights of PyTorch networks that are not those of the network; golden_test has those that are."""

import json
import pathlib

import jax
import numpy as np
import pytest

from unrealnas_jax import genotype as genotypes
from unrealnas_jax import network as networks
from unrealnas_jax import torch_weights

GOLDEN = pathlib.Path(__file__).with_name('golden') / 'darts_eval_v2_c4_l6.npz'

IMAGES = np.zeros((1, 32, 32, 3), np.float32)


@pytest.fixture(scope='module')
def golden():
  """(weights, settings of their network)"""
  with np.load(GOLDEN) as archive:
    weights = {k.removeprefix('w/'): archive[k] for k in archive if k.startswith('w/')}
    meta, genotype = json.loads(str(archive['meta'])), str(archive['genotype'])
  settings = {
    'genotype': genotypes.from_json(genotype),
    'channels': meta['C'],
    'cells': meta['layers'],
    'classes': meta['classes'],
    'auxiliary': meta['auxiliary'],
  }
  return weights, settings


def test_prefix_counters_and_type_do_not_matter(golden):
  weights, settings = golden
  network = networks.make(**settings)
  expected = torch_weights.variables(weights, network)
  other = {f'module.{name}': np.float64(value) for name, value in weights.items()}
  other['module.stem.1.num_batches_tracked'] = np.int64(7)
  found = torch_weights.variables(other, network, image_shape=(20, 24, 3))
  jax.tree.map(np.testing.assert_array_equal, found, expected)
  assert {x.dtype for x in jax.tree.leaves(found)} == {np.dtype('float32')}


def test_a_head_is_left_out_where_the_network_has_none(golden):
  weights, settings = golden
  network = networks.make(**settings | {'auxiliary': False})
  found = torch_weights.variables(weights, network)
  like = jax.eval_shape(lambda: network.init(jax.random.key(0), IMAGES, train=False))
  assert 'auxiliary_head' not in found['params']
  assert jax.tree.map(np.shape, found) == jax.tree.map(np.shape, like)


@pytest.mark.parametrize(
  ('changes', 'message'),
  [
    ({'classes': 7}, r'params/classifier/kernel is \[64, 10\], needed is \[64, 7\]'),
    ({'channels': 6}, 'params/stem/conv/kernel is .* and [0-9]+ more'),
    ({'cells': 5}, r'cells\.1\.\S+ has no place in the network'),
    ({'cells': 7}, 'cell_6/.* is missing'),
    ({'genotype': genotypes.PUBLISHED['PDARTS']}, 'has no place in the network'),
    ({'stem': 'imagenet'}, r'stem\.\S+ has no place in the network'),
  ],
)
def test_weights_of_another_network_are_refused(golden, changes, message):
  weights, settings = golden
  with pytest.raises(ValueError, match=f'weights of another network: .*{message}'):
    torch_weights.variables(weights, networks.make(**settings | changes), (64, 64, 3))


def test_names_of_something_else_have_no_path(golden):
  network = networks.make(**golden[1])
  cell = genotypes.load('|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|none~2|')
  other = networks.make(cell, channels=4, cells=1, classes=10)
  for name in ('', 'weight', 'conv1.weight', 'cells.0._ops.99.op.1.weight', 'stem.0.weights'):
    assert torch_weights.path(name, network) is None
    assert torch_weights.path(name, other) is None
