"""Random changes of brightness, contrast, saturation and hue, on the device."""

import jax
import jax.numpy as jnp

_GREY = 0.299, 0.587, 0.114  # of red, green and blue (ITU-R BT.601)


def jitter(numbers: jax.Array, images: jax.Array, strength: float) -> jax.Array:
  """Changes the colours of each image at random, and keeps them within 0..1.

  numbers:  [B] uint32, all that the draws of an image come from
  images:   [B, H, W, C] float32 0..1; grey ones have no saturation and hue to change
  strength: brightness, contrast and saturation are multiplied by a uniform factor from
            1 - strength to 1 + strength, hue turns by up to half of strength, as a share of the
            circle: 0.4 is what ImageNet is trained with

  torchvision's ColorJitter draws the order too, and turns hue in HSV; here the order is fixed and
  the colours turn around the grey axis, which keeps the sum of the three.
  """

  def one(number, image):
    draws = jax.random.uniform(jax.random.key(number), (4,), minval=-strength, maxval=strength)
    brightness, contrast, saturation = 1 + draws[:3]
    image = jnp.clip(brightness * image, 0, 1)
    image = _blend(image, _grey(image).mean(), contrast)
    if image.shape[-1] != 3:
      return image
    image = _blend(image, _grey(image), saturation)
    # TPUs would round colours to bfloat16.
    turned = jnp.matmul(image, _turn(jnp.pi * draws[3]), precision='highest')
    return jnp.clip(turned, 0, 1)

  return jax.vmap(one)(numbers, images)


def _blend(image, other, share):
  return jnp.clip(share * image + (1 - share) * other, 0, 1)


def _grey(image):
  """image: [H, W, C] -> [H, W, 1]"""
  if image.shape[-1] != 3:
    return image.mean(-1, keepdims=True)
  return (image * jnp.array(_GREY).reshape(1, 1, 3)).sum(-1, keepdims=True)


def _turn(angle):
  """The matrix [3, 3] that turns colours around the grey axis (1, 1, 1) by an angle in radians."""
  cross = jnp.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / jnp.sqrt(3)
  cos, sin = jnp.cos(angle), jnp.sin(angle)
  return (cos * jnp.eye(3) + (1 - cos) / 3 + sin * cross).T
