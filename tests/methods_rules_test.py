"""Configs of the methods: what each changes of DARTS, and what does not go together."""

import importlib

import pytest
from changed_config import changed

from unrealnas_jax import config as lib
from unrealnas_jax import stages

SCALES = pytest.mark.parametrize('scale', ['laptop', 'paper'])


def read(file, choice):
  return importlib.import_module(f'configs.{file}').get_config(choice)


def test_the_eigenvalue_is_measured_in_whole_digits():
  config = changed('method.eigenvalue.every', 1)
  lib.validate(config, 1)
  config.dtype = 'bfloat16'
  with pytest.raises(ValueError, match="dtype = 'bfloat16'; .* with method.eigenvalue.every = 1"):
    lib.validate(config, 1)
  config.method.order = 2
  with pytest.raises(ValueError, match="dtype = 'bfloat16'; .* with method.hvp = 'finite_diff"):
    lib.validate(config, 1)
  config.genotype = 'DARTS_V2'  # nothing is searched
  lib.validate(config, 1)


def test_a_learning_rate_warms_up_within_the_turn_of_a_cell():
  config = read('random_search', 'laptop')
  config.search.update(dict(epochs=10, lr_warmup=2))  # five cells, two epochs each
  lib.validate(config, 1)
  config.search.lr_warmup = 3
  with pytest.raises(ValueError, match='search.lr_warmup = 3; .* = 10 by method.random.cells = 5'):
    lib.validate(config, 1)


@SCALES
def test_tuning_between_decisions_is_the_official_one(scale):
  assert read('default', 'paper').method.perturbation.finetune_epochs == 10
  for method in ('darts', 'pc_darts', 'pdarts', 'sdarts'):
    config = read('nasbench201', f'{method},{scale}')
    assert config.method.perturbation.finetune_epochs == 5


@SCALES
@pytest.mark.parametrize('file', ['pdarts', 'nasbench201'])
def test_pdarts_deepens_while_candidates_become_fewer(file, scale):
  """In both spaces, unlike plain DARTS, which it would be without stages."""
  config = read(file, f'pdarts,{scale}' if file == 'nasbench201' else scale)
  lib.validate(config, 1)
  assert config.method.max_skips == 2
  parts = stages.configs(config)
  depths, kept, rates = zip(
    *((x.search.cells, x.search.kept_ops, x.method.skip_dropout) for x in parts), strict=True
  )
  assert len(parts) == 3
  assert sorted({*depths}) == list(depths)
  assert kept == ((0, 5, 3) if file == 'pdarts' else (0, 4, 3))
  assert rates == (0.1, 0.4, 0.7)
  assert all(0 < x.method.warmup_epochs < x.search.epochs for x in parts)
  if scale == 'paper':
    assert (depths[-1], config.search.batch) == (17 if file == 'pdarts' else 5, 96)
    assert (config.search.epochs, config.method.warmup_epochs) == (25, 10)
    assert (config.method.arch_lr, config.method.arch_clip, config.search.lr_end) == (6e-4, 5, 0)
