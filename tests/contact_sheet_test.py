import re
import types

import numpy as np
import pytest
from changed_config import changed

from unrealnas_jax import contact_sheet, data


def draw(config, rows, columns):
  return contact_sheet.draw(*contact_sheet.prepare(config), rows, columns)


def config(**source):
  made = changed()
  values = {'name': 'gratings', 'examples': 64, 'size': 8, 'channels': 1, 'classes': 4}
  made.source.update({**values, **source})
  made.search.augment.pad, made.search.batch = 1, 8
  return made


def shown(sheet, rows, columns):
  """The images [rows, columns, 8, 8] of a sheet; the gaps between them must be black."""
  places = sheet.reshape(rows, 10, columns, 10).swapaxes(1, 2)
  assert places[:, :, [0, 9]].max() == places[:, :, :, [0, 9]].max() == 0
  return places[:, :, 1:-1, 1:-1]


def test_a_row_shows_the_first_images_of_its_class():
  batches = contact_sheet.examples(config(), data.make_source(config()), 16)
  images, labels = map(np.concatenate, zip(*batches, strict=True))
  assert len(images) == 64
  found = shown(draw(config(), 3, 5), 3, 5)
  for label in range(3):
    expected = [contact_sheet.to_bytes(image[..., 0]) for image in images[labels == label][:5]]
    np.testing.assert_array_equal(found[label], expected)


def test_what_is_not_there_stays_black():
  # 64 images cannot fill four rows of 40, and there are no more than four classes.
  found = shown(draw(config(), 9, 40), 4, 40)
  there = found.reshape(4, 40, -1).max(-1) > 0
  assert there.sum() == 64
  assert all(row[: row.sum()].all() for row in there)


def test_greys_are_those_of_the_standardised_image():
  values = np.array([-9, -2.5, -1, 0, 1, 2.5, 9])
  np.testing.assert_array_equal(contact_sheet.to_bytes(values), [0, 0, 76, 127, 178, 255, 255])


def test_colour_is_shown_and_other_channels_are_refused():
  assert draw(config(channels=3), 2, 2).shape == (20, 20, 3)
  with pytest.raises(ValueError, match='source.channels = 2; allowed for a sheet: 1 or 3'):
    draw(config(channels=2), 2, 2)
  with pytest.raises(ValueError, match='source.size = 0; allowed'):
    draw(config(size=0), 2, 2)


def test_tiles_are_laid_together_and_more_labels_an_image_refused():
  # Four tiles of 3 of 4 pixels, and a gap around them.
  sheet = draw(config(pretext='jigsaw', examples=16), 24, 2)
  assert sheet.shape == (24 * (2 * 3 + 2), 2 * (2 * 3 + 2))
  assert sheet.max() > 0
  with pytest.raises(ValueError, match="'colorisation', .*allowed for a sheet: one class an image"):
    draw(config(pretext='colorisation', channels=3), 2, 2)


def test_real_images_are_read_only_where_they_are_shown(tmp_path, capsys, monkeypatch):
  """Though the search be followed by a retraining. What an image costs is told."""
  made = config()
  made.data.path, made.data.tfds_dir = 'tfds:cifar10', str(tmp_path)  # nothing is prepared there
  assert made.retrain.epochs > 0
  values = types.SimpleNamespace(config=made, rows=2, columns=2, zoom=1, out=f'{tmp_path}/a.png')
  monkeypatch.setattr(contact_sheet.flags, 'FLAGS', values)
  assert contact_sheet.main([]) == 0
  written, cost = capsys.readouterr().out.splitlines()
  assert written.endswith('a.png: 20 x 20 pixels')
  assert re.fullmatch(r'gratings: [\d.e+]+ microseconds an image of 8x8x1, 64 at once on .*', cost)
  made.source.name = 'real'
  assert contact_sheet.main([]) == 2
  assert 'data.path tfds:cifar10: not prepared' in capsys.readouterr().err
