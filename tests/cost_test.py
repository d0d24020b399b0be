"""Parameter and multiply-add counts: small functions by hand, and all published networks."""

import functools

import jax
import jax.numpy as jnp
import pytest

from unrealnas_jax import cost, depthwise, genotype
from unrealnas_jax.network import Network


def shape(*sizes):
  return jax.ShapeDtypeStruct(sizes, jnp.float32)


def conv(x, kernel, groups=1):
  return jax.lax.conv_general_dilated(
    x,
    kernel,
    (2, 2),
    'SAME',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    feature_group_count=groups,
  )


def test_parameters_adds_sizes_of_all_leaves():
  tree = {'a': jnp.zeros((2, 3)), 'b': [shape(4), shape()]}
  assert cost.parameters(tree) == 6 + 4 + 1


@pytest.mark.parametrize(
  ('fn', 'shapes', 'expected'),
  [
    (jnp.matmul, [(2, 3), (3, 5)], 2 * 3 * 5),
    # 2 images of 4x4 from 8x8 at stride 2, 6 features from 3x3 pixels of 4 channels
    (conv, [(2, 8, 8, 4), (3, 3, 4, 6)], 2 * 4 * 4 * 6 * 3 * 3 * 4),
    # the same in 2 groups: each feature sees half of the channels
    (functools.partial(conv, groups=2), [(2, 8, 8, 4), (3, 3, 2, 6)], 2 * 4 * 4 * 6 * 3 * 3 * 2),
    (depthwise.depthwise_conv, [(1, 6, 6, 5), (3, 3, 5)], 6 * 6 * 5 * 3 * 3),
    (jnp.add, [(2, 3), (2, 3)], 0),
  ],
  ids=['matmul', 'conv', 'grouped', 'depthwise', 'add'],
)
def test_one_operation_by_hand(fn, shapes, expected):
  assert cost.multiply_adds(fn, *(shape(*sizes) for sizes in shapes)) == expected


def product(x):
  return x @ x  # [3, 3]: 27 multiply-adds


@jax.custom_vjp
def product_with_own_gradient(x):
  return product(x)


product_with_own_gradient.defvjp(lambda x: (product(x), x), lambda x, g: (g @ x,))


@pytest.mark.parametrize(
  ('fn', 'expected'),
  [
    (jax.jit(product), 27),
    (jax.checkpoint(product), 27),
    (product_with_own_gradient, 27),
    (lambda x: jax.lax.scan(lambda carry, _: (product(carry), None), x, length=4), 4 * 27),
    (lambda x: jax.lax.cond(x[0, 0] > 0, product, lambda x: product(product(x)), x), 2 * 27),
  ],
  ids=['jit', 'checkpoint', 'custom_vjp', 'scan', 'cond'],
)
def test_counts_inside_calls_and_loops(fn, expected):
  assert cost.multiply_adds(fn, shape(3, 3)) == expected


def test_depthwise_conv_counts_as_convolution_however_it_is_computed():
  @jax.jit
  def depthwise_conv(x, kernel):
    return x * kernel[0, 0] + (x @ x[0, 0].T)[..., :1]  # a product that must not be counted

  with jax.numpy_rank_promotion('allow'):
    count = cost.multiply_adds(depthwise_conv, shape(1, 4, 4, 5), shape(3, 7, 5))
    edges = cost.multiply_adds(jax.vmap(depthwise_conv), shape(2, 1, 4, 4, 5), shape(2, 3, 7, 5))
  assert count == 4 * 4 * 5 * 3 * 7
  assert edges == 2 * count


def test_while_loop_is_refused_only_if_it_multiplies():
  def loop(body):
    return lambda x: jax.lax.while_loop(lambda x: x[0, 0] > 0, body, x)

  assert cost.multiply_adds(loop(lambda x: x - 1), shape(3, 3)) == 0
  with pytest.raises(ValueError, match='while loop'):
    cost.multiply_adds(loop(product), shape(3, 3))


def counts(published, size, **settings):
  """(parameters, those of the classifier, multiply-adds) without the auxiliary head; one trace."""
  network = Network(published, draw=jnp.zeros, **settings)  # random numbers take time to trace
  parameters = []

  def run(key, images):
    (logits, _), variables = network.init_with_output(key, images, train=False)
    parameters.append(cost.parameters(variables['params']))
    parameters.append(cost.parameters(variables['params']['classifier']))
    return logits

  macs = cost.multiply_adds(run, jax.random.key(0), shape(1, size, size, 3))
  return *parameters, macs


@pytest.mark.parametrize('name', genotype.PUBLISHED)
def test_published_cifar_networks(name):
  published, record = genotype.PUBLISHED[name], genotype.RECORDS[name]['counts']
  parameters, classifier, macs = counts(published, 32, channels=36, cells=20, classes=10)
  assert parameters == record['cifar10_C36_L20_params']
  assert macs == record['cifar10_C36_L20_conv_fc_macs']
  # 100 classes make nothing but the classifier larger, ten times
  assert parameters + 9 * classifier == record['cifar100_C36_L20_params']


@pytest.mark.parametrize('name', genotype.PUBLISHED)
def test_published_imagenet_networks(name):
  published, record = genotype.PUBLISHED[name], genotype.RECORDS[name]['counts']
  settings = {'channels': record['imagenet_L14_width'], 'cells': 14, 'stem': 'imagenet'}
  parameters, _, macs = counts(published, 224, classes=1000, **settings)
  assert parameters == record['imagenet_L14_params']
  assert macs == record['imagenet_L14_conv_fc_macs']


def test_hundred_classes_make_only_the_classifier_larger():
  record = genotype.RECORDS['DARTS_V2']['counts']
  settings = {'channels': 36, 'cells': 20, 'classes': 100}
  parameters, _, _ = counts(genotype.PUBLISHED['DARTS_V2'], 32, **settings)
  assert parameters == record['cifar100_C36_L20_params']
