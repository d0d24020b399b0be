"""Mixed operations of a cell against plain loops over edges and operations, left to autodiff."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from jax import lax

from unrealnas_jax import layers, mixed, ops, walks
from unrealnas_jax.depthwise import grouped_conv

# In another order than the space has them: columns of weights are found by name.
CANDIDATES = (
  *('sep_conv_3x3', 'skip_connect', 'none'),
  *('max_pool_3x3', 'dil_conv_3x3', 'avg_pool_3x3'),
)
FORM = mixed.Form(CANDIDATES)
CHANNELS, SIZE = 3, (4, 6)
# State 1 does not flow into state 3: edges need not be all there are.
EDGES = ((0, 2), (1, 2), (0, 3), (2, 3))
SOURCES = (0, 1, 2)
ONE = 1 - ops.EPSILON  # a variance that norms divide by exactly 1 for


def plain_norm(x, stats):
  mean, var, count = x.mean((0, 1, 2)), x.var((0, 1, 2)), x.size // x.shape[-1]
  seen = {'mean': mean, 'var': var * count / (count - 1)}
  return (x - mean) / jnp.sqrt(var + 1e-5), seen


def plain_pool(op, x, stride):
  def window(x, start, combine):
    padding = ((0, 0), (1, 1), (1, 1), (0, 0))
    return lax.reduce_window(x, start, combine, (1, 3, 3, 1), (1, stride, stride, 1), padding)

  if op == 'max_pool_3x3':
    return window(x, -jnp.inf, lax.max)
  return window(x, 0.0, lax.add) / window(jnp.ones_like(x), 0.0, lax.add)


def plain_operation(op, x, params, stats, stride):
  """(output, new stats of the layers) of one operation on one edge."""
  if op == 'none':
    return 0 * x[:, ::stride, ::stride], None
  if op in mixed.POOLS:
    return plain_norm(plain_pool(op, x, stride), stats)
  if op == 'skip_connect' and stride == 1:
    return x, None
  if op == 'skip_connect':
    x = jnp.maximum(x, 0)
    even = x[:, ::2, ::2] @ params[0]['even']
    odd = x[:, 1::2, 1::2] @ params[0]['odd']
    y, seen = plain_norm(jnp.concatenate([even, odd], axis=-1), stats[0])
    return y, [seen]
  new_stats = []
  for n, (layer, (_, dilation)) in enumerate(zip(params, mixed.SEPARABLE[op], strict=True)):
    y = grouped_conv(jnp.maximum(x, 0), layer['depthwise'], stride if n == 0 else 1, dilation)
    x, seen = plain_norm(y @ layer['pointwise'], stats[n])
    new_stats.append(seen)
  return x, new_stats


def plain_edge(x, params, stats, pool_stats, weights, stride):
  """The mix of all operations on one edge: (output, new stats, new stats of the pools)."""
  total, seen, pools = 0, {}, {}
  for column, op in enumerate(CANDIDATES):
    found = pool_stats[op] if op in mixed.POOLS else stats.get(op)
    y, new = plain_operation(op, x, params.get(op), found, stride)
    total = total + weights[column] * y
    if op in mixed.POOLS:
      pools[op] = new
    elif new is not None:
      seen[op] = new
  return total, seen, pools


def at(tree, *index):
  return jax.tree.map(lambda leaf: leaf[index], tree)


def stack(trees):
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def plain_walk(bank, params, stats, weights):
  states, edges, pools = list(bank), [], {}
  for e, (source, destination) in enumerate(EDGES):
    y, seen, pools[source] = plain_edge(
      states[source],
      at(params, e),
      at(stats['edges'], e),
      at(stats['pools'], source),
      weights[e],
      1,
    )
    states[destination] = states[destination] + y
    edges.append(seen)
  return jnp.stack(states), {'edges': stack(edges), 'pools': stack([pools[n] for n in SOURCES])}


def plain_reduce(inputs, params, stats, weights):
  nodes, edges, pools = [0, 0], [], []
  for i, x in enumerate(inputs):
    row = []
    for n in range(2):
      y, seen, pool = plain_edge(
        x, at(params, i, n), at(stats['edges'], i, n), at(stats['pools'], i), weights[i, n], 2
      )
      nodes[n] = nodes[n] + y
      row.append(seen)
    edges.append(stack(row))
    pools.append(pool)
  return jnp.stack(nodes), {'edges': stack(edges), 'pools': stack(pools)}


def run(kind, plain, images, params, stats, weights):
  """Ours in either mode: plain, or the quick one."""
  mode = layers.Mode(train=True, axis_name=None, plain=plain)
  if kind == 'reduce':
    (nodes,), seen = walks.reduce_inputs(FORM, mode, images, params, stats, weights)
    return nodes, seen
  (images,), stats = walks.walk(FORM, mode, EDGES, (images,), params, stats, weights)
  # The last state flows nowhere: what its pools would be is of no interest.
  return images, {**stats, 'pools': at(stats['pools'], slice(len(SOURCES)))}


def arguments(kind):
  """(images, params, stats, weights) for the four edges of one kind."""
  stride, images, leading = {'walk': (1, 4, (4,)), 'reduce': (2, 2, (2, 2))}[kind]
  shapes = jax.eval_shape(lambda: mixed.init(jnp.ones, FORM, CHANNELS, stride, images, *leading))
  rng = np.random.default_rng(1)
  params, stats = (
    jax.tree.map(lambda s: jnp.float32(rng.uniform(-1, 1, s.shape)), t) for t in shapes
  )
  weights = jnp.float32(rng.uniform(0.1, 1, (*leading, len(CANDIDATES))))
  return tiny.noise(images, 2, *SIZE, CHANNELS), params, stats, weights


def differentiated(function, argnums):
  """args -> (gradients of the arguments for noise on the images, (images, new stats))."""

  def loss(*args):
    y, stats = function(*args)
    return (y * tiny.noise(*y.shape, seed=2)).sum(), (y, stats)

  return jax.jit(jax.grad(loss, argnums, has_aux=True))


@functools.cache
def compiled(kind, plain, argnums):
  """Our gradients of the arguments named, as a program."""
  function = functools.partial(run, kind, plain)
  return differentiated(function, argnums).lower(*arguments(kind)).compile()


@functools.cache
def expected(kind):
  """(gradients of images, params and weights, (images, new stats)) by plain loops."""
  function = {'walk': plain_walk, 'reduce': plain_reduce}[kind]
  with jax.numpy_rank_promotion('allow'):
    return differentiated(function, (0, 1, 3))(*arguments(kind))


@pytest.mark.parametrize('plain', [False, True], ids=['quick', 'plain'])
@pytest.mark.parametrize('kind', ['walk', 'reduce'])
def test_outputs_running_statistics_and_gradients_equal_plain_loops(kind, plain):
  found = compiled(kind, plain, (0, 1, 3))(*arguments(kind))
  tiny.assert_trees_close(found, expected(kind))


@pytest.mark.parametrize('kind', ['walk', 'reduce'])
def test_gradient_of_the_weights_alone_is_the_same_without_any_kernel_gradient(kind):
  alone = compiled(kind, False, (3,))
  (found,), _ = alone(*arguments(kind))
  (_, _, gradient), _ = expected(kind)
  tiny.assert_trees_close(found, gradient)
  assert kernel_gradients(alone) == 0
  assert kernel_gradients(compiled(kind, False, (0, 1, 3))) > 0


@pytest.mark.parametrize('kind', ['walk', 'reduce'])
def test_what_was_seen_has_no_gradient(kind):
  images, *others = arguments(kind)

  def loss(images):
    return sum(leaf.sum() for leaf in jax.tree.leaves(run(kind, False, images, *others)[1]))

  assert not jax.jit(jax.grad(loss))(images).any()


def kernel_gradients(program):
  """Number of instructions that belong to kernel gradients of depthwise convolutions."""
  return program.as_text().count('jit(_kernel_gradient)')


def test_mix_by_hand():
  """Pixels 1, 2, 3, 4 of one image: a pool sees them all, a dilated kernel's centre only one.

  The maximum 4 is normed to (4 - 1) / 2 = 1.5; the convolution makes 4 p of a pixel p. Weighted
  0.5 for the maximum, 2 for the identity, 0.25 for the convolution, 9 for none: 0.75 + 2 p + p.
  Gradients of the sum of all pixels:
    weights: maxima 4 * 1.5 = 6, pixels 1 + 2 + 3 + 4 = 10, convolution 4 * 10 = 40, none 0
    pixels: 2 + 1, and the maximum 4 * 0.5 / 2 = 1 more
    kernel: the centre 0.25 * 10, the others see nothing but padding
  """
  candidates = ('none', 'max_pool_3x3', 'skip_connect', 'dil_conv_3x3')
  mode = layers.Mode(train=False, axis_name=None)
  centre = jnp.zeros((1, 3, 3, 1)).at[0, 1, 1, 0].set(4)
  params = {'dil_conv_3x3': [{'depthwise': centre, 'pointwise': jnp.ones((1, 1, 1))}]}
  stats = {
    'edges': {'dil_conv_3x3': [{'mean': jnp.zeros((1, 1)), 'var': jnp.full((1, 1), ONE)}]},
    'pools': {'max_pool_3x3': {'mean': jnp.ones((2, 1)), 'var': jnp.full((2, 1), 3 + ONE)}},
  }
  image = jnp.array([[1.0, 2], [3, 4]]).reshape(1, 1, 2, 2, 1)

  def mix(image, params, weights):
    bank = jnp.concatenate([image, jnp.zeros_like(image)])
    form = mixed.Form(candidates)
    (bank,), seen = walks.walk(form, mode, ((0, 1),), (bank,), params, stats, weights)
    return bank[1].sum(), (bank, seen)

  arguments = image, params, jnp.array([[9, 0.5, 2, 0.25]])
  gradients, (bank, seen) = jax.grad(mix, (0, 1, 2), has_aux=True)(*arguments)
  np.testing.assert_array_equal(bank[0], image[0])
  np.testing.assert_allclose(bank[1, 0, :, :, 0], [[3.75, 6.75], [9.75, 12.75]], rtol=1e-5)
  tiny.assert_trees_close(seen, stats)
  np.testing.assert_allclose(gradients[0][0, 0, :, :, 0], [[3, 3], [3, 4]], rtol=1e-5)
  kernel = gradients[1]['dil_conv_3x3'][0]['depthwise']
  np.testing.assert_allclose(kernel, centre * 2.5 / 4, rtol=1e-5)
  np.testing.assert_allclose(gradients[2], [[0, 6, 10, 40]], rtol=1e-5)


@pytest.mark.parametrize(
  'candidates',
  [('skip_connect', 'none'), ('none', 'dil_conv_3x3'), ('none', 'max_pool_3x3')],
  ids=['no pools', 'convolutions alone', 'pools alone'],
)
@pytest.mark.parametrize('stride', [1, 2])
def test_spaces_may_leave_operations_out(candidates, stride):
  """All shapes are as with all operations, those of the gradients too."""
  mode, leading = layers.Mode(train=True, axis_name=None), (1,) if stride == 1 else (2, 1)
  params, stats = mixed.init(jnp.ones, mixed.Form(candidates), CHANNELS, stride, 2, *leading)

  def loss(images, params, weights):
    form = mixed.Form(candidates)
    if stride == 1:
      (y,), _ = walks.walk(form, mode, ((0, 1),), (images,), params, stats, weights)
    else:
      (y,), _ = walks.reduce_inputs(form, mode, images, params, stats, weights)
    assert y.shape == ((2, 1, 4, 5, CHANNELS) if stride == 1 else (1, 1, 2, 3, CHANNELS))
    return y.sum()

  images, weights = jnp.zeros((2, 1, 4, 5, CHANNELS)), jnp.zeros((*leading, 2))
  jax.eval_shape(jax.grad(loss, (0, 1, 2)), images, params, weights)
