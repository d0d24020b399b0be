"""The network of a NAS-Bench-201 cell: sizes, cells and blocks by hand, dtypes, devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from unrealnas_jax import network, network201, retrain
from unrealnas_jax.blocks import Mode
from unrealnas_jax.genotype import PUBLISHED
from unrealnas_jax.nasbench201 import Architecture, from_text

EVAL = Mode(train=False, dtype=jnp.float32, axis_name=None)
# Every operation, and no convolution whose output goes nowhere.
ALL = from_text(
  '|nor_conv_3x3~0|+|avg_pool_3x3~0|nor_conv_1x1~1|+|skip_connect~0|none~1|nor_conv_3x3~2|'
)


def small(**settings):
  return network.make(ALL, channels=2, cells=1, classes=5, **settings)


@functools.cache
def small_variables():
  init = functools.partial(small().init, train=False)
  return jax.jit(init)(jax.random.key(1), jnp.zeros((1, 8, 8, 3)))


def evaluate(net, images):
  """Logits of a variant of `small` in eval mode."""
  return jax.jit(functools.partial(net.apply, train=False))(small_variables(), images)[0]


@pytest.mark.parametrize(
  ('cell', 'parameters'),
  [
    (
      '|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|skip_connect~0|nor_conv_3x3~1|'
      'nor_conv_3x3~2|',
      1_288_506,
    ),
    ('|skip_connect~0|+|skip_connect~0|skip_connect~1|+|none~0|none~1|none~2|', 73_306),
    (
      '|nor_conv_3x3~0|+|nor_conv_3x3~0|nor_conv_3x3~1|+|nor_conv_3x3~0|nor_conv_3x3~1|'
      'nor_conv_3x3~2|',
      1_531_546,
    ),
  ],
)
def test_parameters_are_the_published_ones(cell, parameters):
  net = network.make(from_text(cell), channels=16, cells=5, classes=10)
  assert retrain.measure(net, (32, 32, 3))['parameters'] == parameters


@pytest.mark.parametrize(
  ('op', 'flops'), [('skip_connect', 7_783_050), ('nor_conv_3x3', 220_119_690)]
)
def test_multiply_adds_are_the_published_ones(op, flops):
  """The least and the most of the benchmark, in which adding the classifier's bias counts."""
  net = network.make(Architecture((op,) * 6), channels=16, cells=5, classes=10)
  assert retrain.measure(net, (32, 32, 3))['multiply_adds'] + 10 == flops


def test_make_gives_the_network_of_the_kind():
  assert small() == network201.Network201(ALL, 2, 1, 5)
  settings = {'channels': 4, 'cells': 3, 'classes': 5, 'auxiliary': True, 'stem': 'imagenet'}
  darts = network.make(PUBLISHED['DARTS_V2'], **settings)
  assert darts == network.Network(PUBLISHED['DARTS_V2'], **settings)
  for change in ({'auxiliary': True}, {'stem': 'imagenet'}):
    with pytest.raises(AssertionError, match='one kind of network'):
      small(**change)


@pytest.mark.parametrize(
  ('ops', 'factors'),
  [
    # node 1 = x, node 2 = x + x, node 3 = x + x + 2 x
    (('skip_connect',) * 6, (4, 0)),
    # node 1 = x, node 2 = mean of node 1, node 3 = x + node 2
    (('skip_connect', 'none', 'avg_pool_3x3', 'skip_connect', 'none', 'skip_connect'), (1, 1)),
    # node 1 = mean of x, node 2 = x + node 1, node 3 = node 1 + node 2
    (('avg_pool_3x3', *('skip_connect',) * 2, 'none', *('skip_connect',) * 2), (1, 2)),
    (('none',) * 6, (0, 0)),
  ],
  ids=['skips', 'pool of node 1', 'pool of node 0', 'nones'],
)
def test_cell_by_hand(ops, factors):
  """The output is so many times the input plus so many times its mean over 3x3 pixels."""
  x = tiny.noise(2, 3, 4, 2)
  y = network201.Cell(Architecture(ops), EVAL).apply({}, x)
  np.testing.assert_allclose(y, factors[0] * x + factors[1] * mean_of_nine(x), atol=1e-6)


def mean_of_nine(x):
  """Mean over the pixel and its neighbours within the image."""
  height, width = x.shape[1:3]
  around = [
    [x[:, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].mean((1, 2)) for j in range(width)]
    for i in range(height)
  ]
  return jnp.stack([jnp.stack(row, 1) for row in around], 1)


def test_convolution_is_relu_first_and_norm_last():
  cell = network201.Cell(Architecture((*('none',) * 3, 'nor_conv_1x1', 'none', 'none')), EVAL)
  x = jnp.array([-1.0, 2, 3, -4]).reshape(1, 2, 2, 1)
  variables = cell.init(jax.random.key(0), x)
  edge = {'conv': {'kernel': jnp.full((1, 1, 1, 1), -2.0)}}
  edge['norm'] = {'scale': jnp.full(1, 3.0), 'bias': jnp.full(1, 10.0)}
  y = cell.apply({**variables, 'params': {'edge_3': edge}}, x)
  np.testing.assert_allclose(y.ravel(), [10, -2, -8, 10], rtol=1e-4)


def test_reduction_by_hand():
  """The convolutions come to nothing; the shortcut is a mean, of what there is at an odd edge."""
  block = network201.Reduction(1, EVAL)
  x = jnp.arange(9.0).reshape(1, 3, 3, 1)
  variables = block.init(jax.random.key(0), x)
  params = dict(variables['params'])
  params['conv_b'] = {**params['conv_b'], 'norm': {'scale': jnp.zeros(1), 'bias': jnp.ones(1)}}
  params['downsample'] = {'kernel': jnp.full((1, 1, 1, 1), 10.0)}
  y = block.apply({**variables, 'params': params}, x)
  np.testing.assert_allclose(y[0, :, :, 0], [[21, 36], [66, 81]], rtol=1e-6)


def test_any_size_and_channels_same_parameters():
  shapes = set()
  for height, width, channels in ((32, 32, 3), (33, 7, 3), (1, 2, 3), (8, 8, 1)):
    images = jax.ShapeDtypeStruct((2, height, width, channels), jnp.float32)
    init = functools.partial(small().init, train=False)
    variables = jax.eval_shape(init, jax.random.key(0), images)
    logits, auxiliary = jax.eval_shape(
      functools.partial(small().apply, train=False), variables, images
    )
    assert logits.shape == (2, 5)
    assert auxiliary is None
    if channels == 3:
      shapes.add(str(variables))
  assert len(shapes) == 1


def test_bfloat16_keeps_parameters_statistics_and_logits_in_float32():
  images = tiny.noise(2, 8, 8, 3)
  exact, rough = (evaluate(small(dtype=dtype), images) for dtype in ('float32', 'bfloat16'))
  assert rough.dtype == jnp.float32
  difference = jnp.abs(exact - rough).max()
  assert 0 < difference < 0.05 * jnp.abs(exact).max()
  apply = functools.partial(small(dtype='bfloat16').apply, train=True, mutable=['batch_stats'])
  for leaf in jax.tree.leaves(jax.eval_shape(apply, small_variables(), images)):
    assert leaf.dtype == jnp.float32


def test_drop_path_is_refused():
  apply = functools.partial(small().apply, small_variables(), jnp.zeros((1, 8, 8, 3)), train=True)
  for drop_path in (0.1, jnp.float32(0)):
    with pytest.raises(AssertionError):
      apply(drop_path=drop_path)


def forward(params, images, axis_name=None):
  """Logits in training and what it makes of the running statistics."""
  variables = small_variables() | {'params': params}
  (logits, _), updated = small(axis_name=axis_name).apply(
    variables, images, train=True, mutable=['batch_stats']
  )
  return logits, updated['batch_stats']


def test_four_devices_equal_one():
  """Same logits and running statistics, although each device sees two of the eight examples."""
  params, images = small_variables()['params'], tiny.noise(8, 8, 8, 3)
  one = jax.jit(forward)(params, images)
  split = jax.vmap(lambda shard: forward(params, shard, 'devices'), axis_name='devices')
  logits, stats = jax.jit(split)(images.reshape(4, 2, 8, 8, 3))
  four = logits.reshape(8, 5), jax.tree.map(lambda x: x[3], stats)
  jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), four, one)


def test_finite_gradient_reaches_every_parameter():
  @jax.jit
  @jax.grad
  def gradient(params):
    return jnp.square(forward(params, tiny.noise(2, 8, 8, 3))[0]).sum()

  for path, leaf in jax.tree.leaves_with_path(gradient(small_variables()['params'])):
    assert jnp.isfinite(leaf).all(), path
    # What shifts the output of the last cell makes no difference: the norm after it takes it out.
    shift = jax.tree_util.keystr(path, simple=True, separator='/')
    if shift != 'stage_2_cell_0/edge_5/norm/bias':
      assert jnp.abs(leaf).max() > 1e-6, path
