"""NaN and infinity: which loss and which array is named."""

import jax.numpy as jnp
import numpy as np
import pytest

from unrealnas_jax import finite


@pytest.mark.parametrize('number', [np.nan, np.inf, -np.inf])
def test_the_first_wrong_loss_is_named(number):
  values = {
    'val_loss': jnp.float32([1, 2, 3, number]),
    'train_accuracy': jnp.float32([number, 1, 1, 1]),
    'train_loss': jnp.float32([1, 2, number, number]),
  }
  name, position, found = finite.wrong_loss(values)
  assert (name, position) == ('train_loss', 2)
  np.testing.assert_equal(float(found), number)
  assert finite.wrong_loss({'train_loss': jnp.zeros(3), 'auc': jnp.full(3, number)}) is None


def test_the_wrong_array_is_named():
  state = {'arch': {'normal': jnp.zeros(2), 'reduce': jnp.zeros(2)}, 'step': jnp.int32(3)}
  assert finite.wrong_array(state) is None
  for dtype in (jnp.float32, jnp.bfloat16):
    state['arch']['reduce'] = jnp.array([0, jnp.inf], dtype)
    assert finite.wrong_array(state) == 'arch/reduce'
