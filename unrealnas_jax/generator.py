"""Training the generator of the source `generated` on real images, and how good its images are."""

import functools
import io
import math
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from etils import epath
from PIL import Image

from unrealnas_jax import gan, loop, metrics, parallel, retrain, samples
from unrealnas_jax.data import batches, generated, real
from unrealnas_jax.data.diffaugment import diffaugment
from unrealnas_jax.state import GeneratorState

SHEET = 10  # classes on a sheet of samples, at most, and images of each
SHEET_PIXELS = 32  # least height and width of an image there


class Networks(NamedTuple):
  """The two networks and their optimizers."""

  generator: nn.Module
  discriminator: nn.Module
  generator_tx: optax.GradientTransformation
  discriminator_tx: optax.GradientTransformation


def run(config, genotype, dataset, workdir):
  """Trains, or goes on with the training in workdir, then judges: facts for result.json.

  genotype: of the networks that judge (see `judge`). Writes samples/STEP.png and what
  generated.save does.
  Raises ValueError: the checkpoints or metrics in workdir cannot be used.
  """
  description, rows = describe(config, dataset), generated.conditions(dataset)
  if parallel.is_primary():
    generated.save(workdir, description, rows)
  key, plan = prepare(config, dataset, description, workdir)
  state, seconds = loop.run(plan, key, config, workdir)
  facts = {
    'generator_seconds': seconds,
    'generator_steps': plan.steps,
    'generator_parameters': sum(x.size for x in jax.tree.leaves(state.ema['params'])),
    'dataset': dataset.name,
  }
  if config.retrain.epochs:
    variables = jax.tree.map(np.asarray, state.ema)
    fakes = generated.from_variables(description, variables, rows, dataset.train.size, config.dtype)
    facts |= judge(config, genotype, dataset, fakes, workdir)
  return facts


def describe(config, dataset):
  """The Description of the generator that a config trains on a data set."""
  return generated.Description(
    dataset=dataset.name,
    latent=config.generator.latent,
    channels=config.generator.channels,
    classes=dataset.classes,
    shape=dataset.shape,
    mean=tuple(dataset.mean.tolist()),
    std=tuple(dataset.std.tolist()),
    several=bool(dataset.names),
  )


def prepare(config, dataset, description, workdir):
  """(key, loop.Plan) of the training; nothing is computed yet.

  Its epochs are the steps from one sheet of samples to the next.
  """
  hp, networks = config.generator, make_networks(config, description)
  source = real.make(config, dataset)
  batches.steps_per_epoch(np.arange(source.examples), hp.batch, 'generator.batch')
  key = jax.random.key(config.seed)
  plan = loop.Plan(
    phase='generator',
    steps=hp.steps,
    epoch_steps=hp.sheet_every,
    per_call=1,
    init=functools.partial(init_state, jax.random.fold_in(key, 0), description, networks),
    step=parallel.pmap_step(make_step(hp, networks), batches=1),
    batches=functools.partial(_batches, config, source),
    learning_rate=lambda step: hp.lr,
    end_of_epoch=_write_sheet(jax.random.fold_in(key, 2), description, networks, workdir),
  )
  return jax.random.fold_in(key, 1), plan


def make_networks(config, description):
  """The networks of config.generator, the generator averaging over devices."""
  hp = config.generator
  return Networks(
    generator=generated.make_network(description, config.dtype, parallel.AXIS),
    discriminator=gan.Discriminator(
      channels=hp.discriminator_channels,
      classes=description.classes,
      dtype=jnp.dtype(config.dtype),
    ),
    generator_tx=optax.adam(hp.lr, hp.beta1, hp.beta2),
    discriminator_tx=optax.adam(hp.discriminator_lr, hp.beta1, hp.beta2),
  )


def init_state(key, description, networks):
  """The state before the first step."""
  keys = jax.random.split(key)
  noise, label = generated.first_inputs(description)
  image = jnp.zeros((1, *description.shape))
  generator = networks.generator.init(keys[0], noise, label, train=False)
  discriminator = networks.discriminator.init(keys[1], image, label, train=False)
  return GeneratorState(
    step=jnp.zeros((), jnp.int32),
    generator=generator,
    discriminator=discriminator,
    ema=jax.tree.map(jnp.copy, generator),
    generator_opt=networks.generator_tx.init(generator['params']),
    discriminator_opt=networks.discriminator_tx.init(discriminator['params']),
  )


def make_step(hp, networks):
  """(key, state, batch) -> (state, metrics [1]) for one device's batches [N, B, ...].

  N updates of the discriminator, one with each batch, then one of the generator. What an image is
  made of and how it is changed depends on its example's index alone, which makes the generated
  images of a batch have the labels of the real ones.
  """
  update_both = functools.partial(_update_discriminator, hp, networks)

  def step(key, state, batch):
    key = jax.random.fold_in(key, state.step)
    # No lax.scan: in a loop XLA's kernel gradients are a hundred times slower on CPU.
    for number in range(hp.discriminator_steps):
      one = {name: x[number] for name, x in batch.items()}
      state, values = update_both(jax.random.fold_in(key, number), state, one)
    last = jax.random.fold_in(key, hp.discriminator_steps)
    state, value = _update_generator(hp, networks, last, state, one)
    values = parallel.mean({**values, 'generator_loss': value})
    return state, jax.tree.map(lambda x: x[None], values)

  return step


def _update_discriminator(hp, networks, key, state, batch):
  index, labels = batch['index'], batch['label']
  fake, _ = _sample(networks, key, state.generator['params'], state, index, labels)
  images = [
    diffaugment(jax.random.fold_in(key, number), index, x, **hp.augment)
    for number, x in enumerate((from_pixels(batch['image']), fake))
  ]
  images, labels = jnp.concatenate(images), jnp.concatenate([labels, labels])

  def loss(params):
    variables = {**state.discriminator, 'params': params}
    scores, stats = networks.discriminator.apply(
      variables, images, labels, train=True, mutable=['batch_stats']
    )
    real_scores, fake_scores = jnp.split(scores, 2)
    value = gan.discriminator_loss(real_scores, fake_scores)
    return value, (stats, real_scores.mean(), fake_scores.mean())

  params = state.discriminator['params']
  (value, aux), gradient = jax.value_and_grad(loss, has_aux=True)(params)
  stats, real_score, fake_score = aux
  params, opt = _apply(
    networks.discriminator_tx, parallel.mean(gradient), state.discriminator_opt, params
  )
  state = state.replace(discriminator={**stats, 'params': params}, discriminator_opt=opt)
  values = {'discriminator_loss': value, 'real_score': real_score, 'fake_score': fake_score}
  return state, values


def _update_generator(hp, networks, key, state, batch):
  index, labels = batch['index'], batch['label']

  def loss(params):
    images, stats = _sample(networks, key, params, state, index, labels)
    images = diffaugment(jax.random.fold_in(key, 1), index, images, **hp.augment)
    scores = networks.discriminator.apply(state.discriminator, images, labels, train=False)
    return gan.generator_loss(scores), stats

  params = state.generator['params']
  (value, stats), gradient = jax.value_and_grad(loss, has_aux=True)(params)
  params, opt = _apply(networks.generator_tx, parallel.mean(gradient), state.generator_opt, params)
  generator = {**stats, 'params': params}
  ema = average(hp.ema, state.step, generator, state.ema)
  state = state.replace(step=state.step + 1, generator=generator, generator_opt=opt, ema=ema)
  return state, value


def _sample(networks, key, params, state, index, labels):
  """(images, new statistics) of the generator in training."""
  latent = params['start']['kernel'].shape[0]
  keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(key, 2), index)
  noise = jax.vmap(lambda key: jax.random.normal(key, (latent,)))(keys)
  variables = {**state.generator, 'params': params}
  return networks.generator.apply(variables, noise, labels, train=True, mutable=['batch_stats'])


def _apply(tx, gradient, opt, params):
  updates, opt = tx.update(gradient, opt, params)
  return optax.apply_updates(params, updates), opt


def average(decay, step, new, old):
  """old * d + new * (1 - d); d = min(decay, (1 + step) / (10 + step)), so early weights go fast."""
  decay = jnp.minimum(decay, (1 + step) / (10 + step))
  return optax.incremental_update(new, old, 1 - decay)


def from_pixels(images):
  """Real images, uint8 or float32 from 0 to 1, as the networks see them: from -1 to 1."""
  scaled = images.astype(jnp.float32)
  return scaled / 127.5 - 1 if images.dtype == jnp.uint8 else scaled * 2 - 1


def _batches(config, source, steps):
  hp, number = config.generator, config.generator.discriminator_steps
  part = jax.process_index(), jax.process_count()
  train = batches.train_batches(
    lambda indices, numbers: source.read(indices),  # no random views, which it would learn to draw
    np.arange(source.examples),
    *(hp.batch, config.seed, range(steps.start * number, steps.stop * number)),
    key='generator.batch',
    per_call=number,
    part=part,
  )
  return ((batch,) for batch in train)


def _write_sheet(key, description, networks, workdir):
  """state -> {}; writes samples/STEP.png: a row for each class, the same noise in every sheet.

  Where images have several labels, a row for each that has it alone.
  """
  rows = min(SHEET, description.classes)
  labels = jnp.arange(rows).repeat(SHEET)
  if description.several:
    labels = jax.nn.one_hot(labels, description.classes, dtype=jnp.int32)
  noise = jax.random.normal(key, (rows * SHEET, description.latent))

  @jax.jit
  def sample(variables):
    return networks.generator.apply(variables, noise, labels, train=False)

  def end_of_epoch(state):
    if parallel.is_primary():
      path = epath.Path(workdir) / 'samples' / f'{int(state.step):06d}.png'
      path.parent.mkdir(parents=True, exist_ok=True)
      with io.BytesIO() as file:
        Image.fromarray(sheet(np.asarray(sample(state.ema)), SHEET)).save(file, 'png')
        metrics.write_whole(path, file.getvalue())
    return {}

  return end_of_epoch


def sheet(images, columns):
  """Images [N, H, W, C] from -1 to 1 side by side, enlarged to SHEET_PIXELS: uint8 [h, w(, 3)]."""
  scale = math.ceil(SHEET_PIXELS / min(images.shape[1:3]))
  pixels = np.round((images + 1) * 127.5).astype(np.uint8).repeat(scale, 1).repeat(scale, 2)
  pixels = samples.lay(pixels, columns)
  return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def judge(config, genotype, dataset, fakes, workdir):
  """How well a network trained on one kind of images does on the other.

  gan_train_accuracy: trained on generated images, as many as there are real ones, and tested on
  real test images; gan_test_accuracy: trained on real images and tested on generated ones;
  real_accuracy: trained and tested on real images, what the first can reach at best. Where images
  have several labels also gan_train_auc and so on, means as of retrain.mean_auc.
  fakes: a Source of as many generated images as there are real ones
  The network is that of a genotype, trained as config.retrain says. Source: Shmelkov, Schmid,
  Alahari: How good is my GAN? (ECCV 2018, arXiv 1807.09499).
  """
  train, test = (real.make(config, dataset, split) for split in ('train', 'test'))
  of_fakes = retrain.prepare(config, genotype, fakes, 'judge_generated')
  of_real = retrain.prepare(config, genotype, train, 'judge_real')
  on_fakes, facts = retrain.fit(of_fakes, config, workdir)
  on_real, more = retrain.fit(of_real, config, workdir)
  # As many as there are test images; their key is not that of the training images.
  fakes = fakes._replace(examples=test.examples)
  pairs = {'gan_train': (on_fakes, test), 'gan_test': (on_real, fakes), 'real': (on_real, test)}
  for name, (state, source) in pairs.items():
    scores = retrain.evaluate(config, of_real.network, state, source, dataset)
    facts[f'{name}_accuracy'] = scores['test_accuracy']
    if dataset.names:
      facts[f'{name}_auc'] = scores['test_auc']
  return {**facts, **more, 'test_images': test.examples}
