"""Batches computed in parts: the average of the parts, the same on any devices, in bounded memory."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from changed_config import changed

from unrealnas_jax import config as config_lib
from unrealnas_jax import microbatch, retrain
from unrealnas_jax.genotype import Genotype
from unrealnas_jax.network import Network
from unrealnas_jax.parallel import AXIS

HEADS = {
  'classes': ({}, (8, 8, 8, 3), (8,)),
  'labels': ({}, (8, 8, 8, 3), (8, 4)),
  'tiles': ({'tiles': 2}, (8, 2, 6, 6, 3), (8,)),
  'pixels': ({'per_pixel': True}, (8, 8, 8, 3), (8, 8, 8)),
}


def examples(images, labels, seed=0):
  """Noise, and classes 0 to 3 or multi-hot labels of which a third are not known."""
  low, high = (-1, 2) if labels[1:] == (4,) else (0, 4)
  rng = np.random.default_rng(seed)
  return tiny.noise(*images, seed=seed), jnp.asarray(rng.integers(low, high, labels), jnp.int32)


def differentiate(net, images, labels, **options):
  """((loss, (stats, logits)), gradients of params and mixing weights)"""
  params, stats = tiny.variables(net)

  def loss(params, weights):
    return net.loss(params, stats, weights, images, labels, **options)

  return jax.value_and_grad(loss, (0, 1), has_aux=True)(params, tiny.mixing(net.space))


def averaged(parts):
  """The average of what `differentiate` gives of parts, their logits dealt back in order."""
  (values, (stats, logits)), gradients = jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)
  mean = jax.tree.map(lambda x: x.mean(0), (values, stats, gradients))
  return (mean[0], (mean[1], logits.swapaxes(0, 1).reshape(-1, *logits.shape[2:]))), mean[2]


@pytest.mark.parametrize('head', HEADS)
def test_loss_gradients_and_statistics_are_the_average_of_the_parts(head):
  changes, *shapes = HEADS[head]
  net, plain = (tiny.net(**changes, microbatch=size) for size in (4, 0))
  images, labels = examples(*shapes)
  run = jax.jit(functools.partial(differentiate, plain))
  parts = [run(images[n::2], labels[n::2]) for n in (0, 1)]
  found = jax.jit(functools.partial(differentiate, net))(images, labels)
  tiny.assert_trees_close(found, averaged(parts), 1e-4)
  assert jnp.abs(parts[0][0][0] - parts[1][0][0]) > 1e-3


def test_in_eval_mode_parts_change_nothing():
  images, labels = examples(*HEADS['labels'][1:])
  found, expected = (
    jax.jit(functools.partial(differentiate, tiny.net(microbatch=size), train=False))(
      images, labels
    )
    for size in (2, 0)
  )
  tiny.assert_trees_close(found, expected, 1e-4)


def test_a_part_of_the_whole_batch_is_the_program_without_parts():
  programs = [
    jax.jit(functools.partial(differentiate, tiny.net(microbatch=size))).lower(
      *examples(*HEADS['classes'][1:])
    )
    for size in (8, 0)
  ]
  assert programs[0].as_text() == programs[1].as_text()


def test_second_derivatives_are_the_average_of_the_parts():
  """Of the weights' gradient along a direction of the params, as second order takes it."""
  images, labels = examples((8, 6, 6, 3), (8,))

  def product(net, images, labels):
    params, stats = tiny.variables(net)
    direction = jax.tree.map(jnp.cos, params)

    def gradient(params):
      def loss(weights):
        return net.loss(params, stats, weights, images, labels, twice=True)[0]

      return jax.grad(loss)(tiny.mixing(net.space))

    return jax.jvp(gradient, (params,), (direction,))[1]

  plain, net = (jax.jit(functools.partial(product, tiny.net(microbatch=n))) for n in (0, 4))
  parts = [plain(images[n::2], labels[n::2]) for n in (0, 1)]
  mean = jax.tree.map(lambda *tables: sum(tables) / 2, *parts)
  tiny.assert_trees_close(net(images, labels), mean, 1e-3)


def test_any_number_of_devices_computes_the_same_parts():
  """Also with values dropped, which are others in each part."""
  space = tiny.TINY
  images, labels = examples((8, 6, 6, 3), (8,))
  net = tiny.net(space=space, microbatch=4, axis_name=AXIS, skip_dropout=True)

  def run(images, labels):
    dropout = jax.random.key(2), 0.4
    (value, (stats, logits)), gradients = differentiate(net, images, labels, dropout=dropout)
    return jax.lax.pmean((value, stats, gradients), AXIS), logits

  def over(devices):
    rows = [x.reshape(devices, -1, *x.shape[1:]) for x in (images, labels)]
    shared, logits = jax.jit(jax.vmap(run, axis_name=AXIS, out_axes=(None, 0)))(*rows)
    return shared, logits.reshape(8, 4)

  tiny.assert_trees_close(over(4), over(1), 1e-4)


def test_parts_draw_other_numbers():
  def loss(number, x):
    return x.mean(), (number, x + number[None] if x.ndim == number.ndim + 1 else x)

  value, (number, x) = microbatch.mean_loss(loss, (jnp.arange(6.0),), 2)
  assert value == 2.5
  assert number == 1  # the mean of 0, 1 and 2
  np.testing.assert_array_equal(x, [0, 2, 4, 3, 5, 7])


def memory(net, batch, **options):
  """Bytes that a compiled gradient of a supernet needs beside its inputs and outputs."""
  arguments = examples((batch, 16, 16, 3), (batch,))
  run = jax.jit(lambda *examples: differentiate(net, *examples, **options)[1])
  return run.lower(*arguments).compile().memory_analysis().temp_size_in_bytes


@pytest.mark.parametrize('options', [{}, {'twice': True}], ids=['quick', 'twice'])
def test_memory_is_that_of_a_part(options):
  """What grows with the batch is its images in parts, of 3 KiB each."""
  small, large = (memory(tiny.net(microbatch=4), batch, **options) for batch in (8, 64))
  images = 3 * 16 * 16 * 4
  assert large - small < 1.5 * (64 - 8) * images
  assert memory(tiny.net(), 64, **options) > 2 * large
