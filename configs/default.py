"""Every key of a run, with meaning, unit and allowed values. The other files only change values.

After the file's name a scale and a data set can be chosen: --config=configs/noise.py:paper,imagenet
  paper   the official protocol of DARTS on CIFAR-10 (Liu et al. 2019), cnn/train_search.py and
          cnn/train.py, to the letter
  laptop  the same with small networks and images, for a CPU
  auto    (default) laptop where JAX runs on CPU, paper on TPU and GPU
Data sets and what each changes are in datasets.py; unless one is chosen it is digits at the laptop
scale and cifar10 at the paper's.
Single keys are changed on the command line: --config.search.epochs=10.
"""

import jax
from ml_collections import ConfigDict

from configs.datasets import DATASETS, protocol

SCALES = ('auto', 'laptop', 'paper')


def get_config(choice='auto'):
  """The config of a scale, a data set, or both with a comma between. ValueError: another name."""
  scale, dataset = 'auto', None
  for name in choice.split(','):
    if name in SCALES:
      scale = name
    elif name in DATASETS:
      dataset = name
    else:
      allowed = f'{", ".join(SCALES)}; and one of {", ".join(DATASETS)}'
      raise ValueError(f'--config=FILE:{choice}; allowed after the colon: {allowed}')
  if scale == 'auto':
    scale = 'laptop' if jax.default_backend() == 'cpu' else 'paper'
  config = paper()
  if scale == 'laptop':
    shrink(config)
  DATASETS[dataset or {'laptop': 'digits', 'paper': 'cifar10'}[scale]](config)
  return config


def paper():
  """The official protocol."""
  config = ConfigDict()

  config.seed = 2  # of everything random; 0 to 2**31 - 1
  # () = the seed above alone; else the seeds of independent runs, such as (0, 1, 2)
  config.seeds = ()
  # of the seeds, how many are searched by one compiled program; 1 = one after the other, and for
  # gdas, rlnas and random, which then would have to compute all operations
  config.seeds_together = 1
  config.scale = 'paper'  # which scale the values below belong to; set by get_config alone
  config.dtype = 'float32'  # of activations: float32 or bfloat16; parameters are always float32
  # '' = search for one; a published name such as PC_DARTS_cifar; an arch string of NAS-Bench-201
  # such as '|none~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|'; a file genotype.json; the
  # workdir of an earlier search. Anything but '' skips the search.
  config.genotype = ''

  # Real images: what the found network is trained and tested on, and what the sources random_labels
  # and real show to the search.
  config.data = data = ConfigDict()
  data.path = 'tfds:cifar10'  # 'digits' (bundled), a file x.npz, a folder, or 'tfds:NAME'
  data.tfds_dir = ''  # folder that TFDS data sets were prepared in; '' = TFDS's own default
  data.size = 32  # height and width in pixels that images are resized to; 0 = as stored
  # Side of the central square of an image that is taken, over its shorter side, from 0 to 1; 0 =
  # the whole image, stretched to a square. ImageNet: 0.875, that is 224 of 256 pixels.
  data.crop = 0.0
  # In training instead: smallest share of an image's area that a random crop takes, above 0; 1 = no
  # random crop. ImageNet: 0.08.
  data.random_crop = 1.0
  # In training: brightness, contrast and saturation change by up to this share, hue by half of it
  # as a share of the circle; 0 to below 1. ImageNet: 0.4.
  data.jitter = 0.0
  data.uncertain = 'ignore'  # CheXpert: take an uncertain observation for zeros, ones, or ignore it

  # What the search sees.
  config.source = source = ConfigDict()
  source.name = 'noise'  # one of unrealnas_jax.data.SOURCES
  # Of the sources that make images: noise, fresh_noise, fresh_labels, the procedural ones; of
  # generated, the number alone. Else all training images are used.
  source.examples = 50_000  # number of different images; of fresh_noise, images of an epoch
  source.size = 32  # height and width in pixels
  source.channels = 3  # channels of an image
  # number of classes or labels, at least 2; real, noisy_labels and shuffled_labels have those of
  # their images
  source.classes = 10
  # Noise, random and noisy labels: 0 = one class an image, all as likely; above 0 and below 1 =
  # several labels an image, each of source.classes there with this probability by itself (0.5: fair
  # bits). For noisy_labels of images with several labels alone.
  source.label_rate = 0.0
  # noise, fresh_noise, fresh_labels and matched_noise: gaussian or uniform
  source.distribution = 'gaussian'
  # noise, fresh_noise and fresh_labels: of all values; real images, standardised, have 0 and 1
  source.mean = 0.0
  source.std = 1.0  # above 0
  # noisy_labels: probability of an image to have a random label in the place of its own, 0 to 1
  source.label_noise = 0.5
  # '' = the source's own labels; or what labels are made of its images alone (UnNAS): rotation,
  # jigsaw or colorisation
  source.pretext = ''
  source.grid = 2  # jigsaw: 2 or 3 tiles a side, of which 24 or 1,000 orders are classes
  # generated: workdir of a run of train_generator.py; generated.py takes the one of its own choice
  source.generator = 'runs/train_generator'
  # generated: condition = the class or labels that the generator made the image of; random = as
  # noise has
  source.labels = 'condition'

  # Training of a generator in place of a search, then of two networks that judge it (the network of
  # config.genotype, trained as config.retrain says).
  config.generator = generator = ConfigDict()
  generator.steps = 0  # updates of the generator; 0 = none is trained; see train_generator.py
  generator.latent = 128  # length of the noise vector that an image is made of
  # width of the generator where its features have up to 32 pixels a side; half of it up to 64, a
  # quarter up to 128, and so on
  generator.channels = 256
  generator.discriminator_channels = 128  # the same of the discriminator
  generator.batch = 64  # images an update over all devices, which must divide it
  generator.discriminator_steps = 5  # updates of the discriminator before each of the generator
  generator.lr = 2e-4  # Adam's learning rate for the generator, constant
  generator.discriminator_lr = 2e-4  # the same for the discriminator
  generator.beta1 = 0.0  # Adam's decay rate of the mean, for both; 0 to below 1
  generator.beta2 = 0.9  # Adam's decay rate of the square, for both; 0 to below 1
  generator.ema = 0.999  # decay of the average of the generator that images are sampled from
  generator.augment = ConfigDict()  # what the discriminator sees, real or generated (DiffAugment)
  generator.augment.color = 1.0  # how far brightness, saturation, contrast change, 0 to 1; 0 = no
  generator.augment.pad = 4  # random shift by up to this many pixels; 0 = no shift
  generator.augment.flip = True  # mirror half of the images left to right
  generator.augment.cutout = 16  # side in pixels of a square set to grey; 0 = none
  generator.sheet_every = 1_000  # steps between sheets of samples, samples/STEP.png; divides steps

  # How the architecture is learned.
  config.method = method = ConfigDict()
  method.name = 'darts'  # see unrealnas_jax.methods.METHODS
  method.order = 1  # 1, or 2: the architecture looks one step of the weights ahead
  # order 2: how second derivatives are taken: exact, or finite_difference as in the official code
  method.hvp = 'finite_difference'
  method.arch_lr = 3e-4  # Adam's learning rate, constant
  method.arch_betas = (0.5, 0.999)  # Adam's two decay rates, each from 0 to below 1
  method.arch_weight_decay = 1e-3  # L2, added to the gradient before Adam (this is not AdamW)
  method.arch_clip = 0.0  # largest L2 norm of the architecture's gradient; 0 = as it is
  method.warmup_epochs = 0  # epochs at the start of a search without updates of the architecture
  # P-DARTS: rate of the dropout on identities at first, 0 = none; it fades from epoch to epoch
  method.skip_dropout = 0.0
  # Most identities that the normal cell ends with, the weakest being struck out first; 8 = no limit
  # (not for rlnas and random)
  method.max_skips = 8
  # How the cell is read off the trained supernet: alphas (what the method has learned), or
  # perturbation (what the supernet loses without an operation; not for rlnas and random)
  method.selection = 'alphas'
  method.perturbation = ConfigDict()  # DARTS-PT
  # Epochs of tuning between two decisions, of which there are 17 (NAS-Bench-201: 6); 0 = no tuning.
  # The default of the official train_search.py; the scripts beside it ask for 5.
  method.perturbation.finetune_epochs = 10
  # what shows a loss: accuracy, as officially, or loss, where labels mean nothing
  method.perturbation.criterion = 'accuracy'
  # DARTS-ES: the search ends where the dominant eigenvalue of the architecture's Hessian has grown.
  method.eigenvalue = ConfigDict()
  method.eigenvalue.every = 0  # measured after so many epochs, each time; 0 = never
  method.eigenvalue.window = 5  # averaged over so many measures
  method.eigenvalue.back = 4  # compared with the average of so many measures before
  # largest growth; above 1. The architecture is then that of `back` measures and half a window
  # before, for an average stands for the middle of its window
  method.eigenvalue.factor = 1.3
  # earliest epoch that the architecture is taken of, counted from 1 (officially 10, from 0)
  method.eigenvalue.first = 11
  method.gdas = ConfigDict()
  method.gdas.tau = 10.0  # gdas: temperature of its samples' gradient in the first epoch; above 0
  method.gdas.tau_end = 0.1  # gdas: what it falls to, linearly, in the last epoch; above 0
  method.drnas = ConfigDict()
  # drnas: whether none is a candidate: officially in NAS-Bench-201, but not in the space of DARTS
  method.drnas.none = False
  # drnas: weight in the architecture's loss of the divergence from Dirichlet(1); officially 0 with
  # arch_weight_decay, or 1e-3 (to be tuned) without
  method.drnas.kl = 0.0
  method.sdarts = ConfigDict()
  method.sdarts.perturbation = 'random'  # sdarts: random or adversarial
  # sdarts: most that is added to a mixing weight in the first epoch, and what that grows to
  method.sdarts.epsilon_start = 0.03
  method.sdarts.epsilon = 0.3  # sdarts: reached linearly, one epoch after the last
  method.sdarts.steps = 7  # sdarts, adversarial: gradient steps to the perturbation; at least 1
  # sdarts, adversarial: length of all these steps together, in epsilons; above 0
  method.sdarts.step_size = 2.0
  method.rlnas = ConfigDict()
  # rlnas: which weights the angle is taken over: network (all that a cell's network has) or edges
  # (only those of its operations; layers that all cells share outweigh them in a small supernet)
  method.rlnas.angle = 'network'
  # rlnas: evolution, or exhaustive, which ranks all cells (search.space = 'nasbench201' has few)
  method.rlnas.search = 'evolution'
  # rlnas: evolution of the cell that turns most
  method.evolution = ConfigDict()
  method.evolution.population = 50  # cells of the first generation
  method.evolution.generations = 20  # at least 1
  method.evolution.parents = 10  # the best cells so far, which are bred from
  # cells of a generation that differ from a parent in some genes
  method.evolution.mutations = 25
  method.evolution.mutation_probability = 0.1  # of each gene
  # cells of a generation that have about half of their genes from each of two parents
  method.evolution.crossovers = 25
  # random: how a cell is chosen
  method.random = ConfigDict()
  # random cells that share search.epochs; for each the learning rate falls anew
  method.random.cells = 10
  method.random.measure = 'val_accuracy'  # val_accuracy, or train_loss where labels mean nothing

  # Stages of a search: () = one. Else one dict a stage, of keys that differ in it, such as
  # {'search.cells': 11, 'search.kept_ops': 5}; each stage has a new supernet.
  config.stages = ()

  # Training of the supernet's weights by SGD with momentum.
  config.search = search = ConfigDict()
  search.space = 'darts'  # see unrealnas_jax.spaces.SPACES
  search.channels = 16  # width of the first cell; doubles at both reductions
  # Number of cells: of DARTS in all (the two at 1/3 and 2/3 of the depth reduce), of NAS-Bench-201
  # in each of the three stages.
  search.cells = 8
  search.partial_channels = 1  # one part in so many of the channels is searched, the rest pass by
  search.kept_ops = 0  # in a later stage: candidates left to each edge by the one before; 0 = all
  # Most parameters, and multiply-adds for one image, of the network that `retrain` makes of the
  # found cell, without its auxiliary head; 0 = no limit
  search.max_parameters = 0
  search.max_multiply_adds = 0  # such as 600_000_000
  search.affine = False  # norms have a learned scale and bias, each edge its own
  search.stem = 'cifar'  # as retrain.stem
  search.batch = 64  # images a step over all devices, which must divide it
  # Images over all devices that are computed at once, to save memory: a divisor of batch and a
  # multiple of the number of devices. Batch norm then sees so many, and results differ; 0 = batch
  search.microbatch = 0
  # Passes over the half of the data that trains the weights; 0 only for random: no training at all.
  search.epochs = 50
  search.train_portion = 0.5  # fraction of the data for the weights, the rest: architecture
  # fraction of each class that is searched on, drawn by seed; 1 = all images. Real images are drawn
  # by their true labels, whatever labels the source then gives them.
  search.subset = 1.0
  search.lr = 0.025  # learning rate in the first epoch
  search.lr_end = 0.001  # what it goes down to; at most lr
  # How: cosine, linear (in the last 5 epochs on a smaller slope) or exponential, each by epochs, or
  # linear_by_step (one straight line, lower at each step)
  search.lr_schedule = 'cosine'
  search.lr_warmup = 0  # first epochs, in which the learning rate grows to lr; at most epochs
  search.momentum = 0.9  # 0 to below 1
  search.nesterov = False  # whether momentum is Nesterov's
  search.weight_decay = 3e-4  # L2, added to the clipped gradient before momentum
  search.decayed = 'all'  # which weights are: all, or convolutions (not norms, not the classifier)
  search.clip = 5.0  # largest L2 norm of the whole gradient; above 0
  search.clip_by = 'norm'  # norm, or value: search.clip is the largest magnitude of each value
  # Share of a target that all classes get alike where the weights are trained, and in train_loss;
  # the architecture's own loss has none. 0 to below 1; 0 with several labels an image
  search.label_smoothing = 0.0
  search.augment = ConfigDict()
  search.augment.pad = 4  # random crop after padding by this many pixels; 0 = no crop
  search.augment.flip = True  # mirror half of the images left to right
  search.augment.cutout = 0  # side in pixels of a square set to zero; 0 = none
  search.steps_per_call = 1  # steps that one call of the device runs; at least 1

  # Training of the found network from scratch, on real images, then its test accuracy. The network
  # of a NAS-Bench-201 cell has three stages, and no other stem, auxiliary head or drop path.
  config.retrain = retrain = ConfigDict()
  retrain.channels = 36  # width of the first cell
  retrain.cells = 20  # the two at 1/3 and 2/3 of the depth reduce; NAS-Bench-201: cells of a stage
  retrain.batch = 96  # images a step over all devices, which must divide it
  retrain.microbatch = 0  # as search.microbatch
  # Keep of each cell its inputs alone and compute it again on the way back, for less memory on TPU
  # and GPU and the same results; XLA undoes it on a CPU
  retrain.remat = False
  retrain.epochs = 600  # passes over the training images; 0 = no retraining
  # cifar (full resolution) or imagenet (1/8 of height and width); NAS-Bench-201: cifar
  retrain.stem = 'cifar'
  retrain.lr = 0.025  # learning rate in the first epoch
  retrain.lr_end = 0.0  # what it goes down to; at most lr, above 0 if exponential
  retrain.lr_schedule = 'cosine'  # as search.lr_schedule
  retrain.lr_warmup = 0  # first epochs, in which the learning rate grows to lr; at most epochs
  retrain.label_smoothing = 0.0  # share of a target that all classes get alike; 0 to below 1
  retrain.momentum = 0.9  # 0 to below 1
  retrain.weight_decay = 3e-4  # L2, added to the clipped gradient before momentum
  retrain.clip = 5.0  # largest L2 norm of the whole gradient; above 0
  retrain.auxiliary = 0.4  # weight of the auxiliary head's loss; 0 = none; NAS-Bench-201: 0
  # probability to drop an edge, reached linearly at the end; below 1; NAS-Bench-201: 0
  retrain.drop_path = 0.2
  retrain.augment = ConfigDict()
  retrain.augment.pad = 4  # pixels of padding before a random crop; 0 = no crop
  retrain.augment.flip = True  # mirror half of the images left to right
  retrain.augment.cutout = 16  # side in pixels of a square set to zero; 0 = none

  # Published results that a NAS-Bench-201 cell is looked up in.
  config.benchmark = ConfigDict()
  # A table of its 15,625 cells with test accuracies in percent after 200 epochs: a file x.csv or
  # x.csv.gz with the columns arch, c10_test_200ep, c100_test_200ep and in16_test_200ep; or the
  # topology space of NATS-Bench, x.pickle.pbz2 or a folder, which are pickles: take them from their
  # authors only (pip install -e '.[nasbench201]'). '' = none.
  config.benchmark.nasbench201_csv = ''

  # How well given cells memorise and generalise, instead of a search and a retraining.
  config.analysis = analysis = ConfigDict()
  # '' = no such analysis; else names parted by commas, each as `genotype` takes them, or random for
  # a random cell of search.space. Each is trained on each source, as retrain says.
  analysis.genotypes = ''
  analysis.sources = 'random_labels,real,noise'  # parted by commas, see unrealnas_jax.data.SOURCES

  config.checkpoint = ConfigDict()
  config.checkpoint.every = 0  # steps between checkpoints; 0 = one an epoch
  config.checkpoint.keep = 3  # how many of the last ones stay
  config.log_every = 50  # steps between lines of metrics.jsonl
  return config


def search_as_on_cifar(config):
  """Gives a search the paper's protocol of CIFAR-10 again, where another set has changed it.

  For methods that no search on that set is published of. Its images and their number stay.
  """
  if protocol(config) == 'cifar':
    return
  there = paper()
  for key in ('batch', 'lr', 'lr_end', 'lr_warmup'):
    config.search[key] = there.search[key]
  for key in ('arch_lr', 'arch_clip', 'warmup_epochs'):
    config.method[key] = there.method[key]


def shrink(config):
  """Makes the paper's config the laptop's."""
  config.scale = 'laptop'
  config.data.size = 16
  # Even so the tuning, 81 epochs, takes many times as long as the search.
  config.method.perturbation.finetune_epochs = 5

  config.source.examples = 1_000
  config.source.size = 16

  generator = config.generator
  generator.latent = 64
  generator.channels = 64
  generator.discriminator_channels = 64
  generator.discriminator_steps = 1
  generator.discriminator_lr = 4e-4
  generator.augment.pad = 2
  generator.augment.cutout = 8
  generator.sheet_every = 250

  search = config.search
  search.channels = 8
  search.cells = 5
  search.batch = 32
  search.epochs = 5
  search.augment.pad = 2

  retrain = config.retrain
  retrain.channels = 12
  retrain.cells = 5
  retrain.batch = 64
  retrain.epochs = 15
  retrain.drop_path = 0.1
  retrain.augment.pad = 2
  retrain.augment.cutout = 0
  config.log_every = 10
