"""Draws what a search sees: a PNG with one row of images for each of the first classes.

Tells too what an image costs, of a batch that one device makes in one compiled call.

python -m unrealnas_jax.contact_sheet --config=configs/procedural.py --out=sheet.png
"""

import functools
import math
import statistics
import time

import jax
import numpy as np
from absl import app, flags
from PIL import Image

from unrealnas_jax import data, keys, samples
from unrealnas_jax import main as command_line
from unrealnas_jax.config import validate
from unrealnas_jax.data import pretext
from unrealnas_jax.data.source import show

GAP = 1  # pixels around an image
BATCH = 64  # images that are made at once where their cost is measured
EXAMPLES = 64  # that are looked at for each image shown, at most

flags.DEFINE_string('out', 'sheet.png', 'the PNG file to write')
flags.DEFINE_integer('rows', 8, 'how many classes are shown', lower_bound=1)
flags.DEFINE_integer('columns', 12, 'how many images of a class are shown', lower_bound=1)
flags.DEFINE_integer('zoom', 2, 'pixels of the file a pixel of an image', lower_bound=1)


def main(argv):
  """Writes the sheet of the config's source; the exit code."""
  del argv
  values = flags.FLAGS
  try:
    config, source = prepare(values.config)
    sheet = draw(config, source, values.rows, values.columns)
    sheet = sheet.repeat(values.zoom, axis=0).repeat(values.zoom, axis=1)
    Image.fromarray(sheet).save(values.out)
  except (ValueError, OSError) as error:
    return command_line.fail(error)
  print(f'written {values.out}: {sheet.shape[1]} x {sheet.shape[0]} pixels')
  cost, size = 1e6 * seconds_per_image(config, source), 'x'.join(map(str, source.shape))
  where = f'{BATCH} at once on 1 x {jax.devices()[0].device_kind}'
  print(f'{source.name}: {cost:.3g} microseconds an image of {size}, {where}')
  return 0


def prepare(config):
  """(config of the search alone, its Source); real images are read only if the source shows them.

  Raises ValueError: the config or its data cannot be used.
  """
  config = config.copy_and_resolve_references()
  config.genotype = config.analysis.genotypes = ''
  config.retrain.epochs = config.generator.steps = 0
  validate(config, jax.device_count())
  return config, data.make_source(config, command_line.load_data(config))


def draw(config, source, rows, columns):
  """The sheet of a source, uint8 [height, width] or [height, width, 3].

  rows: classes, from class 0; columns: images of each, in the order of their indices. A place stays
  black where too few are found.
  config, source: as `prepare` gives them.
  Raises ValueError: the images are neither grey nor RGB, or an image has more than one label.
  """
  tiles = math.isqrt(pretext.head(config)['tiles'])
  height, width, channels = tiles * source.shape[0], tiles * source.shape[1], source.shape[2]
  if channels not in (1, 3):
    raise ValueError(f'source.channels = {channels}; allowed for a sheet: 1 or 3')
  rows = min(rows, source.classes)
  places = np.zeros((rows, columns, height + 2 * GAP, width + 2 * GAP, channels), np.uint8)
  filled = np.zeros(rows, int)
  for images, labels in examples(config, source, rows * columns):
    for image, label in zip(images, labels, strict=True):
      if label < rows and filled[label] < columns:
        places[label, filled[label], GAP:-GAP, GAP:-GAP] = to_bytes(image)
        filled[label] += 1
    if filled.min() == columns:
      break
  sheet = np.concatenate(np.concatenate(places, axis=1), axis=1)
  return sheet[..., 0] if channels == 1 else sheet


def examples(config, source, batch):
  """Images and labels as the search is given them, batch by batch in the order of indices."""
  key, fn = _key(config), jax.jit(functools.partial(show, source))
  for start in range(0, min(source.examples, EXAMPLES * batch), batch):
    indices = np.arange(start, min(start + batch, source.examples))
    images, labels = jax.device_get(fn(key, source.read(indices)))
    if labels.ndim > 1:
      raise ValueError(
        f'source.pretext = {config.source.pretext!r}, source.label_rate = '
        f'{config.source.label_rate}; allowed for a sheet: one class an image'
      )
    yield samples.picture(images), labels


def seconds_per_image(config, source, calls=9):
  """Seconds that a device takes for an image of a batch of BATCH in a compiled call, the median.

  What the host does is not in it: a batch of `source.read` is on the device already.
  """
  indices = np.arange(BATCH) % source.examples
  key, batch = jax.device_put((_key(config), source.read(indices, np.uint32(indices))))
  run, seconds = jax.jit(functools.partial(show, source)).lower(key, batch).compile(), []
  for _ in range(calls + 1):
    started = time.perf_counter()
    jax.block_until_ready(run(key, batch))
    seconds.append((time.perf_counter() - started) / BATCH)
  return statistics.median(seconds[1:])


def _key(config):
  return keys.of_data(jax.random.key(config.seed))


def to_bytes(image):
  """A standardised image as uint8: the mean is grey, 2.5 standard deviations black and white."""
  return np.clip(127.5 + 51 * image, 0, 255).astype(np.uint8)


if __name__ == '__main__':
  app.run(main, flags_parser=command_line.parse)
