"""Any image-classification data set of TensorFlow Datasets, and CheXpert, from array_record files.

Reading needs no TensorFlow; preparing the files does, once (`prepare_command`).
"""

import functools
import io
import json
import shlex
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from absl import logging

from unrealnas_jax.data import chexpert, label_cache
from unrealnas_jax.data.images import MODES, make_decoder
from unrealnas_jax.data.split import Labels, Split

LABELS_VERSION = 1  # of what is kept on disk: to be raised where labels are converted otherwise
LABELS_AT_ONCE = 1000  # records that are held in memory while only their labels are wanted


class Target(NamedTuple):
  """The feature that images are labelled by.

  key: of the feature; labels: what it can hold.
  convert: what the records hold under `key`, [N, ...] -> labels int32 [N] or [N, K]; raises
    ValueError: they are none
  """

  key: str
  labels: Labels
  convert: Callable


class Unlabelled(ValueError):
  """An image has no label that can be used."""


def read(data_config) -> tuple[str, Split, Split, Labels]:
  """(name, train, test, labels) of data.path = 'tfds:NAME[/CONFIG][:VERSION]'.

  Images are read from disk and decoded when asked for. The test images are those of the split
  'test', or of 'validation' where there is no 'test' or its images are not labelled, as ImageNet's.

  Labels are a class label, or the observations of CheXpert by data.uncertain.

  Raises ValueError: not prepared (names the command that does it), no 'train' or test split, no
  image or no label, grey or colour images of 8 bits only, sizes differ while data.size = 0.
  """
  name = data_config.path.removeprefix('tfds:')
  builder = _builder(name, data_config.tfds_dir)
  splits = _split_names(name, builder.info.splits)
  image, target = _features(name, builder.info, data_config.uncertain)
  shape = builder.info.features[image].shape
  if data_config.size == 0 and None in shape:
    found = f'images of different sizes, {list(shape)}'
    raise _error(name, f'{found}, with data.size = 0', 'data.size > 0, to which they are resized')
  train, *tests = (_split(name, builder, split, image, target, data_config) for split in splits)
  test = tests[0] if len(tests) == 1 or _is_labelled(tests[0]) else tests[1]
  return builder.info.full_name, train, test, target.labels


def prepare_command(name: str, data_dir: str) -> str:
  """The shell command that downloads data set `name` and writes it as array_record."""
  # TFDS's own command line is no help here: it wants apache_beam even for small data sets.
  # json.dumps quotes with ", which leaves ' to the shell.
  where = f'data_dir={json.dumps(data_dir)}, ' if data_dir else ''
  code = (
    'import tensorflow_datasets as tfds; '
    f'tfds.builder({json.dumps(name)}, {where}file_format="array_record").download_and_prepare()'
  )
  return f"pip install -e '.[prepare]' && python -c {shlex.quote(code)}"


def _error(name, found, allowed):
  return ValueError(f'data.path tfds:{name}: {found}; allowed: {allowed}')


def _builder(name, data_dir):
  """Opens the prepared files, without the code that once made them: versions need not agree."""
  import tensorflow_datasets as tfds

  try:
    return tfds.core.read_only_builder.builder_from_files(name, data_dir=data_dir or None)
  except tfds.core.DatasetNotFoundError:
    pass
  except Exception as error:  # whatever a damaged dataset_info.json makes TFDS raise
    found = f'unreadable ({str(error).splitlines()[0]})'
    raise _error(name, found, 'NAME[/CONFIG][:VERSION] of undamaged files') from error
  where = f'data.tfds_dir {data_dir}' if data_dir else "TFDS's default folder (data.tfds_dir = '')"
  known = name.split('/')[0].split(':')[0] in tfds.list_builders(with_community_datasets=False)
  if not known:
    found = f'no files in {where}, and TFDS {tfds.__version__} has no data set of this name'
    raise _error(name, found, 'a name of www.tensorflow.org/datasets/catalog, or prepared files')
  allowed = f'files prepared in array_record format, by: {prepare_command(name, data_dir)}'
  raise _error(name, f'not prepared in {where}', allowed)


def _split_names(name, splits):
  """'train', then 'test' or 'validation' or both."""
  names = [split for split in ('train', 'test', 'validation') if split in splits]
  if 'train' not in names or len(names) == 1:
    found = f'the splits {", ".join(sorted(splits)) or "(none)"}'
    raise _error(name, found, "a 'train' split, and a 'test' or 'validation' split")
  for split in names:
    if splits[split].num_examples == 0:
      raise _error(name, f'no image in split {split!r}', 'at least one image a split')
  return names


def _is_labelled(split):
  try:
    split.read(np.arange(1))
  except Unlabelled:
    return False
  return True


def _features(name, info, uncertain):
  """(key of the image, Target), found by their types."""
  import tensorflow_datasets as tfds

  features = info.features
  images = _keys_of_type(features, tfds.features.Image)
  observations = [key for key in features if _are_observations(features[key])]
  labels = observations or _keys_of_type(features, tfds.features.ClassLabel)
  supervised = info.supervised_keys
  if supervised and supervised[0] in images and supervised[-1] in labels:
    images, labels = [supervised[0]], [supervised[-1]]
  image = _choose(images, 'image')
  label = _choose(labels, 'label')
  if image is None or label is None:
    found = 'features ' + ', '.join(f'{k} ({type(features[k]).__name__})' for k in sorted(features))
    raise _error(name, found, "one Image and one ClassLabel, or ones called 'image' and 'label'")
  feature = features[image]
  if feature.shape[-1] not in MODES or feature.np_dtype != np.uint8:
    found = f'{np.dtype(feature.np_dtype)} images with {feature.shape[-1]} channels'
    raise _error(name, found, 'uint8 images with 1 or 3 channels')
  if observations:
    return image, _observations(label, features[label].feature.names, uncertain)
  if not features[label].num_classes:
    raise _error(name, f'a feature {label} without a number of classes', 'a number of classes')
  return image, _classes(label, features[label].num_classes)


def _are_observations(feature):
  """Whether a feature holds the statuses of CheXpert's observations."""
  import tensorflow_datasets as tfds

  if not isinstance(feature, tfds.features.Sequence):
    return False
  inner = feature.feature
  return isinstance(inner, tfds.features.ClassLabel) and set(inner.names) == {*chexpert.STATUSES}


def _observations(key, names, uncertain):
  def convert(values):
    lengths = {len(row) for row in values} - {chexpert.LABELS.classes}
    if lengths:
      raise ValueError(f'a {key} of {lengths.pop()} observations')
    return chexpert.multi_hot(np.array(values), names, uncertain)

  return Target(key, chexpert.LABELS, convert)


def _classes(key, classes):
  def convert(values):
    labels = np.array(values, np.int32)
    if labels.min() < 0 or labels.max() >= classes:
      raise ValueError(f'a {key} outside 0..{classes - 1}')
    return labels

  return Target(key, Labels(classes), convert)


def _keys_of_type(features, kind):
  return [key for key, feature in features.items() if isinstance(feature, kind)]


def _choose(keys, usual):
  if len(keys) == 1:
    return keys[0]
  return usual if usual in keys else None


def _source(name, builder, split, image):
  """The records of one split, with the image still encoded: decoding is ours, so that neither an
  installed OpenCV nor a grey JPEG among colour ones changes what comes out."""
  import tensorflow_datasets as tfds

  try:
    return builder.as_data_source(split, decoders={image: tfds.decode.SkipDecoding()})
  except NotImplementedError as error:
    found = f'prepared in another format ({builder.info.file_format.value}) in {builder.data_path}'
    root = str(builder.data_path).split(f'/{builder.name}/')[0]
    allowed = (
      'array_record, which needs no TensorFlow to read; remove that folder, then: '
      f'{prepare_command(name, root)}'
    )
    raise _error(name, found, allowed) from error
  except RuntimeError as error:
    raise _error(name, f'unreadable files ({error})', 'whole array_record files') from error


def _split(name, builder, split, image, target, data_config):
  source = _source(name, builder, split, image)
  decode = make_decoder(builder.info.features[image].shape[-1], data_config)

  def records(indices):
    try:
      # array_record checks types strictly: numpy integers are refused.
      return source.__getitems__([int(i) for i in indices])
    except RuntimeError as error:
      raise _error(name, f'unreadable files ({error})', 'whole array_record files') from error

  def labels_of(records):
    try:
      return target.convert([record[target.key] for record in records])
    except ValueError as error:
      allowed = 'a data set whose images are all labelled'
      raise Unlabelled(*_error(name, f'{error} in split {split!r}', allowed).args) from error

  def read(indices, numbers=None):
    found = records(indices)
    try:
      images = decode([io.BytesIO(record[image]) for record in found], numbers)
    except OSError as error:
      raise _error(name, f'an undecodable image ({error})', 'whole files') from error
    return {'image': np.stack(images), 'label': labels_of(found)}

  def read_labels():
    logging.info('Reading the labels of all %d images of %s', len(source), name)
    starts = range(0, len(source), LABELS_AT_ONCE)
    parts = [range(start, min(start + LABELS_AT_ONCE, len(source))) for start in starts]
    return np.concatenate([labels_of(records(part)) for part in parts])

  @functools.cache
  def labels():
    info, named = builder.info.splits[split], builder.info.full_name.split('/')
    named += [split, data_config.uncertain]
    stats = [path.stat() for path in info.filepaths]
    # Sizes alone tell little: array_record fills its files up to whole 64 KiB.
    files = [info.shard_lengths, info.num_bytes, [(stat.length, stat.mtime) for stat in stats]]
    return label_cache.kept('-'.join(named), [LABELS_VERSION, target.key, files], read_labels)

  return Split(len(source), read, labels)
