"""The discrete network: shapes, drop path, dtypes, initial values, devices."""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from unrealnas_jax import blocks, cost, genotype, network, ops
from unrealnas_jax.blocks import OPERATIONS, Mode
from unrealnas_jax.genotype import Genotype
from unrealnas_jax.network import Network

TRAIN = Mode(train=True, dtype=jnp.float32, axis_name=None)
# Two edges a cell: quick to compile, with all that drop path and batch norm have to do with.
SMALL = Genotype(
  normal=(('sep_conv_3x3', 0), ('skip_connect', 1)),
  normal_concat=(2,),
  reduce=(('max_pool_3x3', 0), ('dil_conv_3x3', 1)),
  reduce_concat=(2,),
)
# Every operation in both cells.
EDGES = tuple((name, number % 2) for number, name in enumerate(genotype.OPS))
ALL = Genotype(EDGES, (2, 3, 4, 5, 6), EDGES, (2, 3, 4, 5, 6))


def small(**settings):
  return Network(SMALL, channels=4, cells=3, classes=5, **settings)


def shapes(net, images, train=False, drop_path=0.0):
  """(shapes of the variables, of the outputs) for images of a shape, without computing anything."""
  images = jax.ShapeDtypeStruct(images, jnp.float32)
  key = jax.random.key(0)
  variables = jax.eval_shape(functools.partial(net.init, train=False), key, images)
  apply = functools.partial(net.apply, train=train, drop_path=drop_path)
  apply = functools.partial(apply, mutable=['batch_stats']) if train else apply
  return variables, jax.eval_shape(apply, variables, images)


@functools.cache
def small_variables():
  images = jnp.zeros((1, 8, 8, 3))
  return jax.jit(functools.partial(small(auxiliary=True).init, train=False))(
    jax.random.key(1), images
  )


def evaluate(net, images):
  """Logits of a variant of `small` in eval mode."""
  return jax.jit(functools.partial(net.apply, train=False))(small_variables(), images)[0]


def noise(*shape, seed=0):
  return jax.random.normal(jax.random.key(seed), shape)


def keys(batch):
  return jax.vmap(functools.partial(jax.random.fold_in, jax.random.key(7)))(jnp.arange(batch))


def test_operations_are_those_a_genotype_may_name():
  assert tuple(blocks.OPERATIONS) == genotype.OPS


@pytest.mark.parametrize('name', genotype.OPS)
@pytest.mark.parametrize('stride', [1, 2])
def test_operation_halves_any_size_upwards(name, stride):
  class Layer(nn.Module):
    @nn.compact
    def __call__(self, x):
      return blocks.OPERATIONS[name](6, stride, TRAIN, name='edge_0')(x)

  for height, width in ((8, 6), (7, 5), (1, 2)):
    x = jax.ShapeDtypeStruct((2, height, width, 6), jnp.float32)
    y, _ = jax.eval_shape(Layer().init_with_output, jax.random.key(0), x)
    assert y.shape == (2, math.ceil(height / stride), math.ceil(width / stride), 6)


@pytest.mark.parametrize('stem', network.STEMS)
def test_any_size_and_channels_same_parameters(stem):
  net = Network(ALL, channels=6, cells=3, classes=7, auxiliary=True, stem=stem, draw=jnp.zeros)
  expected = None
  for height, width, channels in ((64, 64, 3), (63, 81, 3), (224, 33, 3), (64, 64, 1)):
    variables, ((logits, aux_logits), _) = shapes(net, (2, height, width, channels), train=True)
    assert logits.shape == aux_logits.shape == (2, 7)
    if channels == 3:
      expected = expected or variables
      assert variables == expected


def test_eval_mode_has_no_auxiliary_logits_and_needs_no_head():
  variables, (_, aux_logits) = shapes(small(auxiliary=True), (2, 16, 16, 3))
  assert aux_logits is None
  assert 'auxiliary_head' in variables['params']

  images = noise(2, 8, 8, 3)
  with_head, without = (evaluate(small(auxiliary=head), images) for head in (True, False))
  np.testing.assert_array_equal(with_head, without)


@pytest.mark.parametrize(
  ('stem', 'pixels'), [('cifar', 8), ('imagenet', 7), ('cifar', 4), ('cifar', 3), ('imagenet', 2)]
)
def test_auxiliary_head_leaves_one_position_at_official_and_smaller_sizes(stem, pixels):
  head = network.AUXILIARY_HEADS[stem](10, TRAIN)
  x = jax.ShapeDtypeStruct((1, pixels, pixels, 16), jnp.float32)
  macs = cost.multiply_adds(head.init_with_output, jax.random.key(0), x)
  assert macs == 4 * 16 * 128 + 4 * 128 * 768 + 768 * 10


def test_auxiliary_head_refuses_features_of_one_pixel():
  with pytest.raises(ValueError, match=r'retrain.auxiliary: .* at least 2x2 .* are 1x1; allowed:'):
    shapes(small(auxiliary=True), (2, 4, 4, 3), train=True)
  shapes(small(), (2, 4, 4, 3), train=True)


def test_unknown_stem_is_refused():
  with pytest.raises(ValueError, match=r"retrain.stem='mnist'; allowed: cifar, imagenet"):
    shapes(small(stem='mnist'), (2, 16, 16, 3))


def test_imagenet_head_lacks_its_second_norm():
  for stem, norms in (('cifar', {'norm_0', 'norm_1'}), ('imagenet', {'norm_0'})):
    variables, _ = shapes(small(auxiliary=True, stem=stem), (2, 64, 64, 3))
    assert set(variables['batch_stats']['auxiliary_head']) == norms


def test_factorized_reduce_by_hand():
  """Features 0 sees the pixels of even, feature 1 those of odd rows and columns."""
  x = jnp.array([[1.0, -1, 2], [3, 4, 5], [6, 7, 8]]).reshape(1, 3, 3, 1)
  layer = blocks.FactorizedReduce(2, Mode(train=False, dtype=jnp.float32, axis_name=None))
  variables = layer.init(jax.random.key(0), x)
  kernel = jnp.ones((1, 1, 1, 1))
  params = variables['params'] | {'conv_0': {'kernel': kernel}, 'conv_1': {'kernel': kernel}}
  y = layer.apply(variables | {'params': params}, x) * jnp.sqrt(1 + ops.EPSILON)
  np.testing.assert_allclose(y[0, :, :, 0], [[1, 2], [6, 8]], rtol=1e-6)
  np.testing.assert_allclose(y[0, :, :, 1], [[4, 0], [0, 0]], rtol=1e-6)


def test_drop_path_spares_identity_and_scales_the_others_an_example():
  """Normal cell: max pool of input 0 plus input 1; paths 0, 1 and 2 for three examples."""
  cell_genotype = SMALL._replace(normal=(('max_pool_3x3', 0), ('skip_connect', 1)))
  cell = network.Cell(cell_genotype, 4, reduce=False, shrunk=False, mode=TRAIN)
  older, newer = noise(3, 5, 5, 4), noise(3, 5, 5, 4, seed=1)
  variables = cell.init(jax.random.key(0), older, newer, None)
  paths = jnp.array([[0.0, 0], [1, 1], [2, 2]])
  apply = functools.partial(cell.apply, variables, older, newer, mutable=['batch_stats'])
  full, _ = apply(None)
  dropped, _ = apply(paths)
  skip, _ = network.ReluConvNorm(4, TRAIN).apply(
    {name: tree['preprocess_1'] for name, tree in variables.items()},
    newer,
    mutable=['batch_stats'],
  )
  pooled = full - skip
  assert jnp.abs(pooled).max() > 0.1
  np.testing.assert_allclose(dropped, skip + paths[:, 0, None, None, None] * pooled, atol=1e-5)


def test_drop_path_scales():
  scales = network.drop_path_scales(keys(500), 0.2, cells=4, edges=8)
  assert scales.shape == (4, 500, 8)
  assert set(np.unique(scales)) == {np.float32(0), np.float32(1.25)}
  # 16,000 draws: 0.02 is 6 standard deviations
  assert abs(float((scales == 0).mean()) - 0.2) < 0.02
  # cells and edges differ, and an example's draw depends on its own key only
  assert len(np.unique(scales[:, :50].swapaxes(1, 2).reshape(32, 50), axis=0)) == 32
  np.testing.assert_array_equal(
    network.drop_path_scales(keys(500)[::-3], 0.2, cells=4, edges=8), scales[:, ::-3]
  )


def test_drop_path_needs_keys_in_training_only():
  with pytest.raises(AssertionError, match='drop_path needs example_keys'):
    shapes(small(), (2, 8, 8, 3), train=True, drop_path=0.1)
  shapes(small(), (2, 8, 8, 3), train=False, drop_path=0.1)


def test_bfloat16_keeps_parameters_statistics_and_logits_in_float32():
  net = small(auxiliary=True, dtype='bfloat16')
  variables, (logits, updated) = shapes(net, (2, 8, 8, 3), train=True)
  for leaf in jax.tree.leaves((variables, logits, updated)):
    assert leaf.dtype == jnp.float32

  images = noise(2, 8, 8, 3)
  exact, rough = (evaluate(small(dtype=dtype), images) for dtype in ('float32', 'bfloat16'))
  difference = jnp.abs(exact - rough).max()
  assert 0 < difference < 0.05 * jnp.abs(exact).max()


def test_initial_values_are_those_of_pytorch():
  params = small_variables()['params']
  head = params['auxiliary_head']
  for values, fan_in in (
    (params['stem']['conv']['kernel'], 3 * 3 * 3),
    (head['conv_1']['kernel'], 2 * 2 * 128),
    (head['classifier']['kernel'], 768),
    (params['cell_0']['edge_0']['block_0']['depthwise'], 3 * 3),
  ):
    bound = 1 / math.sqrt(fan_in)
    assert 0.8 * bound < jnp.abs(values).max() <= bound
    assert abs(float(values.std()) * math.sqrt(3) / bound - 1) < 0.2
  bias = params['classifier']['bias']
  assert 0 < jnp.abs(bias).max() <= 1 / math.sqrt(params['classifier']['kernel'].shape[0])


def test_batch_norm_keeps_its_digits_where_the_mean_is_large():
  """Against NumPy in float64; values of mean 1000 and deviation 1."""
  x = 1000 + np.random.default_rng(0).normal(size=(4, 5, 5, 3)).astype(np.float32)
  stats = {'mean': jnp.zeros(3), 'var': jnp.ones(3)}
  y, seen = ops.batch_norm(jnp.asarray(x), stats, True)
  stats = ops.running(stats, seen)
  exact = x.astype(np.float64)
  mean, var = exact.mean((0, 1, 2)), exact.var((0, 1, 2))
  np.testing.assert_allclose(y, (exact - mean) / np.sqrt(var + 1e-5), atol=1e-3)
  np.testing.assert_allclose(stats['mean'], 0.1 * mean, rtol=1e-5)
  np.testing.assert_allclose(stats['var'], 0.9 + 0.1 * var * 100 / 99, rtol=1e-5)


def test_four_devices_equal_one():
  """Same logits and running statistics, although each device sees two of the eight examples."""
  images, batch_keys = noise(8, 8, 8, 3), keys(8)

  def step(axis_name, variables, images, example_keys, drop_path):
    net = small(auxiliary=True, axis_name=axis_name)
    return net.apply(
      variables,
      images,
      train=True,
      drop_path=drop_path,
      example_keys=example_keys,
      mutable=['batch_stats'],
    )

  rate = jnp.float32(0.4)
  one = jax.jit(functools.partial(step, None))(small_variables(), images, batch_keys, rate)
  devices = jax.local_devices()
  assert len(devices) == 4
  variables = jax.device_put(
    small_variables(), NamedSharding(Mesh(np.array(devices), ('devices',)), P())
  )
  split = jax.pmap(
    functools.partial(step, 'devices'),
    axis_name='devices',
    in_axes=(None, 0, 0, None),
    out_axes=(0, None),
  )
  shards = (images.reshape(4, 2, 8, 8, 3), batch_keys.reshape(4, 2))
  outputs, updated = split(variables, *shards, rate)
  four = jax.tree.map(lambda x: x.reshape(8, 5), outputs), updated
  jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), four, one)
  # the test sees drop path at all: other keys give other logits
  other = jax.jit(functools.partial(step, None))(small_variables(), images, batch_keys[::-1], rate)
  assert jnp.abs(other[0][0] - one[0][0]).max() > 0.01


def test_finite_gradient_reaches_every_parameter_of_every_kind_of_operation():
  names = ('sep_conv_3x3', 'dil_conv_3x3', 'conv_7x1_1x7', 'skip_connect', 'avg_pool_3x3', 'none')
  edges = tuple((name, number % 2) for number, name in enumerate(names))
  net = Network(Genotype(edges, (2, 3, 4), edges, (2, 3, 4)), 2, 1, 3, auxiliary=True)
  images = noise(2, 8, 8, 3)
  variables = jax.jit(functools.partial(net.init, train=False))(jax.random.key(0), images)

  @jax.jit
  @jax.grad
  def gradient(params):
    inputs = variables | {'params': params}
    (logits, aux_logits), _ = net.apply(inputs, images, train=True, mutable=['batch_stats'])
    return jnp.square(logits).sum() + jnp.square(aux_logits).sum()

  for path, leaf in jax.tree.leaves_with_path(gradient(variables['params'])):
    assert jnp.isfinite(leaf).all(), path
    assert jnp.abs(leaf).max() > 0, path


@pytest.mark.parametrize('paths', [None, jnp.array([[0.0, 2, 1], [2, 1, 0]])])
def test_edges_that_pool_one_node_share_its_gradient(paths):
  """Of three edges two pool the first node: as if each pooled it, but two pools have a gradient."""
  edges = (('max_pool_3x3', 0), ('max_pool_3x3', 1), ('max_pool_3x3', 0))
  nodes, pool = [noise(2, 5, 4, 3, seed=n) for n in (0, 1)], OPERATIONS['max_pool_3x3']
  cell = network.Cell(Genotype(edges, (2,), edges, (2,)), 3, False, False, TRAIN)

  def together(nodes):
    pools = {}
    return sum(cell._edge(n, *edges[n], nodes, paths, pools) for n in range(3))

  def each(nodes):
    factors = jnp.ones((2, 3)) if paths is None else paths
    pooled = [pool(3, 1, TRAIN, 'pool')(nodes[source]) for _, source in edges]
    return sum(y * factors[:, n, None, None, None] for n, y in enumerate(pooled))

  gradients, counts = [], []
  for function in (together, each):
    gradient = jax.grad(lambda nodes: jnp.square(function(nodes)).sum())  # noqa: B023
    gradients.append(gradient(nodes))
    counts.append(str(jax.make_jaxpr(gradient)(nodes)).count('name=_share'))
  jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), *gradients)
  assert counts == [4, 6]  # rows and columns
