"""Forms of mixed operations against plain loops: affine norms, sparse weights, parts of channels.

Also dropout on identities, and the operations of NAS-Bench-201. The loops are written out here and
left to autodiff; what DARTS itself uses is in mixed_test.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny

from unrealnas_jax import dense, layers, mixed, ops, walks
from unrealnas_jax.depthwise import grouped_conv

CANDIDATES = ('sep_conv_3x3', 'skip_connect', 'none', 'max_pool_3x3', 'dil_conv_3x3')
NASBENCH201 = ('none', 'skip_connect', 'nor_conv_1x1', 'nor_conv_3x3', 'avg_pool_3x3')
FORMS = {
  'all': mixed.Form(CANDIDATES, affine=True, partial=2, sparse=True, skip_dropout=True),
  'sparse': mixed.Form(CANDIDATES, sparse=True),
  'nasbench201': mixed.Form(NASBENCH201, pool_norm=False, sparse=True),
}
CHANNELS, SIZE = 4, (4, 6)
EDGES = ((0, 1), (0, 2), (1, 2))
KEY, RATE = jax.random.key(5), 0.3
MODE = layers.Mode(train=True, axis_name=None)


def norm(x, params, stats):
  mean, var, count = x.mean((0, 1, 2)), x.var((0, 1, 2)), x.size // x.shape[-1]
  seen = {'mean': mean, 'var': var * count / (count - 1)}
  y = (x - mean) / jnp.sqrt(var + 1e-5)
  return y * params.get('scale', 1) + params.get('bias', 0), seen


def operation(form, op, x, params, stats, stride, edge):
  """(output, new stats of its layers) of one operation, by itself."""
  seen = []
  if op == 'skip_connect' and stride == 1:
    if form.skip_dropout:
      x = ops.drop_values(x, jax.random.fold_in(KEY, edge), RATE)
  elif op == 'skip_connect':
    relu = jnp.maximum(x, 0)
    even, odd = relu[:, ::2, ::2] @ params[0]['even'], relu[:, 1::2, 1::2] @ params[0]['odd']
    x, new = norm(jnp.concatenate([even, odd], axis=-1), params[0], stats[0])
    seen.append(new)
  elif op in mixed.POOLS:
    x = mixed.POOLS[op](x, stride)
    if form.pool_norm:
      x, new = norm(x, params[0] if params else {}, stats[0])
      seen.append(new)
  elif op in mixed.DENSE:
    x, new = norm(dense.conv(jnp.maximum(x, 0), params[0]['kernel']), params[0], stats[0])
    seen.append(new)
  else:
    for n, (layer, (_, dilation)) in enumerate(zip(params, mixed.SEPARABLE[op], strict=True)):
      y = grouped_conv(jnp.maximum(x, 0), layer['depthwise'], stride if n == 0 else 1, dilation)
      x, new = norm(y @ layer['pointwise'], layer, stats[n])
      seen.append(new)
  return x, seen


def edge(form, x, params, stats, pools, weights, stride, number, present):
  """What flows along an edge, before channels are shuffled, and new stats: (y, own, pools)."""
  part, rest = x[..., : CHANNELS // form.partial], x[..., CHANNELS // form.partial :]
  total, own, pools = 0 * part[:, ::stride, ::stride], dict(stats), dict(pools)
  for column, op in enumerate(form.ops):
    if op == 'none':
      continue
    shared = op in pools
    found = [pools[op]] if shared else stats.get(op, [])
    y, seen = operation(form, op, part, params.get(op, []), found, stride, number)
    if shared:
      pools[op] = seen[0]
    elif op in stats and present[column]:
      own[op] = seen
    # What is shared by edges has a gradient at weight 0 too: it is computed anyhow.
    if present[column] or op not in stats:
      total = total + weights[column] * y
  if form.partial > 1:
    if stride == 2:
      rest = jnp.maximum(
        jnp.maximum(rest[:, ::2, ::2], rest[:, 1::2, ::2]),
        jnp.maximum(rest[:, ::2, 1::2], rest[:, 1::2, 1::2]),
      )
    total = jnp.concatenate([total, weights.sum() * rest], axis=-1)
  return total, own, pools


def shuffle(form, x):
  """Channel j comes from part j % K."""
  size = CHANNELS // form.partial
  return x[..., [j % form.partial * size + j // form.partial for j in range(CHANNELS)]]


def at(tree, *index):
  return jax.tree.map(lambda leaf: leaf[index], tree)


def stack(trees):
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def plain_walk(form, present, bank, params, stats, weights):
  states, edges, pools = list(bank), [None] * len(EDGES), [at(stats['pools'], n) for n in range(3)]
  for n in range(3):
    for e, (source, destination) in enumerate(EDGES):
      if destination == n:
        variables = at(params, e), at(stats['edges'], e), at(stats['pools'], source)
        y, edges[e], pools[source] = edge(
          form, states[source], *variables, weights[e], 1, e, present[e]
        )
        states[n] = states[n] + y
    states[n] = shuffle(form, states[n])
  return jnp.stack(states), {'edges': stack(edges), 'pools': stack(pools[:2])}


def plain_reduce(form, present, inputs, params, stats, weights):
  nodes, edges, pools = [0, 0], [], []
  for i, x in enumerate(inputs):
    row, pool = [], at(stats['pools'], i)
    for n in range(2):
      variables = at(params, i, n), at(stats['edges'], i, n), at(stats['pools'], i)
      y, seen, pool = edge(form, x, *variables, weights[i, n], 2, None, present[i, n])
      nodes[n] = nodes[n] + y
      row.append(seen)
    edges.append(stack(row))
    pools.append(pool)
  return jnp.stack(nodes), {'edges': stack(edges), 'pools': stack(pools)}


def ours(kind, form, bank, params, stats, weights):
  if kind == 'reduce':
    nodes, seen = walks.reduce_inputs(form, MODE, bank, params, stats, weights)
    return mixed.join(nodes), seen
  dropout = (KEY, RATE) if form.skip_dropout else None
  bank = mixed.split(form, bank)
  bank, stats = walks.walk(form, MODE, EDGES, bank, params, stats, weights, dropout)
  stats['pools'] = at(stats['pools'], slice(2))  # the last state flows nowhere
  return mixed.join(bank), stats


@pytest.mark.parametrize(
  ('name', 'kind'),
  [('all', 'walk'), ('all', 'reduce'), ('sparse', 'walk'), ('sparse', 'reduce')]
  + [('nasbench201', 'walk')],
)
def test_outputs_statistics_and_gradients_equal_plain_loops(name, kind):
  form = FORMS[name]
  stride, images, leading = {'walk': (1, 3, (3,)), 'reduce': (2, 2, (2, 2))}[kind]
  shapes = jax.eval_shape(lambda: mixed.init(jnp.ones, form, CHANNELS, stride, images, *leading))
  rng = np.random.default_rng(1)
  params, stats = (
    jax.tree.map(lambda s: jnp.float32(rng.uniform(0.1, 1, s.shape)), t) for t in shapes
  )
  params = jax.tree.map(lambda leaf: leaf * rng.choice([-1, 1], leaf.shape), params)
  present = rng.random((*leading, len(form.ops))) < 0.6
  weights = jnp.float32(present * rng.uniform(0.1, 1, present.shape))
  bank = tiny.noise(images, 2, *SIZE, CHANNELS)
  plain = {'walk': plain_walk, 'reduce': plain_reduce}[kind]

  def gradients(function):
    def loss(bank, params, weights):
      y, seen = function(bank, params, stats, weights)
      return (y * tiny.noise(*y.shape, seed=2)).sum(), (y, seen)

    return jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(bank, params, weights)

  found = gradients(functools.partial(ours, kind, form))
  with jax.numpy_rank_promotion('allow'):
    expected = gradients(functools.partial(plain, form, present))
  tiny.assert_trees_close(found, expected, 1e-4)
