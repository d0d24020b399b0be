"""Data sets that every config can be run on: --config=configs/noise.py:paper,imagenet.

Each function turns a config made for CIFAR-10 (default.py) into one for another set: the images, a
source of the same shape and number of classes, and at the paper scale the protocol of search and
retraining. Nothing here knows of methods but what a protocol says of every method. A method file
that changes a search or retraining asks `protocol` first, so that no two protocols are mixed.
"""


def digits(config):
  """scikit-learn's 1,797 digits, bundled; the set of the laptop scale."""
  _set(config, 'digits', channels=1, classes=10, flip=False)  # a mirrored digit is none


def cifar10(config):
  """CIFAR-10 (Krizhevsky 2009); the set of the paper scale, whose protocol is in default.py."""
  _set(config, 'tfds:cifar10', channels=3, classes=10)


def cifar100(config):
  """CIFAR-100 (Krizhevsky 2009), its fine labels, by the protocol of CIFAR-10."""
  _set(config, 'tfds:cifar100', channels=3, classes=100)


def svhn(config):
  """SVHN (Netzer et al. 2011), cropped digits without the extra images, else as CIFAR-10."""
  _set(config, 'tfds:svhn_cropped', channels=3, classes=10, flip=False)


def fashion_mnist(config):
  """Fashion-MNIST (Xiao et al. 2017), 28x28 pixels, by the protocol of CIFAR-10."""
  _set(config, 'tfds:fashion_mnist', channels=1, classes=10)
  if config.scale == 'paper':
    config.data.size = config.source.size = 28


def imagenet(config):
  """ImageNet (Russakovsky et al. 2015) at 224 pixels.

  Search: PC-DARTS (Xu et al. 2020), train_search_imagenet.py: 10 % of each class for the weights
  and 2.5 % for the architecture, which is first updated in epoch 35. Retraining: the protocol of
  P-DARTS and PC-DARTS, train_imagenet.py. That of DARTS is batch 128, lr 0.1, lr_warmup 0,
  lr_schedule exponential, lr_end 0.1 * 0.97**250.
  data.path may also be a folder with train/CLASS/ and val/CLASS/.
  """
  _set(config, 'tfds:imagenet2012', channels=3, classes=1000)
  data, search, retrain = config.data, config.search, config.retrain
  data.size = config.source.size = 32
  data.crop, data.random_crop, data.jitter = 0.875, 0.08, 0.4
  search.augment.pad = retrain.augment.pad = retrain.augment.cutout = 0
  if config.scale == 'paper':
    data.size = config.source.size = 224
    _search_part_of_imagenet(config)
    search.stem = retrain.stem = 'imagenet'
    search.batch, search.lr, search.lr_end, search.lr_warmup = 1024, 0.5, 0.0, 5
    config.method.arch_lr, config.method.arch_clip = 6e-3, 5.0
    config.method.warmup_epochs = 35
    retrain.channels, retrain.cells = 48, 14
    retrain.batch, retrain.epochs = 1024, 250
    retrain.lr, retrain.lr_schedule, retrain.lr_warmup = 0.5, 'linear', 5
    retrain.weight_decay, retrain.drop_path, retrain.label_smoothing = 3e-5, 0.0, 0.1


def imagenet32(config):
  """ImageNet at 32 pixels (Chrabaszcz et al. 2017), on the networks of CIFAR-10.

  No protocol is published for this search space: batch, epochs and learning rates are ours.
  """
  _downsampled_imagenet(config, 32)


def imagenet64(config):
  """ImageNet at 64 pixels, as imagenet32."""
  _downsampled_imagenet(config, 64)


def chexpert(config):
  """CheXpert (Irvin et al. 2019) at 224 pixels: 14 observations, the mean AUC over five of them.

  data.uncertain says what an uncertain observation is taken for. UnrealNAS's own protocol is not
  published: the networks are those of ImageNet, batch, epochs and learning rates are ours. Films
  are not mirrored, since the heart lies on one side.
  The images must be asked for (stanfordmlgroup.github.io/competitions/chexpert); TFDS then prepares
  them from CheXpert-v1.0-small in its folder for manual downloads.
  """
  _set(config, 'tfds:chexpert', channels=3, classes=14, label_rate=0.5, flip=False)
  data, search, retrain = config.data, config.search, config.retrain
  data.size = config.source.size = 32
  retrain.augment.cutout = 0
  if config.scale == 'paper':
    data.size = config.source.size = 224
    config.source.examples = 225_280  # about as many as CheXpert has, in whole tens of batches
    search.stem = retrain.stem = 'imagenet'
    search.augment.pad = retrain.augment.pad = 16
    search.batch, search.lr, search.lr_end = 256, 0.1, 0.0
    config.method.arch_lr = 6e-4
    retrain.channels, retrain.cells = 48, 14
    retrain.batch, retrain.epochs, retrain.lr = 256, 30, 0.1
    retrain.weight_decay, retrain.drop_path = 3e-5, 0.0


def chest_xray(config):
  """Grey chest radiographs of your own, three labels each, from an npz file of small images.

  data.path has no default: --config.data.path=chest_xray_64.npz. Keys of other sets of labels:
  source.classes. Nothing is published for it: this is CheXpert's code at a scale for any machine.
  """
  _set(config, '', channels=1, classes=3, label_rate=0.5, flip=False)
  config.retrain.augment.cutout = 0
  if config.scale == 'paper':
    config.data.size = config.source.size = 64
    config.retrain.epochs = 100
  else:
    config.data.size = config.source.size = 32
    config.retrain.epochs = 6


DATASETS = {
  'digits': digits,
  'cifar10': cifar10,
  'cifar100': cifar100,
  'svhn': svhn,
  'fashion_mnist': fashion_mnist,
  'imagenet': imagenet,
  'imagenet32': imagenet32,
  'imagenet64': imagenet64,
  'chexpert': chexpert,
  'chest_xray': chest_xray,
}


def protocol(config):
  """Whose numbers a config has: 'cifar', 'imagenet', or 'own' where none are published for its set.

  Method files change those of CIFAR-10 to the method's; they leave others' retraining alone.
  """
  if config.scale == 'laptop':
    return 'cifar'
  path = config.data.path
  if path == 'tfds:imagenet2012':
    return 'imagenet'
  return 'own' if path.startswith(('tfds:imagenet_resized/', 'tfds:chexpert')) else 'cifar'


def _set(config, path, channels, classes, label_rate=0.0, flip=True):
  """What every set says: where it is, and a source of noise and random labels like it."""
  config.data.path = path
  source = config.source
  source.channels, source.classes, source.label_rate = channels, classes, label_rate
  for trained in (config.search, config.retrain, config.generator):
    trained.augment.flip = flip


def _downsampled_imagenet(config, size):
  _set(config, f'tfds:imagenet_resized/{size}x{size}', channels=3, classes=1000)
  search, retrain = config.search, config.retrain
  retrain.augment.cutout = 0
  if config.scale == 'paper':
    config.data.size = config.source.size = size
    _search_part_of_imagenet(config)
    search.augment.pad = retrain.augment.pad = size // 8
    search.batch, search.lr, search.lr_end = 256, 0.1, 0.0
    config.method.arch_lr = 6e-4
    retrain.batch, retrain.epochs, retrain.lr = 256, 100, 0.1
    retrain.drop_path, retrain.label_smoothing = 0.0, 0.1


def _search_part_of_imagenet(config):
  config.source.examples = 1_228_800  # about as many as ImageNet has, in whole tens of batches
  config.search.subset, config.search.train_portion = 0.125, 0.8
