"""Search by a pretext task, whose labels are made of images alone, then train on true labels.

Paper: UnNAS (Liu et al. 2020, arXiv 2003.12056); the search is first-order DARTS (Liu et al. 2019).

  python -m unrealnas_jax.main --config=configs/pretext.py           # rotation
  python -m unrealnas_jax.main --config=configs/pretext.py:jigsaw,paper    # CIFAR-10
  python -m unrealnas_jax.main --config=configs/pretext.py:colorisation,paper,imagenet
  ... --config=configs/pretext.py:jigsaw --config.source.name=fractals     # of any source's images

  After the colon: a task, then scale and data set as elsewhere.
  rotation        by how many quarters the image is turned: 4 classes
  jigsaw          in which order its tiles lie: 24 classes of 2x2 tiles, 1,000 of 3x3 (source.grid)
  colorisation    which colour each pixel of a grey image had: 313 bins; needs images with colours

Before a task images are mirrored at random, and before rotation also cropped at random after
padding, as UnNAS has it on CIFAR-10 (prepare.py), where the border is grey and here black. Other
small images are treated alike; UnNAS has none.

With imagenet at the paper scale the search is that of UnNAS (configs/search_based): two epochs on
half of the images each for weights and architecture, which rests in the first. Different here: a
batch of rotations holds 128 images, each turned in one way, not 32 in all four; images of a jigsaw
have 224 pixels, not 255; the stem and the views of images are those of configs/datasets.py.

Time: not run yet.
"""

from configs import default

# Of UnNAS on ImageNet: images a step, learning rate of the weights, of the architecture.
IMAGENET = {
  'rotation': (128, 0.05, 1.5e-4),
  'jigsaw': (32, 0.05, 1.5e-4),
  'colorisation': (64, 0.1, 3e-4),
}


def get_config(choice='rotation'):
  task, _, scale = choice.partition(',')
  config = default.get_config(scale or 'auto')
  config.source.name, config.source.pretext = 'real', task
  if task in ('jigsaw', 'colorisation'):
    config.search.augment.pad = 0  # a border would tell where its tile lies, and ask for its colour
  if config.scale == 'paper' and config.data.size >= 224:
    config.source.grid = 3
  if config.scale == 'paper' and config.data.path == 'tfds:imagenet2012' and task in IMAGENET:
    search, method = config.search, config.method
    search.batch, search.lr, method.arch_lr = IMAGENET[task]
    search.subset, search.train_portion, search.epochs, search.lr_warmup = 1.0, 0.5, 2, 0
    search.weight_decay, method.arch_clip, method.warmup_epochs = 3e-5, 0.0, 1
  return config
