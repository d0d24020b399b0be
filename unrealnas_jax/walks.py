"""The loops over the edges of a cell, and their ways back.

What decides the speed on a CPU is here. Compile time: XLA compiles a loop's body once but every
call anew, so the edges of a cell are a loop and not 14 copies; cells of one shape are traced once.
Memory: a loop differentiated by JAX keeps all that its body computes; the ways back here compute an
edge again from its source instead, so that a cell keeps nothing but its states.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import custom_derivatives, lax

from unrealnas_jax import mixed, rows


def walk(form, mode, edges, bank, params, stats, weights, dropout=None, first=0):
  """Completes the states of a cell, one after the other, from the states before them.

  edges: pairs (source, destination) of states, sorted by destination, then by source.
  bank: as mixed.split has [S, B, H, W, C], all states; a state starts with what it was given
    (inputs, or what flowed in from elsewhere), gets the mixed operations of its incoming edges
    added, and then has its channels shuffled if they are partial.
  weights: [E, O]; params and stats stacked likewise; dropout: (key, rate) for form.skip_dropout.
  first: number of the first state, those before are left alone and nothing flows out of them; in
    plain form an int.
  -> (bank, seen), as layers have it; in quick form `seen` has no gradient
  """
  arguments = bank, params, stats, weights, dropout, first
  if mode.plain:
    return _walk(_plain_loop, np.asarray, form, mode, edges, *arguments)
  return _quick_walk(form, mode._replace(learns=None), edges, *arguments, mode.learns)


def _walk(
  loop, table, form, mode, edges, bank, params, stats, weights, dropout, first, learns=None
):
  del learns  # the way back is given what this is given
  states = len(bank[0])
  sources, starts, ends = map(table, _order(edges, states))
  shared = _shared_weights(edges, weights, states)

  def one_edge(e, carry):
    bank, total, stats = carry
    x, of_edge = rows.at(bank[0], sources[e]), (rows.at(params, e), rows.at(stats['edges'], e))
    arguments = x, *of_edge, weights[e], 1, part_of_dropout(dropout, e)
    y, seen = mixed.own_operations(form, mode, *arguments)
    return bank, total + y, {**stats, 'edges': rows.put(stats['edges'], e, seen)}

  def one_state(n, carry):
    bank, stats = carry
    given, *rest = rows.at(bank, n)
    _, total, stats = loop(starts[first, n], ends[n], one_edge, (bank, given, stats))
    state = mixed.shuffle(form, (total, *rest))
    bank = rows.put(bank, n, state)
    y, seen = mixed.shared_operations(
      form, mode, state, rows.at(stats['pools'], n), shared[:, n], 1
    )
    return rows.add(bank, y), {**stats, 'pools': rows.put(stats['pools'], n, seen)}

  return loop(first, states, one_state, (bank, stats))


def _plain_loop(start, stop, body, carry):
  for number in range(start, stop):
    carry = body(number, carry)
  return carry


_looped = jax.jit(functools.partial(_walk, lax.fori_loop, jnp.asarray), static_argnums=(0, 1, 2))
_quick_walk = jax.custom_vjp(_looped, nondiff_argnums=(0, 1, 2))


def _walk_fwd(form, mode, edges, bank, params, stats, weights, dropout, first, learns):
  learned = _learned(params)
  variables = _values((bank, params, stats, weights, dropout, first, learns))
  bank, seen = _looped(form, mode, edges, *variables)
  _, params, _, *others = variables
  return (bank, seen), (bank, params, learned, seen, *others)


def _learned(params):
  """(the params,) if they are differentiated, else ()."""
  # The gradients of kernels are half of the way back, and an architecture step needs none of them.
  # Where it is a program of its own (with mode.learns it is not) the way back leaves them out.
  is_learned = any(leaf.perturbed for leaf in jax.tree.leaves(params, is_leaf=_is_primal))
  return (_values(params),) if is_learned else ()


def _walk_bwd(form, mode, edges, residuals, gradients):
  # jit would make `first` a traced number and the loop over states one of unknown length, of which
  # no jax.jvp can be taken.
  back = _walk_back.__wrapped__ if mode.twice else _walk_back
  dbank = tuple(map(_as_array, gradients[0]))
  return back(form, mode, edges, residuals, dbank)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _walk_back(form, mode, edges, residuals, dbank):
  # Edges and pools are computed again from the finished states, by the statistics seen before.
  # Rules that jax.vjp has followed are in nobody's way.
  bank, params, learned, stats, weights, dropout, first, learns = residuals
  mode = mode._replace(twice=False, again=True, learns=learns)
  states = len(bank[0])
  sources, starts, ends = map(jnp.asarray, _order(edges, states))
  shared, shared_vjp = jax.vjp(lambda w: _shared_weights(edges, w, states), weights)

  def one_edge(e, carry):
    dbank, total, dweights, dlearned = carry
    source, of_edge = sources[e], rows.at((params, stats['edges'], weights, learned), e)
    arguments = rows.at(bank[0], source), *of_edge, 1, part_of_dropout(dropout, e)
    dx, dw, dp = _edge_back(form, mode, total, *arguments)
    dfirst, *rest = dbank
    dfirst = rows.put(dfirst, source, rows.at(dfirst, source) + dx)
    return (dfirst, *rest), total, rows.put(dweights, e, dw), rows.put(dlearned, e, dp)

  def one_state(back, carry):
    dbank, dshared, dweights, dlearned = carry
    n = states - 1 - back
    arguments = rows.at(bank, n), rows.at(stats['pools'], n), shared[:, n]
    dx, dw = _shared_back(form, mode, dbank, *arguments, 1)
    # All that the finished state flows into is known by now.
    total = mixed.shuffle(form, rows.add(rows.at(dbank, n), dx), back=True)
    carry = rows.put(dbank, n, total), total[0], dweights, dlearned
    carry = lax.fori_loop(starts[first, n], ends[n], one_edge, carry)
    dbank, _, dweights, dlearned = carry
    return dbank, dshared.at[:, n].set(dw), dweights, dlearned

  carry = dbank, *_zeros((shared, weights, learned))
  carry = lax.fori_loop(0, states - first, one_state, carry)
  dbank, dshared, dweights, dlearned = carry
  dparams = dlearned[0] if learned else _zeros(params)
  return dbank, dparams, _zeros(stats), dweights + shared_vjp(dshared)[0], None, None, None


_quick_walk.defvjp(_walk_fwd, _walk_bwd, symbolic_zeros=True)


def _shared_back(form, mode, g, x, stats, weights, stride):
  """Gradients of a source and of its weights, [D, O], where it flows into D destinations.

  g, x: as mixed.split has them
  """

  def run(x, weights):
    return mixed.shared_operations(form, mode, x, stats, weights, stride)[0]

  _, vjp = jax.vjp(run, x, weights)
  return vjp(g)


def _edge_back(form, mode, g, x, params, stats, weights, learned, stride, dropout=None):
  """Gradients of x, of an edge's weights, and of its params if they are learned."""

  def run(x, weights, *learned):
    fixed = () if learned else (params,)
    return mixed.own_operations(form, mode, x, *learned, *fixed, stats, weights, stride, dropout)[0]

  _, vjp = jax.vjp(run, x, weights, *learned)
  dx, dw, *dlearned = vjp(g)
  return dx, dw, tuple(dlearned)


def reduce_inputs(form, mode, inputs, params, stats, weights):
  """Mixed operations of stride 2 on all edges from the inputs of a cell to all its nodes.

  inputs: [I, B, H, W, C], weights: [I, N, O], params and stats stacked likewise
  -> (nodes, as mixed.split has [N, B, H', W', C], seen), H' = ceil(H / 2); not shuffled, `walk`
  does that. In quick form `seen` has no gradient.
  """
  if mode.plain:
    return _reduce(form, mode, inputs, params, stats, weights)
  fixed = form, mode._replace(learns=None)
  return _quick_reduce(*fixed, inputs, params, stats, weights, mode.learns)


def _reduce(form, mode, inputs, params, stats, weights, learns=None):
  del learns

  def source(_, variables):
    x, params, stats, weights = variables
    state = mixed.split(form, x)
    shared, pools = mixed.shared_operations(form, mode, state, stats['pools'], weights, 2)

    def edge(_, variables):
      # Without a barrier JAX takes what depends on x alone, every tap's image, out of the loop.
      image, variables = lax.optimization_barrier((state[0], variables))
      return None, mixed.own_operations(form, mode, image, *variables, 2)

    variables = params, stats['edges'], weights
    _, (own, edges) = lax.scan(edge, None, variables, unroll=mode.plain)
    nodes = shared[0] + own, *shared[1:]
    return None, (nodes, {'edges': edges, 'pools': pools})

  variables = inputs, params, stats, weights
  _, (nodes, stats) = lax.scan(source, None, variables, unroll=mode.plain)
  return jax.tree.map(lambda x: x.sum(0), nodes), stats


_quick_reduce = jax.custom_vjp(_reduce, nondiff_argnums=(0, 1))


def _reduce_fwd(form, mode, *primals):
  inputs, params, stats, weights, learns = _values(primals)
  nodes, seen = _reduce(form, mode, inputs, params, stats, weights)
  return (nodes, seen), ((inputs, params, seen, weights, _learned(primals[1])), learns)


def _reduce_bwd(form, mode, residuals, gradients):
  (of_sources, learns), dnodes = residuals, tuple(map(_as_array, gradients[0]))
  mode = mode._replace(twice=False, again=True, learns=learns)

  def source(_, variables):
    x, params, stats, weights, learned = variables
    state = mixed.split(form, x)
    (dfirst, *rest), dshared = _shared_back(form, mode, dnodes, state, stats['pools'], weights, 2)

    def edge(total, variables):
      image, (g, *of_edge) = lax.optimization_barrier((state[0], variables))
      dx, dw, dp = _edge_back(form, mode, g, image, *of_edge, 2)
      return total + dx, (dw, dp)

    variables = dnodes[0], params, stats['edges'], weights, learned
    total, (dweights, dlearned) = lax.scan(edge, dfirst, variables)
    return None, (mixed.join((total, *rest)), dshared + dweights, dlearned)

  _, (dinputs, dweights, dlearned) = lax.scan(source, None, of_sources)
  _, params, stats, *_ = of_sources
  dparams = dlearned[0] if dlearned else _zeros(params)
  return dinputs, dparams, _zeros(stats), dweights, None


_quick_reduce.defvjp(_reduce_fwd, _reduce_bwd, symbolic_zeros=True)


def begin(form, inputs, nodes):
  """The bank that `walk` is given of the inputs of a cell, [I, B, H, W, C]; its nodes are zeros.

  `walk` shuffles each state, so inputs are taken back first and come out as they are.
  """
  states = mixed.shuffle(form, mixed.split(form, inputs), back=True)
  return padded(states, (0, nodes))


def padded(states, around):
  """States between so many zeros, (before, after), for a bank."""
  return jax.tree.map(lambda x: jnp.pad(x, [around] + [(0, 0)] * 4), states)


def _order(edges, states):
  """Tables: source [E] of each edge, and the edges that lead to a state from `first` or later ones.

  These are the edges from starts[first, state] on, and before ends[state].
  """
  sources, destinations = np.array(edges).T
  numbers = np.arange(states)
  sorted_by, first = destinations * states + sources, numbers[:, None]
  starts = np.searchsorted(sorted_by, numbers * states + first)
  return sources, starts, np.searchsorted(destinations, numbers, 'right')


def _shared_weights(edges, weights, states):
  # [destination, source, O], zero where there is no edge.
  sources, destinations = np.array(edges).T
  dense = jnp.zeros((states, states, weights.shape[1]), weights.dtype)
  return dense.at[destinations, sources].set(weights)


def _is_primal(leaf):
  return isinstance(leaf, custom_derivatives.CustomVJPPrimal)


def _as_array(gradient):
  is_zero = isinstance(gradient, custom_derivatives.SymbolicZero)
  return jnp.zeros(gradient.shape, gradient.dtype) if is_zero else gradient


def _values(primals):
  return jax.tree.map(lambda primal: primal.value, primals, is_leaf=_is_primal)


def _zeros(tree):
  return jax.tree.map(jnp.zeros_like, tree)


def part_of_dropout(dropout, number):
  """The (key, rate) of a cell or an edge of some number; None without dropout."""
  return dropout and (jax.random.fold_in(dropout[0], number), dropout[1])
