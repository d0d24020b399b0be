"""What a network costs: parameters, and multiply-adds counted without running it."""

import math

import jax
from jax.extend.core import jaxprs_in_params


def parameters(tree) -> int:
  """Number of values in a tree of arrays or of shapes (jax.ShapeDtypeStruct)."""
  return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def multiply_adds(fn, *args) -> int:
  """Multiply-adds of the convolutions and matrix products in fn(*args), for the batch in args.

  args: arrays or shapes (jax.ShapeDtypeStruct); a batch of one gives the count of an example.
  A call of a jitted function named depthwise_conv counts as the convolution it stands for, however
  it is computed inside. Products with padding count too, as they do in the published counts.
  Raises: ValueError for a loop whose number of rounds is not known before it runs.
  """
  return _of_jaxpr(jax.make_jaxpr(fn)(*args).jaxpr)


def _of_jaxpr(jaxpr) -> int:
  return sum(_of_equation(equation) for equation in jaxpr.eqns)


def _of_equation(equation) -> int:
  inside = [_of_jaxpr(jaxpr) for jaxpr in jaxprs_in_params(equation.params)]
  match equation.primitive.name:
    case 'conv_general_dilated':
      return _conv(equation)
    case 'dot_general':
      return _dot(equation)
    case 'jit' | 'pjit' if equation.params['name'] == 'depthwise_conv':
      return _depthwise(equation)
    case 'scan':
      return equation.params['length'] * sum(inside)
    case 'cond':
      return max(inside)  # one branch runs
    case 'while' if sum(inside):
      raise ValueError('multiply_adds cannot count a while loop; allowed: lax.scan')
  return sum(inside)


def _conv(equation) -> int:
  kernel = equation.invars[1].aval.shape
  features = kernel[equation.params['dimension_numbers'].rhs_spec[0]]
  return equation.outvars[0].aval.size * math.prod(kernel) // features


def _dot(equation) -> int:
  (contracted, _), _ = equation.params['dimension_numbers']
  left = equation.invars[0].aval.shape
  return equation.outvars[0].aval.size * math.prod(left[axis] for axis in contracted)


def _depthwise(equation) -> int:
  height, width = equation.invars[1].aval.shape[-3:-1]  # kernel [..., kh, kw, C]
  return equation.outvars[0].aval.size * height * width
