"""Layers of the discrete network as linen modules."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from unrealnas_jax import ops
from unrealnas_jax.dense import conv
from unrealnas_jax.depthwise import depthwise_conv


@dataclasses.dataclass(frozen=True)
class Mode:
  """How layers compute: in training or not, in which dtype, averaging over which axis, and how
  they draw initial weights."""

  train: bool
  dtype: Any
  axis_name: str | None
  draw: Callable | None = None

  def conv_init(self, key, shape):
    """Initial weights as linen asks for them, drawn from its key unless there is a draw."""
    return ops.conv_init(self.draw or functools.partial(uniform, key), shape)


def uniform(key, shape, dtype=jnp.float32):
  """U(-1, 1)"""
  return jax.random.uniform(key, shape, dtype, -1)


class SeparableConv(nn.Module):
  """Two depthwise blocks in a row, the first with the stride."""

  kernel: int
  features: int
  stride: int
  mode: Mode

  @nn.compact
  def __call__(self, x):
    for number, stride in enumerate((self.stride, 1)):
      name = f'block_{number}'
      x = DepthwiseBlock(self.kernel, 1, self.features, stride, self.mode, name=name)(x)
    return x


class DepthwiseBlock(nn.Module):
  """ReLU, depthwise convolution, pointwise convolution, norm."""

  kernel: int
  dilation: int
  features: int
  stride: int
  mode: Mode

  @nn.compact
  def __call__(self, x):
    shape = (self.kernel, self.kernel, x.shape[-1])
    kernel = self.param('depthwise', self.mode.conv_init, shape).astype(self.mode.dtype)
    x = depthwise_conv(nn.relu(x), kernel, self.stride, self.dilation)
    x = Conv(self.features, (1, 1), self.mode, name='pointwise')(x)
    return BatchNorm(self.mode, name='norm')(x)


class RowColumnConv(nn.Module):
  """ReLU, a 1x7 and a 7x1 convolution, norm: conv_7x1_1x7, with the official order of the two."""

  features: int
  stride: int
  mode: Mode

  @nn.compact
  def __call__(self, x):
    x = Conv(self.features, (1, 7), self.mode, (1, self.stride), name='conv_0')(nn.relu(x))
    x = Conv(self.features, (7, 1), self.mode, (self.stride, 1), name='conv_1')(x)
    return BatchNorm(self.mode, name='norm')(x)


class FactorizedReduce(nn.Module):
  """Halves height and width: pointwise convolutions on even and on odd pixels, norm of both."""

  features: int
  mode: Mode

  @nn.compact
  def __call__(self, x):
    even, odd = ops.alternate_pixels(nn.relu(x))
    half = self.features // 2
    even = Conv(half, (1, 1), self.mode, name='conv_0')(even)
    odd = Conv(self.features - half, (1, 1), self.mode, name='conv_1')(odd)
    return BatchNorm(self.mode, name='norm')(jnp.concatenate([even, odd], axis=-1))


class ReluConvNorm(nn.Module):
  """ReLU, convolution, norm."""

  features: int
  mode: Mode
  kernel: tuple[int, int] = (1, 1)
  strides: tuple[int, int] = (1, 1)

  @nn.compact
  def __call__(self, x):
    x = Conv(self.features, self.kernel, self.mode, self.strides, name='conv')(nn.relu(x))
    return BatchNorm(self.mode, name='norm')(x)


class Conv(nn.Module):
  """Convolution without bias; padding is (k - 1) // 2 on each side unless it is given."""

  features: int
  kernel: tuple[int, int]
  mode: Mode
  strides: tuple[int, int] = (1, 1)
  padding: tuple[int, int] | None = None

  @nn.compact
  def __call__(self, x):
    shape = (*self.kernel, x.shape[-1], self.features)
    kernel = self.param('kernel', self.mode.conv_init, shape)
    return conv(x, kernel.astype(self.mode.dtype), self.strides, self.padding)


class BatchNorm(nn.Module):
  """ops.batch_norm with learned scale and bias, statistics in the collection batch_stats."""

  mode: Mode

  @nn.compact
  def __call__(self, x):
    shape = x.shape[-1:]
    mean = self.variable('batch_stats', 'mean', jnp.zeros, shape)
    var = self.variable('batch_stats', 'var', jnp.ones, shape)
    scale = self.param('scale', nn.initializers.ones, shape)
    bias = self.param('bias', nn.initializers.zeros, shape)
    stats = {'mean': mean.value, 'var': var.value}
    y, seen = ops.batch_norm(x, stats, self.mode.train, scale, bias, self.mode.axis_name)
    if self.mode.train and not self.is_initializing():
      moved = ops.running(stats, seen)
      mean.value, var.value = moved['mean'], moved['var']
    return y


class Linear(nn.Module):
  """x @ kernel + bias in float32, both U(+-1/sqrt(fan_in)) at first as in PyTorch."""

  features: int
  mode: Mode

  @nn.compact
  def __call__(self, x):
    x, inputs = x.astype(jnp.float32), x.shape[-1]
    kernel = self.param('kernel', self.mode.conv_init, (inputs, self.features))
    bias = self.param('bias', self._init_bias, inputs)
    return x @ kernel + bias[None]

  def _init_bias(self, key, inputs):
    draw = self.mode.draw or functools.partial(uniform, key)
    return draw((self.features,)) / math.sqrt(inputs)


def _function(apply):
  """A layer without parameters, apply(x, stride), made as the modules are."""
  return lambda features, stride, mode, name: lambda x: apply(x, stride)


def _skip(features, stride, mode, name):
  return FactorizedReduce(features, mode, name=name) if stride == 2 else lambda x: x


POOLS = {'max_pool_3x3': _function(ops.max_pool), 'avg_pool_3x3': _function(ops.avg_pool)}
# operation -> (features, stride, mode, name of the layer) -> layer
OPERATIONS = {
  'none': _function(lambda x, stride: jnp.zeros_like(x[:, ::stride, ::stride])),
  **POOLS,
  'skip_connect': _skip,
  'sep_conv_3x3': functools.partial(SeparableConv, 3),
  'sep_conv_5x5': functools.partial(SeparableConv, 5),
  'dil_conv_3x3': functools.partial(DepthwiseBlock, 3, 2),
  'dil_conv_5x5': functools.partial(DepthwiseBlock, 5, 2),
  'sep_conv_7x7': functools.partial(SeparableConv, 7),
  'conv_7x1_1x7': RowColumnConv,
}
