"""Loss, accuracy and AUC by hand, of classes and of multi-hot labels, some of them not known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unrealnas_jax import objective
from unrealnas_jax.parallel import AXIS

LOGITS = jnp.array([[2.0, -1.0, 0.5], [-3.0, 0.25, 1.0]])
CLASSES = jnp.array([0, 2])
# Of the first image all three labels are known, of the second one.
LABELS = jnp.array([[1, 1, 0], [-1, -1, 1]])


def test_loss_of_classes():
  expected = np.log(np.exp(LOGITS).sum(1)) - [2.0, 1.0]
  np.testing.assert_allclose(objective.loss(LOGITS, CLASSES), expected.mean(), rtol=1e-6)


def test_smoothing_gives_every_class_an_equal_share():
  """Of the targets 0.3 / 3 = 0.1 for every class, the own one included, and 0.7 for that."""
  log_p = LOGITS - np.log(np.exp(LOGITS).sum(1, keepdims=True))
  expected = -(0.7 * log_p[np.arange(2), CLASSES] + 0.1 * log_p.sum(1)).mean()
  np.testing.assert_allclose(objective.loss(LOGITS, CLASSES, 0.3), expected, rtol=1e-5)


def test_pixels_are_classified_like_as_many_images():
  rng = np.random.default_rng(0)
  logits, labels = jnp.float32(rng.normal(size=(2, 4, 3, 5))), jnp.array(rng.integers(5, size=24))
  pixels = labels.reshape(2, 4, 3)
  flat = logits.reshape(24, 5)
  for smoothing in (0.0, 0.3):
    expected = objective.loss(flat, labels, smoothing)
    np.testing.assert_allclose(objective.loss(logits, pixels, smoothing), expected, rtol=1e-6)
  np.testing.assert_array_equal(objective.count(logits, pixels), objective.count(flat, labels))
  masked = objective.count(logits, pixels, jnp.array([0.0, 1.0]))
  np.testing.assert_array_equal(masked, objective.count(flat[12:], labels[12:]))


def test_loss_of_multi_hot_labels():
  """-log sigmoid(x) = log(1 + exp(-x)) where a label is there, log(1 + exp(x)) where it is not."""
  known = np.log1p(np.exp([-2.0, 1.0, 0.5, -1.0]))
  np.testing.assert_allclose(objective.loss(LOGITS, LABELS), known.sum() / 6, rtol=1e-6)


def test_a_label_that_is_not_known_teaches_nothing():
  gradient = jax.grad(objective.loss)(LOGITS, LABELS)
  np.testing.assert_array_equal(gradient == 0, LABELS == -1)


@pytest.mark.parametrize('labels', [CLASSES, LABELS], ids=['classes', 'multi-hot'])
def test_devices_with_different_numbers_of_labels_average_to_the_whole(labels):
  def step(logits, labels):
    loss = jax.lax.pmean(objective.loss(logits, labels), AXIS)
    return loss, objective.accuracy(logits, labels)

  def run(devices):
    parts = (x.reshape(devices, -1, *x.shape[1:]) for x in (LOGITS, labels))
    return jax.vmap(step, axis_name=AXIS, out_axes=None)(*parts)

  np.testing.assert_allclose(run(2), run(1), rtol=1e-6)


def test_count():
  # The class of the second image is the largest of its logits, and so is that of the first.
  np.testing.assert_array_equal(objective.count(LOGITS, CLASSES), [2, 2])
  np.testing.assert_array_equal(objective.count(LOGITS, jnp.array([1, 2])), [1, 2])
  # Signs + - + of labels 1 1 0: the first is right. Then + of 1.
  np.testing.assert_array_equal(objective.count(LOGITS, LABELS), [2, 4])


def test_what_is_masked_does_not_count():
  mask = jnp.array([1.0, 0.0])
  np.testing.assert_array_equal(objective.count(LOGITS, CLASSES, mask), [1, 1])
  np.testing.assert_array_equal(objective.count(LOGITS, LABELS, mask), [1, 3])


def test_auc():
  """The share of pairs of an image with the label and one without that the scores order rightly."""
  scores = np.array([[3.0, 1, 0], [2, 1, 0], [1, 2, 1], [0, 1, 1]])
  labels = np.array([[1, 0, 1], [0, 1, 1], [1, -1, 1], [0, 0, -1]])
  # First label: 3 beats both 2 and 0, 1 beats 0: three of four pairs. Second: 1 against 1 and 1,
  # two ties of a half; the image that scores 2 is not known. Third: all that are known have it.
  np.testing.assert_array_equal(objective.auc(scores, labels), [3 / 4, 1 / 2, np.nan])
  np.testing.assert_array_equal(objective.auc(-scores, labels), [1 / 4, 1 / 2, np.nan])


def test_auc_of_a_network_that_diverged_is_not_defined():
  scores = np.array([[1.0, np.nan], [0, 1]])
  np.testing.assert_array_equal(objective.auc(scores, np.eye(2)), [1, np.nan])
