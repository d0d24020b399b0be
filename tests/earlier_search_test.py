"""The genotype of an earlier search: read from its newest checkpoint, and from nothing else."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import quick_run
import tiny

from unrealnas_jax import checkpoint, given_genotype, parallel, search
from unrealnas_jax import config as config_lib
from unrealnas_jax.methods import darts
from unrealnas_jax.spaces import SPACES

SPACE = SPACES['quick']


def leave_search(folder, steps=(8,), **logits):
  """A workdir as a search of the real supernet leaves it, of 5 classes and 3 channels."""
  config = quick_run.get_config()
  config.data.path = 'gone.npz'
  net = search.make_net(config, 5, 3)
  tx = search.make_optimizers(config, 1)
  like = jax.eval_shape(lambda: search.init_state(jax.random.key(0), config, net, darts, tx))
  zeros = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
  manager = checkpoint.open(folder, 'search', 9)
  for step in steps:
    last = step == steps[-1]
    arch = tiny.state_of(SPACE, **(logits if last else {'avg_pool_3x3': 1})).arch
    checkpoint.save(manager, step, parallel.replicate(zeros.replace(arch=arch)))
  checkpoint.close(manager)
  (folder / 'config.json').write_text(config_lib.to_json(config))


def contents(folder):
  return {path: path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def operations(genotype):
  return {op for op, _ in genotype.normal + genotype.reduce}


def test_genotype_is_read_from_the_newest_checkpoint_alone(tmp_path):
  # Data and genotype.json of that run are gone, and a search may be saving there right now.
  leave_search(tmp_path, steps=(4, 8), dil_conv_3x3=1)
  half = tmp_path / 'checkpoints' / 'search' / '12.orbax-checkpoint-tmp'
  half.mkdir()
  (half / 'part').write_text('x')
  before = contents(tmp_path)
  genotype = given_genotype.load_genotype(str(tmp_path))
  assert operations(genotype) == {'dil_conv_3x3'}
  assert contents(tmp_path) == before


@pytest.mark.filterwarnings('ignore::pytest.PytestUnraisableExceptionWarning')  # Orbax's threads
def test_an_unreadable_checkpoint_is_passed_over_and_left(tmp_path):
  leave_search(tmp_path, steps=(4, 8), dil_conv_3x3=1)
  for path in (tmp_path / 'checkpoints' / 'search' / '8').rglob('manifest.ocdbt'):
    path.unlink()
  before = contents(tmp_path)
  assert operations(given_genotype.load_genotype(str(tmp_path))) == {'avg_pool_3x3'}
  assert contents(tmp_path) == before


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
  leave_search(tmp_path)
  config = json.loads((tmp_path / 'config.json').read_text())
  config['search']['channels'] = 4
  (tmp_path / 'config.json').write_text(json.dumps(config))
  with pytest.raises(ValueError, match='holds another kind of state'):
    given_genotype.load_genotype(str(tmp_path))
  manager = checkpoint.open(tmp_path, 'search', 9)
  checkpoint.save(manager, 9, parallel.replicate({'w': jnp.zeros(3)}))
  checkpoint.close(manager)
  with pytest.raises(ValueError, match='is none of a supernet'):
    given_genotype.load_genotype(str(tmp_path))
