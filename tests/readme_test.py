"""README.md: what it names is there."""

import pathlib
import re

import pytest

from unrealnas_jax.rules import RULES

ROOT = pathlib.Path(__file__).parent.parent
TEXT = (ROOT / 'README.md').read_text()
LINKS = sorted(set(re.findall(r'\]\(([^)]+)\)', TEXT)))


def anchor(heading):
  """What GitHub makes of a heading."""
  return '#' + re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')


@pytest.mark.parametrize('link', LINKS)
def test_links_lead_somewhere(link):
  if link.startswith('#'):
    assert link in map(anchor, re.findall(r'^## (.*)$', TEXT, re.MULTILINE))
  else:
    assert (ROOT / link).exists()


def test_files_in_commands_are_there():
  files = set(re.findall(r'\b(?:configs|launch)/\w+\.(?:py|sh|ipynb)', TEXT))
  assert {'configs/noise.py', 'launch/sweep.py', 'launch/tpu.sh'} <= files
  assert [file for file in sorted(files) if not (ROOT / file).exists()] == []


def test_keys_in_commands_are_keys():
  keys = set(re.findall(r'--(?:config\.|grid=)([a-z][\w.]*)=', TEXT))
  assert len(keys) > 10
  assert keys - RULES.keys() == set()


def test_the_generators_that_searches_take_are_trained_in_other_commands():
  trained, searched = (
    re.findall(rf'--config=configs/{name}\.py(\S*?)[`\s]', TEXT)
    for name in ('train_generator', 'generated')
  )
  assert len(searched) > 1
  assert sorted(trained) == sorted(searched)
  assert not re.search('--config.source.generator=[^`]', TEXT)
