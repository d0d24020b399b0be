"""Rules of single keys: every key has one, and every one can fail."""

import pathlib
import re

import pytest
from changed_config import changed

from configs import default
from unrealnas_jax import config as lib
from unrealnas_jax import rules


def test_every_key_has_a_rule_and_a_comment():
  keys = rules.flatten(default.get_config('paper').to_dict()).keys()
  assert keys == rules.RULES.keys()
  lines = pathlib.Path(default.__file__).read_text().splitlines()
  for key in keys:
    assigned = re.compile(rf'  (config\.)?{re.escape(key)} = ')
    (first, *_) = [i for i, line in enumerate(lines) if assigned.match(line)]
    assert ' # ' in lines[first] or lines[first - 1].strip().startswith('# '), key


# key, value -> what the message must hold beside 'key = value'
WRONG = [
  ('seed', -1, '0 to 2147483647'),
  ('seed', 1.0, 'a whole number'),
  ('seeds', (0, 0), 'different whole numbers'),
  ('seeds', (0, -1), 'different whole numbers'),
  ('seeds', 3, 'a tuple of different whole numbers'),
  ('seeds_together', 0, 'at least 1'),
  ('dtype', 'float16', 'float32, bfloat16'),
  ('scale', 'huge', 'laptop, paper'),
  ('data.crop', 1.5, 'from 0 to 1'),
  ('data.random_crop', 0.0, 'above 0, at most 1'),
  ('data.jitter', 1.0, '0 to below 1'),
  ('data.uncertain', 'maybe', 'zeros, ones, ignore'),
  ('data.size', -1, '0 to 4096'),
  ('data.tfds_dir', 3, 'a folder'),
  ('source.name', 'nosie', 'shuffled_labels, real'),
  ('source.examples', 1, '2 to 100000000'),
  ('source.size', 0, '1 to 4096'),
  ('source.channels', 0, '1 to 1024'),
  ('source.classes', 1, '2 to 1000000'),
  ('source.label_rate', 1.0, '0 to below 1'),
  ('source.distribution', 'normal', 'gaussian, uniform'),
  ('source.mean', float('inf'), 'a number'),
  ('source.std', 0.0, 'above 0'),
  ('source.label_noise', 1.1, 'from 0 to 1'),
  ('source.grid', 4, '2 to 3'),
  ('source.pretext', 'rotate', "'' for none, rotation"),
  ('source.generator', None, 'the workdir of a finished training'),
  ('source.labels', 'true', 'condition, random'),
  ('generator.steps', -1, 'at least 0'),
  ('generator.latent', 0, '1 to 4096'),
  ('generator.channels', 0, '1 to 4096'),
  ('generator.discriminator_channels', 0, '1 to 4096'),
  ('generator.batch', 0, '1 to 1000000'),
  ('generator.discriminator_steps', 0, 'at least 1'),
  ('generator.lr', 0.0, 'above 0'),
  ('generator.discriminator_lr', 0.0, 'above 0'),
  ('generator.beta1', -0.1, '0 to below 1'),
  ('generator.beta2', 1.0, '0 to below 1'),
  ('generator.ema', 1.0, '0 to below 1'),
  ('generator.augment.color', 1.5, '0 to 1'),
  ('generator.augment.pad', -1, 'at least 0'),
  ('generator.augment.flip', 0, 'True or False'),
  ('generator.augment.cutout', -1, 'at least 0'),
  ('generator.sheet_every', 0, 'at least 1'),
  ('method.name', 'drats', 'darts'),
  ('method.order', 3, 'a whole number from 1 to 2'),
  ('method.hvp', 'approximate', 'exact, finite_difference'),
  ('method.arch_lr', -1e-3, 'at least 0'),
  ('method.arch_betas', (0.5, 1.0), '0 to below 1'),
  ('method.arch_betas', (0.5,), 'two numbers'),
  ('method.arch_weight_decay', float('inf'), 'at least 0'),
  ('method.arch_clip', -1.0, 'at least 0'),
  ('method.warmup_epochs', -1, 'at least 0'),
  ('method.skip_dropout', 1.0, '0 to below 1'),
  ('method.skip_dropout', 0.1, "unless method.name = 'pdarts'"),
  ('method.selection', 'arch', 'alphas, perturbation'),
  ('method.perturbation.finetune_epochs', -1, 'at least 0'),
  ('method.perturbation.criterion', 'auc', 'accuracy, loss'),
  ('method.eigenvalue.every', -1, 'at least 0'),
  ('method.eigenvalue.window', 0, 'at least 1'),
  ('method.eigenvalue.back', 0, 'at least 1'),
  ('method.eigenvalue.factor', 1.0, 'above 1'),
  ('method.eigenvalue.first', -1, 'at least 0'),
  ('method.max_skips', 9, 'from 0 to 8'),
  ('method.gdas.tau', 0.0, 'above 0'),
  ('method.gdas.tau_end', 0.0, 'above 0'),
  ('method.drnas.kl', -1e-3, 'at least 0'),
  ('method.drnas.none', 1, 'True or False'),
  ('method.sdarts.perturbation', 'pgd', 'random, adversarial'),
  ('method.sdarts.epsilon_start', -0.03, 'at least 0'),
  ('method.sdarts.epsilon', -0.3, 'at least 0'),
  ('method.sdarts.steps', 0, 'at least 1'),
  ('method.sdarts.step_size', 0.0, 'above 0'),
  ('method.rlnas.angle', 'cells', 'network, edges'),
  ('method.rlnas.search', 'all', 'evolution, exhaustive'),
  ('method.evolution.population', 0, 'at least 1'),
  ('method.evolution.generations', 0, 'at least 1'),
  ('method.evolution.parents', 0, 'at least 1'),
  ('method.evolution.mutations', -1, 'at least 0'),
  ('method.evolution.mutation_probability', 1.5, 'from 0 to 1'),
  ('method.evolution.crossovers', -1, 'at least 0'),
  ('method.random.cells', 0, 'at least 1'),
  ('method.random.measure', 'loss', 'val_accuracy, train_loss'),
  ('stages', 3, 'a tuple of dicts'),
  ('stages', (3,), 'a tuple of dicts'),
  ('stages', ({'search.cels': 5},), 'stage 1 changes search.cels, which is no key'),
  ('stages', ({'search.cells': 0},), 'search.cells = 0; allowed'),
  ('stages', ({'search.kept_ops': 5}, {'search.kept_ops': 3}), 'in stage 1; allowed: 0'),
  ('stages', ({}, {'search.kept_ops': 3}, {'search.kept_ops': 5}), 'in stage 3; allowed: 2 to 3'),
  ('stages', ({}, {'search.kept_ops': 5}, {'search.kept_ops': None}), 'search.kept_ops = None'),
  ('stages', ({}, {'search.kept_ops': '3'}), "stage 2 changes search.kept_ops to '3'"),
  ('stages', ({'method.name': 'rlnas'}, {'search.kept_ops': 3}), "0 after method.name = 'rlnas'"),
  ('stages', ({}, {'search.kept_ops': 3}, {}), 'search.kept_ops = 0 in stage 3; allowed: 2 to 3'),
  ('search.space', 'nats', 'darts'),
  ('search.partial_channels', 0, 'at least 1'),
  ('search.partial_channels', 3, 'a divisor of search.channels = 8'),
  ('search.kept_ops', -1, 'at least 0'),
  ('search.kept_ops', 5, '0 without stages'),
  ('search.max_parameters', -1, 'at least 0'),
  ('search.max_multiply_adds', 6e8, 'a whole number'),
  ('search.affine', 1, 'True or False'),
  ('search.epochs', 0, "0 with method.name = 'random'"),
  ('search.stem', 'mnist', 'cifar, imagenet'),
  ('search.subset', 0.0, 'above 0, at most 1'),
  ('search.subset', 1e-3, 'at least one image each'),
  ('search.lr_schedule', 'step', 'cosine, linear, exponential, linear_by_step'),
  ('search.lr_warmup', -1, 'at least 0'),
  ('search.lr_warmup', 6, 'at most search.epochs = 5'),
  ('retrain.lr_schedule', 'exponential', 'with retrain.lr_end above 0, not 0.0'),
  ('retrain.lr_schedule', '', 'cosine, linear, exponential'),
  ('retrain.lr_warmup', 16, 'at most retrain.epochs = 15'),
  ('retrain.lr_warmup', 0.5, 'a whole number'),
  ('retrain.label_smoothing', 1.0, '0 to below 1'),
  ('search.channels', 0, '1 to 4096'),
  ('search.cells', 0, '1 to 1000'),
  ('search.batch', 0, '1 to 1000000'),
  ('search.microbatch', -1, 'at least 0'),
  ('search.epochs', True, 'a whole number'),
  ('search.train_portion', 1.0, 'below 1'),
  ('search.lr', 0.0, 'above 0'),
  ('search.lr', float('nan'), 'above 0'),
  ('search.lr_end', -0.1, 'at least 0'),
  ('search.momentum', 1.0, 'below 1'),
  ('search.nesterov', 1, 'True or False'),
  ('search.weight_decay', '3', 'a number'),
  ('search.decayed', 'kernels', 'all, convolutions'),
  ('search.clip', 0.0, 'above 0'),
  ('search.clip_by', 'leaf', 'norm, value'),
  ('search.label_smoothing', 1.0, '0 to below 1'),
  ('search.augment.pad', -1, 'at least 0'),
  ('search.augment.flip', 1, 'True or False'),
  ('search.augment.cutout', -1, 'at least 0'),
  ('search.steps_per_call', 0, 'at least 1'),
  ('retrain.channels', 0, '1 to 4096'),
  ('retrain.cells', 0, '1 to 1000'),
  ('retrain.batch', 0, '1 to 1000000'),
  ('retrain.microbatch', 1.0, 'a whole number'),
  ('retrain.remat', 1, 'True or False'),
  ('retrain.epochs', -1, 'at least 0'),
  ('retrain.stem', 'vgg', 'cifar, imagenet'),
  ('retrain.lr', -1.0, 'above 0'),
  ('retrain.lr_end', -1.0, 'at least 0'),
  ('retrain.momentum', -0.1, '0 to below 1'),
  ('retrain.weight_decay', -0.1, 'at least 0'),
  ('retrain.clip', -5.0, 'above 0'),
  ('retrain.auxiliary', -0.4, 'at least 0'),
  ('retrain.drop_path', 1.0, 'below 1'),
  ('retrain.augment.pad', -1, 'at least 0'),
  ('retrain.augment.flip', None, 'True or False'),
  ('retrain.augment.cutout', -1, 'at least 0'),
  ('benchmark.nasbench201_csv', 0, "'' for none, a file x.csv or x.csv.gz"),
  ('analysis.genotypes', None, 'genotypes and random'),
  ('analysis.sources', 3, 'names of sources'),
  ('checkpoint.every', -1, 'at least 0'),
  ('checkpoint.keep', 0, 'at least 1'),
  ('log_every', 0, 'at least 1'),
  # Together with other keys.
  ('data.path', 'cifar', "'digits', a file 'x.npz', a folder of images, or 'tfds:NAME'"),
  ('data.path', 'nowhere/x.npz', 'no such file'),
  ('search.batch', 512, 'at most 500, the smaller part of source.examples = 1000'),
  ('search.microbatch', 12, '0, or a divisor of search.batch = 32 and multiple of the number of'),
  ('retrain.microbatch', 48, ': 1, 2, 4, 8, 16, 32, 64'),
  ('benchmark.nasbench201_csv', 'x.csv', "'' unless search.space = 'nasbench201' or genotype is a"),
  ('search.lr_end', 0.5, 'at most search.lr = 0.025'),
  ('retrain.lr_end', 0.5, 'at most retrain.lr = 0.025'),
  ('search.augment.pad', 16, 'less than source.size = 16 pixels'),
  ('retrain.augment.cutout', 16, 'less than data.size = 16 pixels'),
]


@pytest.mark.parametrize(('key', 'value', 'allowed'), WRONG)
def test_wrong_value_is_named_with_what_is_allowed(key, value, allowed):
  with pytest.raises(ValueError, match='allowed:') as caught:
    lib.validate(changed(key, value), 1)
  message = str(caught.value)
  assert message.startswith(f'{key} = {value!r}')
  assert allowed in message
  assert '\n' not in message


def test_every_rule_is_tried():
  assert {key for key, _, _ in WRONG} | {'genotype'} == rules.RULES.keys()


def test_unknown_and_missing_keys():
  config = default.get_config('laptop')
  config.search.epoch = 3
  del config.search.clip
  with pytest.raises(ValueError, match='search.clip: missing') as caught:
    lib.validate(config, 1)
  assert 'search.epoch: no such key; the nearest is search.epochs' in str(caught.value)
  assert rules.unknown('epochs').endswith('search.epochs')
  assert rules.unknown('xyzzy') == 'no such key; see configs/default.py'
