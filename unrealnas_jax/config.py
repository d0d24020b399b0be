"""What a config must be as a whole, checked before anything runs."""

import json

from unrealnas_jax import stages
from unrealnas_jax.checks import CHECKS
from unrealnas_jax.rules import check
from unrealnas_jax.stage_checks import check_stages

LISTED = 20  # problems that one message lists


def validate(config, devices, dataset=None):
  """Checks every key alone, then what keys must be together; no images are read.

  devices: how many of them share a batch, over all processes.
  dataset: the real images if they are read already: the sizes that only they tell are checked too.
  Raises ValueError listing each problem as key, value and what is allowed.
  """
  problems = check(config) or list(check_stages(config))
  parts = [] if problems else stages.configs(config)
  problems = problems or [
    f'stages = {config.stages!r}; stage {number + 1}: {problem}'
    for number, part in enumerate(parts)
    for problem in check(part)
  ]
  problems = problems or [
    problem for part in parts for together in CHECKS for problem in together(part, devices, dataset)
  ]
  if problems:
    raise ValueError('\n'.join(sorted(set(problems))[:LISTED]))


def to_json(config):
  """The whole config as JSON text with sorted keys."""
  return json.dumps(config.to_dict(), indent=2, sort_keys=True)
