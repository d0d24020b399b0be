"""Images of a trained generator, made inside the compiled step; its weights do not change."""

import functools
import json
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from unrealnas_jax import checkpoint
from unrealnas_jax.data.real import standardise
from unrealnas_jax.data.source import Source, example_keys, random_label, read_indices
from unrealnas_jax.gan import Generator

FILE = 'generator.json'
LABELS = ('condition', 'random')
ALLOWED = 'the workdir of a finished run of configs/train_generator.py'


class Description(NamedTuple):
  """What a generator is but for its weights, as generator.json holds it.

  latent: length of its noise vector; channels, classes, shape: as in gan.Generator.
  mean, std: [C] of the real images it learned from, scaled to 0..1.
  """

  dataset: str
  latent: int
  channels: int
  classes: int
  shape: tuple[int, int, int]
  mean: tuple[float, ...]
  std: tuple[float, ...]


def make(config, dataset=None) -> Source:
  """source.examples images of the generator that source.generator holds; `dataset` is not used.

  source.labels: 'condition', the class that an image was made of, or 'random', one of
  source.classes at random. The images are the same with both.
  Raises ValueError: as `describe` and `restore`.
  """
  del dataset
  source = config.source
  description = describe(source.generator)
  variables = restore(source.generator, description)
  if source.labels == 'condition':
    return from_variables(description, variables, source.examples, config.dtype)
  relabel = functools.partial(random_label, classes=source.classes, rate=source.label_rate)
  made = from_variables(description, variables, source.examples, config.dtype, relabel)
  return made._replace(classes=source.classes)


def from_variables(description, variables, examples, dtype, relabel=None) -> Source:
  """A source of `examples` images of a generator, labelled by their class.

  variables: of gan.Generator, {'params', 'batch_stats'}, as numpy arrays: constants of the step
  relabel: (label key) -> the label that is shown instead
  """
  network = make_network(description, dtype)
  mean, std = np.float32(description.mean), np.float32(description.std)

  def fn(key, batch):
    def draw(index):
      image_key, label_key = example_keys(key, index)
      noise_key, class_key = (jax.random.fold_in(image_key, number) for number in (0, 1))
      noise = jax.random.normal(noise_key, (description.latent,))
      condition = random_label(class_key, description.classes, rate=0)
      label = relabel(label_key) if relabel else condition
      return noise, condition, label

    noise, conditions, labels = jax.vmap(draw)(batch['index'])
    images = network.apply(variables, noise, conditions, train=False)
    return standardise((images + 1) / 2, mean, std), labels

  shape, classes = description.shape, description.classes
  source = Source('generated', examples, shape, classes, read_indices, fn, pad_value=-mean / std)
  return source._replace(colours=(mean, std))


def make_network(description, dtype='float32', axis_name=None):
  """The gan.Generator of a description."""
  return Generator(
    channels=description.channels,
    classes=description.classes,
    shape=description.shape,
    dtype=jnp.dtype(dtype),
    axis_name=axis_name,
  )


def describe(workdir) -> Description:
  """The generator that a finished training left in workdir; ValueError if none has."""
  folder = epath.Path(workdir)
  problem = f'source.generator = {workdir!r}'
  if not workdir or not (folder / FILE).exists():
    raise ValueError(f'{problem} holds no generator; allowed: {ALLOWED}')
  if not (folder / 'result.json').exists():
    raise ValueError(f'{problem} is a training that has not ended; allowed: {ALLOWED}')
  try:
    values = json.loads((folder / FILE).read_text())
    lists = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
    return Description(**{**values, **lists})
  except (OSError, ValueError, TypeError, AttributeError) as error:
    raise ValueError(f'{problem}: {FILE} is damaged ({error}); allowed: {ALLOWED}') from error


def restore(workdir, description) -> Any:
  """The averaged weights of the newest checkpoint, {'params', 'batch_stats'} as numpy arrays.

  Raises ValueError: there is no readable checkpoint, or it is that of another generator.
  """
  found = checkpoint.read_newest(workdir, 'generator', lambda stored: stored)
  if found is None:
    raise ValueError(f'source.generator = {workdir!r} holds no checkpoint; allowed: {ALLOWED}')
  _, flat = found
  like = jax.eval_shape(
    lambda key: make_network(description).init(
      key, jnp.zeros((1, description.latent)), jnp.zeros(1, jnp.int32), train=False
    ),
    jax.random.key(0),
  )

  def take(path, wanted):
    name = f'ema/{jax.tree_util.keystr(path, simple=True, separator="/")}'
    if name not in flat or flat[name].shape != wanted.shape:
      raise ValueError(
        f'source.generator = {workdir!r}: its checkpoint has no {name} of shape '
        f'{list(wanted.shape)}; allowed: {ALLOWED}'
      )
    return np.asarray(flat[name])

  return jax.tree_util.tree_map_with_path(take, like)
