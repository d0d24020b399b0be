"""Limits on the found network: what cells cost, which cell is the best within, what is refused."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quick_run
import tiny
from changed_config import changed
from ml_collections import ConfigDict

from unrealnas_jax import config as config_lib
from unrealnas_jax import data, evolution, limits, retrain
from unrealnas_jax.data.split import Dataset
from unrealnas_jax.methods import METHODS, darts, paths
from unrealnas_jax.spaces import SPACES
from unrealnas_jax.state import SearchState
from unrealnas_jax.supernet import Net

IMAGES = Dataset('made', None, None, 4, (8, 8, 1), None, None)
QUICK = SPACES['quick']


def make_config(space='quick', **limits):
  config = quick_run.get_config()
  config.search.update({'space': space, **limits})
  return config


def cost(config, genotype):
  """(parameters, multiply-adds) of the network that is trained."""
  measured = retrain.measure(retrain.make_network(config, genotype, 4), IMAGES.shape)
  return np.array([measured['parameters'], measured['multiply_adds']])


@functools.cache
def prices(name):
  return limits._prices(make_config(name), SPACES[name], IMAGES)


def random_codes(space, seed, count=1):
  flat = paths.sample_flat(jax.random.key(seed), space, count)
  return [paths.split(space, codes) for codes in flat]


def priced(prices, codes):
  edges = (
    table[np.arange(len(table)), codes[kind]].sum(0) for kind, table in prices.tables.items()
  )
  return prices.fixed + sum(edges)


@pytest.mark.parametrize('name', ['darts', 'nasbench201'])
def test_prices_add_up_to_what_networks_cost(name):
  space, config = SPACES[name], make_config(name)
  config.retrain.auxiliary = 0.0
  for codes in random_codes(space, seed=1, count=3):
    genotype = space.decode(paths.one_hot(space, codes))
    np.testing.assert_array_equal(priced(prices(name), codes), cost(config, genotype))


def made_prices(seed):
  """Prices of the quick space without a network behind them."""
  rng = np.random.default_rng(seed)
  tables = {kind: rng.integers(0, 50, (5, 4, 2)) for kind in QUICK.kinds}
  for table in tables.values():
    table[:, 0] = 0  # none
  return limits.Prices(np.array([10, 20]), tables)


def every_cell(kind, prices, weights):
  """(log weights, costs [N, 2]) of all cells of a kind."""
  scores, costs = [], []
  for pair in itertools.combinations((2, 3, 4), 2):
    for ops in itertools.product((1, 2, 3), repeat=4):
      chosen = [*zip((0, 1, *pair), ops, strict=True)]
      scores.append(sum(np.log(weights[kind][row, op]) for row, op in chosen))
      costs.append(sum(prices.tables[kind][row, op] for row, op in chosen))
  return np.array(scores), np.array(costs)


def decoded(space, genotype):
  """(kind, row, column) of the edges of a genotype."""
  for kind in space.kinds:
    for number, (op, source) in enumerate(getattr(genotype, kind)):
      yield kind, space.edges.index((source, 2 + number // 2)), space.ops.index(op)


@pytest.mark.parametrize('keys', [('max_parameters',), ('max_multiply_adds',), tuple(limits.COSTS)])
@pytest.mark.parametrize('seed', range(4))
def test_the_best_cell_within_is_found(seed, keys):
  """Against all pairs of all cells, from a limit that hardly any keeps to one that all keep."""
  prices, weights = made_prices(seed), tiny.mixing(QUICK, seed)
  (scores, costs), (others, more) = (every_cell(kind, prices, weights) for kind in QUICK.kinds)
  scores = scores[:, None] + others[None]
  costs = (costs[:, None] + more[None] + prices.fixed[None, None]).astype(int)
  for quantile in (0.001, 0.1, 0.5, 1):
    bounds = {
      key: int(np.quantile(costs[..., n], quantile, method='higher'))
      for n, key in enumerate(limits.COSTS)
      if key in keys
    }
    within = np.ones(scores.shape, bool)
    for n, key in enumerate(limits.COSTS):
      within &= costs[..., n] <= bounds.get(key, np.inf)
    if not within.any():
      continue
    genotype = limits._decode(QUICK, prices, bounds, weights)
    chosen = [*decoded(QUICK, genotype)]
    found = sum(np.log(weights[kind][row, op]) for kind, row, op in chosen)
    np.testing.assert_allclose(found, scores[within].max(), rtol=1e-6)
    total = prices.fixed + sum(prices.tables[kind][row, op] for kind, row, op in chosen)
    assert all(total[n] <= bounds.get(key, np.inf) for n, key in enumerate(limits.COSTS))
    if quantile == 1:
      assert genotype == QUICK.decode(weights)


@pytest.mark.parametrize('name', ['darts', 'nasbench201'])
def test_every_method_that_learns_alphas_keeps_to_the_limits(name):
  """Half of what the cell of the largest weights needs beyond the smallest one."""
  space = SPACES[name]
  convolution = 'sep_conv_5x5' if name == 'darts' else 'nor_conv_3x3'
  tables = {k: jnp.zeros((len(space.edges), len(space.ops))) for k in space.kinds}
  arch = {k: x.at[:, space.ops.index(convolution)].set(2.0) for k, x in tables.items()}
  free = space.decode(darts.weights(arch, net=tiny.net(space=space), hp=None))
  config = make_config(name)
  config.retrain.auxiliary = 0.0
  smallest, most = prices(name).fixed, cost(config, free)
  bounds = (smallest + most) // 2
  config.search.update(dict(zip(limits.COSTS, bounds.tolist(), strict=True)))
  limited = limits.within(config, space, IMAGES)
  net, hp = Net(limited, None, None, None), config.method
  for method, module in METHODS.items():
    if method in ('rlnas', 'random'):
      continue
    learned = {'alphas': arch, 'betas': {k: jnp.zeros(len(space.edges)) for k in space.kinds}}
    state = SearchState(0, {}, {}, learned if method == 'pc_darts' else arch, None, None)
    genotype = module.decode(jax.random.key(0), state, net=net, hp=hp)
    found = cost(config, genotype)
    assert (found <= bounds).all()
    assert (found > smallest).all()
  facts = limits.facts(config, genotype, IMAGES)
  assert facts['limits'] == dict(zip(limits.COSTS, bounds.tolist(), strict=True))
  assert [facts['parameters'], facts['multiply_adds']] == found.tolist()


def test_what_has_no_weight_is_not_chosen():
  prices, weights = made_prices(0), tiny.mixing(QUICK)
  weights = {kind: np.array(table) for kind, table in weights.items()}
  for table in weights.values():
    table[:, 1:3] = 0
  genotype = limits._decode(QUICK, prices, {'max_parameters': 10_000}, weights)
  assert {op for _, _, op in decoded(QUICK, genotype)} == {3}
  with pytest.raises(ValueError, match='search.max_parameters = 11; no cell is within, of the op'):
    limits._decode(QUICK, prices, {'max_parameters': 11}, weights)


@functools.cache
def limited_space():
  """NAS-Bench-201 with a limit that about half of its cells keep."""
  costs = [priced(prices('nasbench201'), c) for c in random_codes(SPACES['nasbench201'], 3, 200)]
  config = make_config('nasbench201', max_parameters=int(np.median(np.array(costs)[:, 0])))
  return config, limits.within(config, SPACES['nasbench201'], IMAGES)


def test_random_cells_are_drawn_until_one_is_within():
  config, space = limited_space()
  hp = ConfigDict({'random': {'cells': 100}})
  init = jax.jit(lambda key: METHODS['random'].init(key, net=Net(space, None, None, None), hp=hp))
  drawn = np.asarray(init(jax.random.key(0))['cells']['normal'].argmax(-1))
  free = np.stack([codes['normal'] for codes in random_codes(SPACES['nasbench201'], 4, 100)])
  limit, table = config.search.max_parameters, prices('nasbench201')
  assert max(priced(table, {'normal': codes})[0] for codes in drawn) <= limit
  assert max(priced(table, {'normal': codes})[0] for codes in free) > limit
  assert len(np.unique(drawn, axis=0)) > 90


def test_the_cell_that_turns_most_is_one_within(monkeypatch):
  """Cells turn the more the more they cost."""
  config, space = limited_space()
  table = prices('nasbench201')
  parameters = table.tables['normal'][..., 0]

  def turns(codes):
    return parameters[np.arange(6)[None], codes['normal']].sum(1)

  monkeypatch.setattr(METHODS['rlnas'], '_angles', lambda *args: turns)
  net = Net(space, None, None, None)
  for how in ('exhaustive', 'evolution'):
    config.method.rlnas.search = how
    found = METHODS['rlnas'].decode(jax.random.key(0), None, net=net, hp=config.method)
    codes = {'normal': np.array([space.ops.index(op) for op in found.ops])}
    limit = config.search.max_parameters
    assert 0.9 * limit < priced(table, codes)[0] <= limit


def test_ranking_all_cells_finds_one_at_the_least_limit(monkeypatch):
  """That of the smallest cell, so close to which sums of float32 allow none."""
  table = prices('nasbench201')
  least = int(table.fixed[0] + table.tables['normal'][..., 0].min(1).sum())
  config = make_config('nasbench201', max_parameters=least)
  config.method.rlnas.search = 'exhaustive'
  space = limits.within(config, SPACES['nasbench201'], IMAGES)
  monkeypatch.setattr(METHODS['rlnas'], '_angles', lambda *args: lambda codes: np.zeros(0))
  net = Net(space, None, None, None)
  found = METHODS['rlnas'].decode(jax.random.key(0), None, net=net, hp=config.method)
  codes = {'normal': np.array([space.ops.index(op) for op in found.ops])}
  assert priced(table, codes)[0] == least


def test_evolution_breeds_nothing_beyond_a_limit():
  hp = ConfigDict(dict(population=20, generations=6, parents=50, mutations=8, crossovers=8))
  hp.mutation_probability = 0.5
  seen, bred = [], []

  def score(codes):
    seen.append(codes)
    return codes.sum(1)

  def fits(codes):
    bred.append(codes)
    return codes.sum(1) <= 6

  sample = lambda count: np.tile([[0, 1, 2, 3], [3, 1, 2, 0]], (10, 1))[:count]  # noqa: E731
  best = evolution.evolve(score, sample, [[0], [1], [2], [3]], 0, hp, fits)
  assert best.sum() == 6
  assert (np.concatenate(bred).sum(1) > 6).any()
  assert (np.concatenate(seen).sum(1) <= 6).all()


def test_a_limit_that_no_cell_keeps_is_refused():
  config = make_config(max_parameters=10)
  config.retrain.epochs = 0  # then the network is one for the images of the source
  smallest = limits._prices(config, QUICK, data.make_source(config)).fixed
  told = f'{smallest[0]:,} parameters and {smallest[1]:,} multiply-adds'
  with pytest.raises(ValueError, match=f'max_parameters = 10; allowed: at least .*, {told}'):
    config_lib.validate(config, 1)
  config.search.max_parameters = int(smallest[0])
  config_lib.validate(config, 1)


def test_a_limit_that_hardly_any_random_cell_keeps_is_refused_where_cells_are_drawn():
  config = changed('search.max_parameters', int(prices('darts').fixed[0]))
  space = SPACES['darts']
  config.retrain.update(make_config().retrain)
  assert not [*limits.problems(config, space, IMAGES, draws=False)]
  (problem,) = limits.problems(config, space, IMAGES, draws=True)
  assert 'none of 10,000 random cells is within' in problem
