"""What the devices tell each other in a step of a search, counted without running or compiling it.

All of it are all-reduces: of gradients, of the statistics of batch norm, of losses. The text of a
compiled step shows a loop's body once, and of the loop over the edges of a cell not how often it
runs, which is read from a table. So the traced step is walked as it will run, the integers that are
known before computed on the way; what is computed a second time to save memory is counted too.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import partial_eval

from unrealnas_jax import parallel

DEVICES = 2  # in the trace; what each of them sends does not depend on their number


class Sum(NamedTuple):
  """An array that is summed over the devices; averaged: by parallel.mean."""

  shape: tuple[int, ...]
  bytes: int
  averaged: bool


def count(search):
  """The all-reduces of a step: {kind: {'arrays': their number, 'bytes': of all on one device}}.

  search: as search.prepare gives it. Kinds: weights and architecture, their gradients; metrics,
  what else parallel.mean averages; batch_norm, statistics and their gradients, all the rest.
  XLA may send arrays together that do not depend on each other; the bytes stay the same.
  Of the branches of a condition the one that sends most counts.
  Raises ValueError: how often a loop with an all-reduce runs is not known before.
  """
  plan = search.plan
  state = jax.eval_shape(plan.init)
  batches = next(iter(plan.batches(range(plan.per_call))))
  one_step = jax.tree.map(lambda x: x[:1], batches)
  sums = _sums(search.step, search.key, state, *one_step)
  found = {kind: [] for kind in ('weights', 'architecture', 'batch_norm', 'metrics')}
  trees = {'weights': state.params, 'architecture': state.arch}
  for kind, size in _kinds(sums, {name: _shapes(tree) for name, tree in trees.items()}):
    found[kind].append(size)
  return {kind: {'arrays': len(sizes), 'bytes': sum(sizes)} for kind, sizes in found.items()}


def _sums(step, *args):
  """Every Sum of step(*args) on one device, in the order they run."""
  closed = jax.make_jaxpr(step, axis_env=[(parallel.AXIS, DEVICES)])(*args)
  jaxpr, used = partial_eval.dce_jaxpr(closed.jaxpr, [True] * len(closed.jaxpr.outvars))
  sums = []
  _run(core.ClosedJaxpr(jaxpr, closed.consts), [None] * sum(used), sums)
  return sums


def _shapes(tree):
  return [leaf.shape for leaf in jax.tree.leaves(tree)]


def _kinds(sums, trees):
  """(kind, bytes) of each sum. trees: {kind: shapes of the leaves, which are summed in turn}."""
  while sums:
    head, *_ = sums
    kind, length = 'metrics' if head.averaged else 'batch_norm', 1
    for name, shapes in trees.items():
      if head.averaged and [found.shape for found in sums[: len(shapes)]] == shapes:
        kind, length = name, len(shapes)
    yield from ((kind, found.bytes) for found in sums[:length])
    sums = sums[length:]


def _run(closed, args, sums):
  """Adds the sums of a closed jaxpr to a list, in the order they run; returns its results.

  args, results: values of integers that are known, None for all else.
  """
  jaxpr = closed.jaxpr
  values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*closed.consts, *args), strict=True))

  def read(atom):
    value = atom.val if isinstance(atom, core.Literal) else values.get(atom)
    return value if _is_integer(atom.aval) else None

  for equation in jaxpr.eqns:
    results = _run_equation(equation, [read(atom) for atom in equation.invars], sums)
    values |= dict(zip(equation.outvars, results, strict=True))
  return [read(atom) for atom in jaxpr.outvars]


def _is_integer(aval):
  return any(jnp.issubdtype(aval.dtype, kind) for kind in (jnp.integer, jnp.bool_))


def _run_equation(equation, args, sums):
  primitive, params, results = equation.primitive, equation.params, equation.outvars
  inside = _inside(params)
  known = args and all(arg is not None for arg in args)
  if primitive.name == 'psum':
    averaged = parallel.MEAN in str(equation.source_info.name_stack)
    avals = [atom.aval for atom in equation.invars]
    sums += [Sum(aval.shape, aval.size * aval.dtype.itemsize, averaged) for aval in avals]
  elif any(map(_sends, inside)):
    call = LOOPS.get(primitive.name, lambda _, *given: _run(*inside, *given))
    return call(params, args, sums)
  elif known and not inside and all(_is_integer(variable.aval) for variable in results):
    values = primitive.bind(*args, **params)
    return values if primitive.multiple_results else [values]
  return [None] * len(results)


def _scan(params, args, sums):
  fixed, carried, rows = _split(args, params['num_consts'], params['num_carry'])
  rounds = range(params['length'])
  for number in reversed(rounds) if params['reverse'] else rounds:
    row = [None if values is None else values[number] for values in rows]
    results = _run(params['jaxpr'], [*fixed, *carried, *row], sums)
    carried = results[: len(carried)]
  return [*carried, *(None for _ in results[len(carried) :])]


def _while(params, args, sums):
  condition, body = params['cond_jaxpr'], params['body_jaxpr']
  of_condition, of_body, carried = _split(args, params['cond_nconsts'], params['body_nconsts'])
  while True:
    (more,) = _run(condition, [*of_condition, *carried], sums)
    if more is None:
      raise ValueError('a loop with an all-reduce runs until a condition that is not known before')
    if not more:
      return carried
    carried = _run(body, [*of_body, *carried], sums)


def _cond(params, args, sums):
  index, *args = args
  branches = params['branches'] if index is None else [params['branches'][int(index)]]
  found = [[] for _ in branches]
  results = [_run(branch, args, own) for branch, own in zip(branches, found, strict=True)]
  sums += max(found, key=lambda own: sum(one.bytes for one in own))
  return results[0] if len(branches) == 1 else [None] * len(results[0])


def _split(args, first, second):
  return args[:first], args[first : first + second], args[first + second :]


def _inside(params):
  """Closed jaxprs among the parameters of an equation."""
  leaves = jax.tree.leaves(list(params.values()), is_leaf=lambda x: isinstance(x, core.Jaxpr))
  found = [x for x in leaves if isinstance(x, core.Jaxpr | core.ClosedJaxpr)]
  return [core.ClosedJaxpr(x, ()) if isinstance(x, core.Jaxpr) else x for x in found]


def _sends(closed):
  equations = closed.jaxpr.eqns
  return any(x.primitive.name == 'psum' or any(map(_sends, _inside(x.params))) for x in equations)


LOOPS = {'scan': _scan, 'while': _while, 'cond': _cond}
