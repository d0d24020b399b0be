"""What all procedural sources share; whether a classifier can tell their classes apart."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny
from ml_collections import ConfigDict
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from unrealnas_jax.data import make_source
from unrealnas_jax.data.procedural import painted

CLASSES = 4
EXAMPLES = 600
# Besides what `examples` is given, what the config of noise has.
NOISE = {'label_rate': 0.0, 'distribution': 'gaussian', 'mean': 0.0, 'std': 1.0, 'pretext': ''}
# Which part of the images not seen a linear classifier gets right; chance is 1/4. Each is at least
# 0.045 below the least of the seeds 0 to 19, which was 0.995, 0.88, 0.995, 1 and 0.55; their means
# were 1, 0.95, 1, 1 and 0.70.
LEAST = {'fractals': 0.95, 'dead_leaves': 0.8, 'spectrum': 0.95, 'gratings': 0.95, 'perlin': 0.5}


@functools.cache
def examples(name, channels=1, classes=CLASSES, seed=7):
  """(images, labels) of all examples."""
  values = {'examples': EXAMPLES, 'size': 16, 'channels': channels, 'classes': classes}
  source = make_source(ConfigDict({'source': {'name': name, **NOISE, **values}}))
  batch = source.read(np.arange(EXAMPLES))
  return jax.tree.map(np.asarray, jax.jit(source.fn)(jax.random.key(seed), batch))


@pytest.mark.parametrize('name', LEAST)
def test_each_image_is_standardised_by_itself(name):
  # Of 256 float32 values, whose sums stay below 256, a mean is off by 256 roundings of 2^-24 at
  # worst; the variance is a mean of 768 squares, whose sums stay below 1024.
  images, _ = examples(name, channels=3)
  assert np.abs(images.mean((1, 2), dtype=np.float64)).max() < 256 * 2**-24
  np.testing.assert_allclose(images.var((1, 2, 3), dtype=np.float64), 1, atol=1024 * 2**-24)


def features(images):
  """[N, F]: logarithms of the spectrum, distances from the commonest grey, differences of pixels.

  None of them changes with a shift or with the sign of a colour, which classes do not decide.
  """
  grey = images.mean(-1)
  spectrum = np.log(np.abs(np.fft.rfft2(grey)) + 1e-3)
  form = np.abs(grey - np.median(grey, axis=(1, 2), keepdims=True))
  steps = []
  for down, across in ((0, 1), (1, 0), (1, 1), (1, -1), (0, 3), (3, 0), (2, 2), (2, -2)):
    moved = np.roll(images, (down, across), axis=(1, 2))
    step = np.abs(moved - images)[:, 3:-3, 3:-3].max(-1)
    steps += [step.mean((1, 2)), (step < 0.05).mean((1, 2)), np.square(step).mean((1, 2))]
  parts = spectrum, form, np.stack(steps, axis=1)
  return np.concatenate([x.reshape(len(images), -1) for x in parts], axis=1)


def held_out_accuracy(name):
  images, labels = examples(name)
  seen = features(images)
  classifier = LinearDiscriminantAnalysis(solver='lsqr', shrinkage='auto')
  return classifier.fit(seen[:400], labels[:400]).score(seen[400:], labels[400:])


@pytest.mark.parametrize('name', LEAST)
def test_classes_can_be_told_apart_on_images_not_seen(name):
  assert held_out_accuracy(name) > LEAST[name]


def test_the_classes_of_noise_cannot():
  # The accuracy of guesses on 200 images has the standard deviation sqrt(1/4 * 3/4 / 200) = 0.03.
  assert abs(held_out_accuracy('noise') - 1 / CLASSES) < 4 * 0.03


def test_classes_depend_on_the_seed_and_not_on_their_number():
  def mean_spectra(**changes):
    images, labels = examples('gratings', **changes)
    spectra = np.abs(np.fft.rfft2(images[..., 0]))
    return np.stack([spectra[labels == label].mean(0) for label in range(CLASSES)])

  first = mean_spectra()
  more, other = (np.abs(mean_spectra(**x) - first).mean() for x in ({'classes': 6}, {'seed': 8}))
  # Of a class there are other images and fewer, which moves its mean: by 0.019 to 0.039 of what
  # another seed does, with the seeds 0 to 19.
  assert more < 0.1 * other


def nearest(points):
  """The least distance of two points [N, D], on a cube whose opposite sides are one."""
  steps = np.abs(points[:, None] - points[None])
  distances = np.sqrt(np.square(np.minimum(steps, 1 - steps)).sum(-1))
  return (distances + 9 * np.eye(len(points))).min()


@pytest.mark.parametrize('count', [1, 2, 3, 4])
def test_classes_are_spread_evenly(count):
  spread = jax.jit(jax.vmap(lambda label: painted.spread(jax.random.key(3), label, count)))
  points = np.asarray(spread(jnp.arange(1000)), np.float64)
  assert ((points >= 0) & (points < 1)).all()
  # The best that K points can do is about K^(-1/D) apart; random ones come K^(-2/D) close. These
  # are 0.45 to 0.77 of the first apart, wherever they are shifted to.
  for classes in (10, 1000):
    assert nearest(points[:classes]) > 0.4 * classes ** (-1 / count)


def test_a_class_of_a_high_number_is_exact():
  first, far = (
    np.asarray(painted.spread(jax.random.key(3), jnp.int32(n), 2), np.float64) for n in (0, 10**6)
  )
  plastic = 1.32471795724474602596  # the real root of x^3 = x + 1
  expected = (10**6 * np.array([1 / plastic, 1 / plastic**2])) % 1
  # Steps are whole multiples of 2^-32, so 10^6 of them are off by 10^6 / 2^33 = 1.2e-4 at most.
  error = np.abs((far - first - expected + 0.5) % 1 - 0.5)
  assert error.max() < 1.3e-4


def test_an_image_of_one_colour_is_zero():
  np.testing.assert_array_equal(painted.standardise(jnp.full((4, 4, 2), 0.75)), 0)


def test_total_adds_along_the_first_axis():
  x = tiny.noise(7, 2, 3)
  np.testing.assert_allclose(painted.total(x), x.sum(0), rtol=1e-5)
