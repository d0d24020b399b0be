"""What networks are trained for and judged by, whether an image has one class or several labels.

logits: [B, K], or [B, H, W, K] where each pixel has a class [B, H, W]; labels are else either
  [B]     int, the class of each image, 0..K - 1: softmax cross entropy
  [B, K]  int, multi-hot, 1 = there, 0 = not there, MISSING = not known: sigmoid cross entropy of
          each label alone, where a label that is not known has no part
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from unrealnas_jax import parallel
from unrealnas_jax.data.split import MISSING


def loss(logits, labels, smoothing=0.0):
  """Mean loss []; smoothing: of classes, what is spread evenly over all of them."""
  if labels.ndim < logits.ndim and smoothing:
    targets = optax.smooth_labels(jax.nn.one_hot(labels, logits.shape[-1]), smoothing)
    return optax.softmax_cross_entropy(logits, targets).mean()
  if labels.ndim < logits.ndim:
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
  losses = optax.sigmoid_binary_cross_entropy(logits, labels.astype(logits.dtype))
  # Over all labels, known or not: then devices that know different numbers of them still average to
  # the loss of the whole batch.
  return (losses * (labels != MISSING)).mean()


def accuracy(logits, labels):
  """Fraction of the answers that are right, over all devices; only inside a step."""
  right, known = parallel.mean(count(logits, labels))
  return right / known


def count(logits, labels, mask=None):
  """(right answers, answers that are known) [2] float32, of one device.

  A class, of an image or a pixel, asks for one answer, a multi-hot label for K, each by the sign of
  its logit.
  mask: [B], 0 for images that are not counted
  """
  if labels.ndim < logits.ndim:
    right, known = logits.argmax(-1) == labels, jnp.ones(labels.shape)
  else:
    right, known = (logits > 0) == (labels == 1), labels != MISSING
  if mask is not None:
    known = known * jnp.expand_dims(mask, range(1, labels.ndim))
  return jnp.stack([(right * known).sum(), known.sum()], dtype=jnp.float32)


def auc(scores, labels):
  """Area under the ROC curve of each label [K] float64, over the images whose label is known.

  scores, labels: numpy [N, K]. NaN where it is not defined: all these images have the label, or
  none, or a score is not finite.
  """
  from sklearn.metrics import roc_auc_score  # a second that only multi-label sets should pay

  def one(scores, labels):
    known = labels != MISSING
    if len(np.unique(labels[known])) < 2 or not np.isfinite(scores).all():
      return np.nan
    return roc_auc_score(labels[known], scores[known])

  return np.array([one(*columns) for columns in zip(scores.T, labels.T, strict=True)])
