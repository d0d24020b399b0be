"""Images of a trained generator, made inside the compiled step; its weights do not change."""

import functools
import io
import json
import zipfile
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from unrealnas_jax import checkpoint, metrics
from unrealnas_jax.data.real import standardise
from unrealnas_jax.data.source import Source, example_keys, random_label, read_indices
from unrealnas_jax.gan import Generator

FILE = 'generator.json'
ROWS = 'generator_labels.npz'  # beside it, where images have several labels; see `conditions`
LABELS = ('condition', 'random')
ALLOWED = 'the workdir of a finished run of configs/train_generator.py'


class Description(NamedTuple):
  """What a generator is but for its weights, as generator.json holds it.

  latent: length of its noise vector; channels, classes, shape: as in gan.Generator.
  mean, std: [C] of the real images it learned from, scaled to 0..1.
  several: whether images have several of the classes, and not one.
  """

  dataset: str
  latent: int
  channels: int
  classes: int
  shape: tuple[int, int, int]
  mean: tuple[float, ...]
  std: tuple[float, ...]
  several: bool = False


def make(config, dataset=None) -> Source:
  """source.examples images of the generator that source.generator holds; `dataset` is not used.

  source.labels: 'condition', the class or labels that an image was made of, or 'random', as
  source.random_label has them. The images are the same with both.
  Raises ValueError: as `describe`, `restore` and `read_conditions`.
  """
  del dataset
  source = config.source
  description = describe(source.generator)
  variables = restore(source.generator, description)
  rows = read_conditions(source.generator, description)
  make_images = functools.partial(
    from_variables, description, variables, rows, source.examples, config.dtype
  )
  if source.labels == 'condition':
    return make_images()
  relabel = functools.partial(random_label, classes=source.classes, rate=source.label_rate)
  return make_images(relabel)._replace(classes=source.classes)


def from_variables(description, variables, rows, examples, dtype, relabel=None) -> Source:
  """A source of `examples` images of a generator, labelled by their class or labels.

  variables: of gan.Generator, {'params', 'batch_stats'}, as numpy arrays: constants of the step
  rows: as `conditions` gives them: None, or an image is made of one of these at random
  relabel: (label key) -> the label that is shown instead
  """
  network = make_network(description, dtype)
  mean, std = np.float32(description.mean), np.float32(description.std)

  def draw_condition(key):
    if rows is None:
      return random_label(key, description.classes, rate=0)
    return jnp.asarray(rows)[random_label(key, len(rows), rate=0)].astype(jnp.int32)

  def fn(key, batch):
    def draw(index):
      image_key, label_key = example_keys(key, index)
      noise_key, class_key = (jax.random.fold_in(image_key, number) for number in (0, 1))
      noise = jax.random.normal(noise_key, (description.latent,))
      condition = draw_condition(class_key)
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


def first_inputs(description):
  """(noise [1, Z], labels [1] or [1, K]) of zeros, by which a network is initialised."""
  labels = (1, description.classes) if description.several else 1
  return jnp.zeros((1, description.latent)), jnp.zeros(labels, jnp.int32)


def conditions(dataset):
  """The labels of all training images, uint8 [N, K], of which a generator's images are made.

  Whole rows, since labels go together; what is not known counts as not there. None where each image
  has one class: classes are drawn evenly.
  """
  return (dataset.train.labels() == 1).astype(np.uint8) if dataset.names else None


def save(workdir, description, rows=None):
  """Writes what `describe` and `read_conditions` read."""
  folder = epath.Path(workdir)
  if rows is not None:
    with io.BytesIO() as file:
      np.savez_compressed(file, rows=rows)
      metrics.write_whole(folder / ROWS, file.getvalue())
  metrics.write_json(folder / FILE, description._asdict())


def read_conditions(workdir, description):
  """The rows that `conditions` gave for a generator; ValueError: the file is damaged."""
  if not description.several:
    return None
  try:
    with np.load(io.BytesIO((epath.Path(workdir) / ROWS).read_bytes())) as file:
      rows = file['rows']
    if not len(rows) or rows.shape[1:] != (description.classes,):
      raise ValueError(f'shape {list(rows.shape)} for {description.classes} labels')
  except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
    raise ValueError(
      f'source.generator = {workdir!r}: {ROWS} is damaged ({error}); allowed: {ALLOWED}'
    ) from error
  return rows


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
    description = Description(**{**values, **lists})
  except (OSError, ValueError, TypeError, AttributeError) as error:
    raise ValueError(f'{problem}: {FILE} is damaged ({error}); allowed: {ALLOWED}') from error
  if description.several and not (folder / ROWS).exists():
    raise ValueError(f'{problem} has lost {ROWS}; allowed: {ALLOWED}')
  return description


def restore(workdir, description) -> Any:
  """The averaged weights of the newest checkpoint, {'params', 'batch_stats'} as numpy arrays.

  Raises ValueError: there is no readable checkpoint, or it is that of another generator.
  """
  found = checkpoint.read_newest(workdir, 'generator', lambda stored: stored)
  if found is None:
    raise ValueError(f'source.generator = {workdir!r} holds no checkpoint; allowed: {ALLOWED}')
  _, flat = found
  init = functools.partial(make_network(description).init, train=False)
  like = jax.eval_shape(init, jax.random.key(0), *first_inputs(description))

  def take(path, wanted):
    name = f'ema/{jax.tree_util.keystr(path, simple=True, separator="/")}'
    if name not in flat or flat[name].shape != wanted.shape:
      raise ValueError(
        f'source.generator = {workdir!r}: its checkpoint has no {name} of shape '
        f'{list(wanted.shape)}; allowed: {ALLOWED}'
      )
    return np.asarray(flat[name])

  return jax.tree_util.tree_map_with_path(take, like)
