"""The supernet: its size, its plan, any image, one-hot weights, statistics and dtypes."""

import functools
import json
import pathlib

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
import torch_names

from unrealnas_jax import cost, objective, supernet, torch_weights
from unrealnas_jax.genotype import Genotype
from unrealnas_jax.network import Network
from unrealnas_jax.spaces.darts import SPACE

# Weights of the supernet under their official names; any others would do.
OFFICIAL = pathlib.Path(__file__).with_name('golden') / 'darts_search_c4_l3.npz'


@pytest.mark.parametrize(
  ('changes', 'parameters'),
  [
    ({}, 1_930_618),
    ({'classes': 100}, 1_953_748),
    ({'partial': 4}, 299_578),  # PC-DARTS
    ({'partial': 4, 'classes': 100}, 322_708),
    ({'partial': 2, 'classes': 1000, 'stem': 'imagenet'}, 956_512),
    ({'cells': 5, 'skip_dropout': True}, 1_275_834),  # P-DARTS, stage 1
  ],
  ids=str,
)
def test_official_number_of_parameters(changes, parameters):
  sizes = {'space': SPACE, 'channels': 16, 'cells': 8, 'classes': 10, 'image_channels': 3}
  net = supernet.make(supernet.Shape(**(sizes | changes)))
  params, _ = jax.eval_shape(net.init, jax.random.key(0))
  assert cost.parameters(params) == parameters


@pytest.mark.parametrize(('cells', 'reductions'), [(3, {1, 2}), (5, {1, 3}), (8, {2, 5})])
def test_cells_at_a_third_and_two_thirds_reduce_and_double_the_channels(cells, reductions):
  params, _ = jax.eval_shape(tiny.net(space=SPACE, cells=cells).init, jax.random.key(0))
  channels = 2
  for number, cell in enumerate(params['cells']):
    channels *= 2 if number in reductions else 1
    assert ('inputs' in cell) == (number in reductions)
    assert ('even' in cell['older']) == (number - 1 in reductions)
    assert cell['newer']['kernel'].shape[-1] == channels
  assert params['classifier']['kernel'].shape == (4 * channels, 4)


def test_initial_values_are_those_of_pytorch():
  params, stats = tiny.net(channels=8, classes=50).init(jax.random.key(0))
  layer = params['cells'][1]['walk']['dil_conv_3x3'][0]
  classifier = params['classifier']
  for values, fan_in in (
    (params['stem']['kernel'], 3 * 3 * 3),
    (layer['depthwise'], 3 * 3),
    (layer['pointwise'], 16),
    (classifier['kernel'], classifier['kernel'].shape[0]),
    (classifier['bias'], classifier['kernel'].shape[0]),
  ):
    bound = fan_in**-0.5
    assert 0.8 * bound < jnp.abs(values).max() <= bound
    assert abs(float(values.std()) * 3**0.5 / bound - 1) < 0.2
  assert len(np.unique(layer['pointwise'])) == 5 * 16 * 16  # edges do not begin alike
  assert (params['stem']['scale'] == 1).all()
  assert (params['stem']['bias'] == 0).all()
  for path, values in jax.tree.leaves_with_path(stats):
    assert (values == (path[-1].key == 'var')).all()


def gradients(net, images, labels):
  """(loss, (gradients of params and mixing weights))"""
  params, stats = tiny.variables(net)

  def loss(params, weights):
    return net.loss(params, stats, weights, images, labels)[0]

  compiled = jax.jit(jax.value_and_grad(loss, (0, 1)))
  return compiled(params, tiny.mixing(net.space))


def test_odd_sizes_have_finite_gradients_everywhere():
  net = tiny.net(image_channels=1)
  loss, (params, weights) = gradients(net, tiny.noise(2, 9, 7, 1), jnp.array([0, 3]))
  assert jnp.isfinite(loss)
  for path, leaf in jax.tree.leaves_with_path(params):
    assert jnp.isfinite(leaf).all(), path
    assert jnp.abs(leaf).max() > 0, path
  none = net.space.ops.index('none')
  for gradient in weights.values():
    assert jnp.isfinite(gradient).all()
    assert ((gradient == 0) == (jnp.arange(4)[None] == none)).all()


def test_train_loss_smooths_labels_and_loss_does_not():
  net, images, labels = tiny.net(), tiny.noise(2, 8, 8, 3), jnp.array([0, 3])
  arguments = *tiny.variables(net), tiny.mixing(net.space), images, labels

  @jax.jit
  def losses():
    smooth = net._replace(smoothing=0.1)
    return [f(*arguments) for f in (net.loss, net.train_loss, smooth.loss, smooth.train_loss)]

  (plain, (_, logits)), reduced, measured, (smoothed, _) = losses()
  assert plain == reduced[0] == measured[0]
  np.testing.assert_allclose(plain, objective.loss(logits, labels), rtol=1e-5)
  np.testing.assert_allclose(smoothed, objective.loss(logits, labels, 0.1), rtol=1e-5)
  assert smoothed != plain


@pytest.mark.parametrize('image', [(9, 7, 1), (8, 8, 5), (1, 1, 1), (2, 33, 3)])
def test_any_image_gives_logits(image):
  net = supernet.make(supernet.Shape(SPACE, 3, 5, 7, image[-1], dtype='bfloat16'))
  params, stats = jax.eval_shape(net.init, jax.random.key(0))
  images = jax.ShapeDtypeStruct((2, *image), jnp.float32)
  for train in (True, False):
    apply = functools.partial(net.apply, train=train)
    logits, seen = jax.eval_shape(apply, params, stats, tiny.mixing(SPACE), images)
    assert logits == jax.ShapeDtypeStruct((2, 7), jnp.float32)
    assert seen == stats


@functools.cache
def outputs(train, dtype='float32'):
  """(logits, new stats) of four images, and of the first two of them alone."""
  net = tiny.net(dtype=dtype)
  run = jax.jit(functools.partial(net.apply, train=train))
  args, images = (*tiny.variables(net), tiny.mixing(net.space)), tiny.noise(4, 8, 8, 3)
  return run(*args, images), run(*args, images.at[2:].multiply(3))


def test_eval_mode_takes_the_running_statistics():
  """So an image's logits depend on no other's, and the statistics stay."""
  (logits, seen), (others, _) = outputs(train=False)
  np.testing.assert_allclose(logits[:2], others[:2], rtol=1e-5)
  assert jnp.abs(logits[2:] - others[2:]).max() > 1e-3
  jax.tree.map(np.testing.assert_array_equal, seen, tiny.variables(tiny.net())[1])


def test_training_mode_takes_the_statistics_of_the_batch_and_moves_the_running_ones():
  (logits, seen), (others, _) = outputs(train=True)
  assert jnp.abs(logits[:2] - others[:2]).max() > 1e-3
  _, stats = tiny.variables(tiny.net())
  for (path, old), new in zip(jax.tree.leaves_with_path(stats), jax.tree.leaves(seen), strict=True):
    assert (new != old).all(), path


def test_bfloat16_is_close_to_float32():
  (exact, stats), (rough, rough_stats) = outputs(True)[0], outputs(True, 'bfloat16')[0]
  difference = jnp.abs(exact - rough).max()
  assert 0 < difference < 0.05 * jnp.abs(exact).max()
  tiny.assert_trees_close(rough_stats, stats, 0.05)


def one_hot(genotype):
  """Mixing weights that choose a genotype's operation on each of its edges, none elsewhere."""
  weights = {}
  for kind in SPACE.kinds:
    names = ['none'] * len(SPACE.edges)
    for number, (op, source) in enumerate(getattr(genotype, kind)):
      names[SPACE.edges.index((source, 2 + number // 2))] = op
    columns = jnp.array([SPACE.ops.index(name) for name in names])
    weights[kind] = jax.nn.one_hot(columns, len(SPACE.ops))
  return weights


def chosen(official, genotype, cells):
  """Weights of the operations of a genotype, by the names that the discrete network has."""
  found = {name: w for name, w in official.items() if '._ops.' not in name}
  for cell in range(cells):
    gene = getattr(genotype, SPACE.kind_of(cell, cells))
    for number, (op, source) in enumerate(gene):
      row = SPACE.edges.index((source, 2 + number // 2))
      prefix = f'cells.{cell}._ops.{row}._ops.{SPACE.ops.index(op)}.'
      for name, weight in official.items():
        if name.startswith(prefix):
          found[f'cells.{cell}._ops.{number}.{name.removeprefix(prefix)}'] = weight
  return {name: w for name, w in found.items() if not name.split('.')[-1].startswith('running')}


def test_one_hot_weights_make_the_discrete_network():
  """Without pools, which only the supernet norms, and with all scales of norms being 1."""
  genotype = Genotype(
    normal=(
      *(('sep_conv_3x3', 0), ('skip_connect', 1), ('sep_conv_5x5', 2), ('skip_connect', 0)),
      *(('dil_conv_3x3', 3), ('dil_conv_5x5', 1), ('sep_conv_3x3', 4), ('skip_connect', 3)),
    ),
    normal_concat=(2, 3, 4, 5),
    reduce=(
      *(('skip_connect', 0), ('sep_conv_5x5', 1), ('dil_conv_3x3', 1), ('skip_connect', 2)),
      *(('dil_conv_5x5', 0), ('skip_connect', 3), ('sep_conv_3x3', 2), ('skip_connect', 1)),
    ),
    reduce_concat=(2, 3, 4, 5),
  )
  with np.load(OFFICIAL) as archive:
    meta = json.loads(str(archive['meta']))
    official = {n.removeprefix('w/'): archive[n] for n in archive.files if n.startswith('w/')}
  sizes = meta['C'], meta['layers'], meta['classes']
  images = tiny.noise(2, 8, 8, 3)

  net = supernet.make(supernet.Shape(SPACE, *sizes, 3))
  like, stats = jax.eval_shape(net.init, jax.random.key(0))
  params = torch_names.supernet_params(official, like, SPACE, meta['layers'])
  stats = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape), stats)
  apply = jax.jit(functools.partial(net.apply, train=True))
  found, _ = apply(params, stats, one_hot(genotype), images)

  network = Network(genotype, *sizes)
  apply = functools.partial(network.apply, train=True, mutable=['batch_stats'])
  weights = chosen(official, genotype, meta['layers'])
  discrete = flax.traverse_util.unflatten_dict(
    {
      (where := torch_weights.path(name, network)): torch_weights.array(
        value, depthwise=where[-1] == 'depthwise'
      )
      for name, value in weights.items()
      if not name.endswith('num_batches_tracked')
    }
  )
  (expected, _), _ = jax.jit(apply)(with_norms(network, discrete, images), images)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def with_norms(network, variables, images):
  """Variables of a network, its norms not named there scaling by 1."""
  shapes = jax.eval_shape(functools.partial(network.init, train=False), jax.random.key(0), images)

  def value(path, leaf):
    node = variables
    for part in path:
      node = node.get(part.key) if node is not None else None
    one = path[-1].key in ('scale', 'var')
    return jnp.full(leaf.shape, one, jnp.float32) if node is None else node

  return jax.tree.map_with_path(value, shapes)
