"""Any image-classification data set of TensorFlow Datasets, read from its array_record files.

Reading needs no TensorFlow; preparing the files does, once (`prepare_command`).
"""

import io
import json
import shlex

import numpy as np
from PIL import Image, UnidentifiedImageError

from unrealnas_jax.data.images import resize
from unrealnas_jax.data.split import Labels, Split

_MODES = {1: 'L', 3: 'RGB'}  # Pillow's modes by number of channels


def read(data_config) -> tuple[str, Split, Split, Labels]:
  """(name, train, test, labels) of data.path = 'tfds:NAME[/CONFIG][:VERSION]'.

  Images are read from disk and decoded when asked for. The test images are those of the split
  'test', or 'validation' where there is no 'test'.

  Raises ValueError: not prepared (names the command that does it), no 'train' or test split, no
  image or no class label, grey or colour images of 8 bits only, sizes differ while data.size = 0.
  """
  name = data_config.path.removeprefix('tfds:')
  builder = _builder(name, data_config.tfds_dir)
  splits = _split_names(name, builder.info.splits)
  image, label = _features(name, builder.info)
  shape = builder.info.features[image].shape
  if data_config.size == 0 and None in shape:
    found = f'images of different sizes, {list(shape)}'
    raise _error(name, f'{found}, with data.size = 0', 'data.size > 0, to which they are resized')
  classes = builder.info.features[label].num_classes
  train, test = (
    _split(name, _source(name, builder, split, image), image, label, classes, data_config.size)
    for split in splits
  )
  return builder.info.full_name, train, test, Labels(classes)


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
  """('train', 'test'), or ('train', 'validation')."""
  test = next((split for split in ('test', 'validation') if split in splits), None)
  if 'train' not in splits or test is None:
    found = f'the splits {", ".join(sorted(splits)) or "(none)"}'
    raise _error(name, found, "a 'train' split, and a 'test' or 'validation' split")
  for split in ('train', test):
    if splits[split].num_examples == 0:
      raise _error(name, f'no image in split {split!r}', 'at least one image a split')
  return 'train', test


def _features(name, info):
  """Keys of the image and of the class label, found by their types."""
  import tensorflow_datasets as tfds

  features = info.features
  images = _keys_of_type(features, tfds.features.Image)
  labels = _keys_of_type(features, tfds.features.ClassLabel)
  supervised = info.supervised_keys
  if supervised and supervised[0] in images and supervised[-1] in labels:
    images, labels = [supervised[0]], [supervised[-1]]
  image = _choose(images, 'image')
  label = _choose(labels, 'label')
  if image is None or label is None:
    found = 'features ' + ', '.join(f'{k} ({type(features[k]).__name__})' for k in sorted(features))
    raise _error(name, found, "one Image and one ClassLabel, or ones called 'image' and 'label'")
  feature = features[image]
  if feature.shape[-1] not in _MODES or feature.np_dtype != np.uint8:
    found = f'{np.dtype(feature.np_dtype)} images with {feature.shape[-1]} channels'
    raise _error(name, found, 'uint8 images with 1 or 3 channels')
  if not features[label].num_classes:
    raise _error(name, f'a feature {label} without a number of classes', 'a number of classes')
  return image, label


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


def _split(name, source, image, label, classes, size):
  def read(indices):
    try:
      # array_record checks types strictly: numpy integers are refused.
      records = source.__getitems__([int(i) for i in indices])
    except RuntimeError as error:
      raise _error(name, f'unreadable files ({error})', 'whole array_record files') from error
    channels = source.dataset_info.features[image].shape[-1]
    images = [_decode(name, record[image], channels, size) for record in records]
    labels = np.array([record[label] for record in records], np.int32)
    if labels.min() < 0 or labels.max() >= classes:
      found = f'a label outside 0..{classes - 1} in split {source.split!r}'
      raise _error(name, found, 'a data set whose images are all labelled')
    return {'image': np.stack(images), 'label': labels}

  return Split(len(source), read)


def _decode(name, encoded, channels, size):
  try:
    with Image.open(io.BytesIO(encoded)) as picture:
      image = np.asarray(picture.convert(_MODES[channels]))
  except (UnidentifiedImageError, OSError) as error:
    raise _error(name, f'an undecodable image ({error})', 'whole files') from error
  return resize(image.reshape(*image.shape[:2], channels), size)
