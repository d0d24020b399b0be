"""Batches computed in parts: the average of them, the same on any devices, in bounded memory."""

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

IMAGE = 3 * 16 * 16 * 4  # bytes
# Settings of the supernet, shapes of images and labels.
HEADS = {
  'labels': ({}, (8, 6, 6, 3), (8, 4)),
  'tiles': ({'tiles': 2}, (8, 2, 6, 6, 3), (8,)),
  'pixels': ({'per_pixel': True}, (8, 6, 6, 3), (8, 6, 6)),
}


def examples(images, labels):
  """Noise, and classes 0 to 3 or multi-hot labels of which a third are not known."""
  low, high = (-1, 2) if labels[1:] == (4,) else (0, 4)
  return tiny.noise(*images), jnp.int32(np.random.default_rng(0).integers(low, high, labels))


def differentiate(net, images, labels, **options):
  """((loss, (stats, logits)), gradients of params and mixing weights)"""
  params, stats = tiny.variables(net)

  def loss(params, weights):
    return net.loss(params, stats, weights, images, labels, **options)

  return jax.value_and_grad(loss, (0, 1), has_aux=True)(params, tiny.mixing(net.space))


def averaged(parts):
  """The average of what two parts gave, ((loss, (stats, logits)), gradients), logits in order."""
  (values, (stats, logits)), gradients = jax.tree.map(lambda *leaves: jnp.stack(leaves), *parts)
  value, stats, gradients = jax.tree.map(lambda x: x.mean(0), (values, stats, gradients))
  return (value, (stats, logits.swapaxes(0, 1).reshape(-1, *logits.shape[2:]))), gradients


@pytest.mark.parametrize('head', HEADS)
def test_loss_gradients_and_statistics_are_the_average_of_the_parts(head):
  changes, *shapes = HEADS[head]
  part, found = (
    jax.jit(functools.partial(differentiate, tiny.net(cells=1, **changes, microbatch=size)))
    for size in (0, 4)
  )
  images, labels = examples(*shapes)
  parts = [part(images[n::2], labels[n::2]) for n in (0, 1)]
  tiny.assert_trees_close(found(images, labels), averaged(parts), 1e-4)
  assert jnp.abs(parts[0][0][0] - parts[1][0][0]) > 1e-3


def test_in_eval_mode_parts_change_nothing():
  batch = examples(*HEADS['labels'][1:])
  parts, whole = (
    jax.jit(functools.partial(differentiate, tiny.net(cells=1, microbatch=size), train=False))
    for size in (2, 0)
  )
  tiny.assert_trees_close(parts(*batch), whole(*batch), 1e-4)


def test_a_part_of_the_whole_batch_is_the_program_without_parts():
  batch = examples(*HEADS['labels'][1:])
  programs = [
    jax.jit(functools.partial(differentiate, tiny.net(cells=1, microbatch=size)))
    .lower(*batch)
    .as_text()
    for size in (8, 0, 4)
  ]
  assert programs[0] == programs[1] != programs[2]


def test_second_derivatives_are_the_average_of_the_parts():
  """Of the loss by mixing weights and then along a direction of the params, as second order has."""
  images, labels = examples((8, 6, 6, 3), (8,))

  def product(net, images, labels):
    params, stats = tiny.variables(net)

    def gradient(params):
      def loss(weights):
        return net.loss(params, stats, weights, images, labels, twice=True)[0]

      return jax.grad(loss)(tiny.mixing(net.space))

    return jax.jvp(gradient, (params,), (jax.tree.map(jnp.cos, params),))[1]

  part, found = (
    jax.jit(functools.partial(product, tiny.net(cells=1, microbatch=n))) for n in (0, 4)
  )
  parts = [part(images[n::2], labels[n::2]) for n in (0, 1)]
  mean = jax.tree.map(lambda *tables: sum(tables) / 2, *parts)
  tiny.assert_trees_close(found(images, labels), mean, 1e-3)


def test_any_number_of_devices_computes_the_same_parts():
  """Also with values dropped, which are others in each part."""
  batch = examples((8, 6, 6, 3), (8,))
  net = tiny.net(cells=1, microbatch=4, axis_name=AXIS, skip_dropout=True)

  def run(images, labels):
    dropout = jax.random.key(2), 0.4
    (value, (stats, logits)), gradients = differentiate(net, images, labels, dropout=dropout)
    return jax.lax.pmean((value, stats, gradients), AXIS), logits

  def over(devices):
    rows = [x.reshape(devices, -1, *x.shape[1:]) for x in batch]
    shared, logits = jax.jit(jax.vmap(run, axis_name=AXIS, out_axes=(None, 0)))(*rows)
    return shared, logits.reshape(8, 4)

  tiny.assert_trees_close(over(4), over(1), 1e-4)


def test_parts_are_dealt_out_and_numbered():
  def loss(number, x):
    return x.mean(), (number, x + 10 * number[None])

  value, (number, x) = microbatch.mean_loss(loss, (jnp.arange(6.0),), 2)
  assert value == 2.5
  assert number == 1  # the mean of 0, 1 and 2
  np.testing.assert_array_equal(x, [0, 11, 22, 3, 14, 25])


def test_memory_is_that_of_a_part():
  """What grows with the batch is its images, dealt out."""

  def memory(size, batch):
    run = jax.jit(lambda *batch: differentiate(tiny.net(cells=1, microbatch=size), *batch)[1])
    compiled = run.lower(*examples((batch, 16, 16, 3), (batch,))).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  small, large = memory(4, 8), memory(4, 64)
  assert large - small < 1.5 * (64 - 8) * IMAGE
  assert memory(0, 64) > 2 * large


# Two edges a cell, a convolution and an identity.
CELL = (('dil_conv_3x3', 0), ('skip_connect', 1))
GENOTYPE = Genotype(CELL, (2,), CELL, (2,))


def retraining(size=0, cells=3, auxiliary=0.0, remat=False):
  """((params, *batch) -> (loss, (stats, logits)) of a retraining step, params)"""
  config = changed()
  config.retrain.update(dict(microbatch=size, auxiliary=auxiliary, label_smoothing=0.1))
  network = Network(GENOTYPE, 4, cells, 4, auxiliary=auxiliary > 0, remat=remat)
  image = jnp.zeros((1, 8, 8, 3))
  shapes = jax.eval_shape(functools.partial(network.init, train=False), jax.random.key(0), image)
  params = jax.tree.map(lambda x: 0.4 * tiny.noise(*x.shape, seed=x.size), shapes['params'])
  stats = jax.tree.map(lambda x: jnp.ones(x.shape), shapes['batch_stats'])

  def loss(params, *batch):
    return retrain.loss(params, stats, batch, network, config.retrain, jnp.float32(0.3))

  return loss, params


def retraining_batch(batch, size):
  keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(1), jnp.arange(batch))
  return *examples((batch, size, size, 3), (batch,)), keys


def test_a_retraining_step_takes_the_average_of_the_parts():
  part, found = (
    jax.jit(functools.partial(jax.value_and_grad(loss, has_aux=True), params))
    for loss, params in (retraining(size, auxiliary=0.4) for size in (0, 4))
  )
  batch = retraining_batch(8, 8)
  parts = [part(*(x[n::2] for x in batch)) for n in (0, 1)]
  tiny.assert_trees_close(found(*batch), averaged(parts), 1e-4)


def test_memory_of_a_retraining_step_is_that_of_a_part():
  sizes = []
  for size, batch in ((4, 8), (4, 64), (0, 64)):
    loss, params = retraining(size)
    run = jax.jit(jax.grad(loss, has_aux=True)).lower(params, *retraining_batch(batch, 16))
    sizes.append(run.compile().memory_analysis().temp_size_in_bytes)
  assert sizes[1] - sizes[0] < 1.5 * (64 - 8) * IMAGE
  assert sizes[2] > 2 * sizes[1]


def test_cells_computed_twice_give_the_same_and_keep_less():
  """What is kept is read off the traced program: on a CPU XLA computes nothing twice."""
  batch, found, kept = retraining_batch(4, 8), [], []
  for remat in (True, False):
    loss, params = retraining(cells=6, remat=remat)
    found.append(jax.jit(jax.value_and_grad(loss, has_aux=True))(params, *batch))

    def back(params, loss=loss):
      return jax.vjp(lambda params: loss(params, *batch), params, has_aux=True)[1]

    leaves = jax.tree.leaves(jax.eval_shape(back, params))
    kept.append(sum(leaf.size for leaf in leaves if leaf.shape[:1] == (4,)))
  tiny.assert_trees_close(*found, 1e-4)
  assert 0 < kept[0] < 0.3 * kept[1]


@pytest.mark.parametrize('phase', ['search', 'retrain'])
def test_parts_divide_the_batch_and_are_divided_by_the_devices(phase):
  config = changed()
  config[phase].batch = 24
  for size in (0, 4, 8, 12, 24):
    config[phase].microbatch = size
    config_lib.validate(config, 4)
  for size in (2, 6, 16, 48):
    config[phase].microbatch = size
    with pytest.raises(ValueError, match=f'^{phase}.microbatch = {size}; .* 4: 4, 8, 12, 24$'):
      config_lib.validate(config, 4)
