"""RLNAS: the cell whose weights have turned most since the supernet was made."""

import functools
import itertools
import types

import jax
import numpy as np
import pytest
import tiny

from configs import default
from unrealnas_jax import angle, decoding, keys
from unrealnas_jax import search as search_lib
from unrealnas_jax.methods import paths, rlnas
from unrealnas_jax.spaces import SPACES

KEY, STAGE = jax.random.key(5), 2
NB = SPACES['nasbench201']
C1, C3 = 'nor_conv_1x1', 'nor_conv_3x3'
DIRECT = NB.edges.index((0, 3))  # the only edge that is a path by itself


def config_of(over='network', search='exhaustive'):
  config = default.get_config('paper')
  config.method.rlnas.update(dict(angle=over, search=search))
  return config


def begin(net):
  """The state that a stage begins with; its params are NumPy's, to be changed in place."""
  config = config_of()
  tx = search_lib.make_optimizers(config, 5)
  init = functools.partial(search_lib.init_state, config=config, net=net, method=rlnas, tx=tx)
  state = jax.jit(init)(keys.of_stage(KEY, STAGE))
  return state.replace(params=jax.tree.map(np.array, state.params))


def decode(net, state, config):
  key = keys.of_params(keys.of_stage(KEY, STAGE))
  return rlnas.decode(key, state, net=net, hp=config.method)


def at_right_angles(x):
  first, second = np.split(x.ravel(), 2)
  return np.concatenate([-second, first]).reshape(x.shape)


@pytest.fixture(scope='module')
def turned():
  """(net, state) of NAS-Bench-201 where nothing but convolutions of the cells has turned.

  All 3x3 by 90 degrees, the 1x1 of the direct edge by 180.
  """
  net = tiny.net(space=NB, cells=1)
  state = begin(net)
  for *_, ops in NB.skeleton.edges(NB, state.params):
    for leaf in jax.tree.leaves(ops[C3]):
      leaf[:] = np.stack([at_right_angles(kernel) for kernel in leaf])
    for leaf in jax.tree.leaves(ops[C1]):
      leaf[DIRECT] *= -1
  return net, state


# By hand: the cosine of a cell with the 1x1 on its direct edge is (r + u - w) / (r + u + v + w),
# w being of that 1x1, v of what turned by 90 degrees, u of other edges, r of what all cells share.
# Of the whole network r > w, so that it is least with as much v as there can be; of the edges alone
# r = 0, and it is -1 without any u and v. Of equal cells the first one is taken.
BEST = {
  'network': (C3, C3, C3, C1, C3, C3),
  'edges': ('none', 'none', 'none', C1, 'none', 'none'),
}


@pytest.mark.parametrize('over', BEST)
def test_of_all_cells_the_one_that_turned_most_is_taken(turned, over):
  assert decode(*turned, config_of(over)).ops == BEST[over]


def test_a_stage_is_measured_from_its_own_start(turned, tmp_path):
  net, state = turned
  search = types.SimpleNamespace(key=KEY, number=STAGE, net=net, method=rlnas, phase='search_3')
  found, _ = decoding.decode(search, state, config_of('network'), tmp_path)
  assert found.ops == BEST['network']


def every_cell(space):
  """Codes {kind: [N, E]} of all cells whose nodes keep two edges that are not none."""
  rows = np.array(list(itertools.product(range(len(space.ops)), repeat=len(space.edges))))
  used = rows != space.ops.index('none')
  rows = rows[np.all([used[:, list(gene)].sum(1) == 2 for gene in space.genes], axis=0)]
  numbers = np.indices((len(rows),) * len(space.kinds)).reshape(len(space.kinds), -1)
  return {kind: rows[number] for kind, number in zip(space.kinds, numbers, strict=True)}


@pytest.fixture(scope='module')
def moved():
  """(net, state, Products) of a tiny space where all weights have turned, as chance has it."""
  net = tiny.net()
  state = begin(net)
  params = jax.tree.map(np.add, state.params, tiny.variables(net)[0])
  return net, state.replace(params=params), angle.products(net.space, state.params, params)


@pytest.mark.parametrize('over', BEST)
def test_evolution_finds_the_best_cell_of_a_tiny_space(moved, over):
  """A thousand cells are met on the way, of 59,049."""
  net, state, products = moved
  space, cells = net.space, every_cell(net.space)
  assert len(cells['normal']) == (3**2 * 3 * 3**2) ** 2
  of = {'network': products, 'edges': products._replace(rest=np.zeros(3))}
  best = {name: angle.of_cells(space, of[name], cells).argmax() for name in of}
  assert best['network'] != best['edges']
  expected = {kind: codes[best[over]] for kind, codes in cells.items()}
  found = decode(net, state, config_of(over, 'evolution'))
  assert found == space.decode(paths.one_hot(space, expected))
