"""Starting as one of several processes, before anything asks JAX for its devices."""

import os
import urllib.request

import jax
from absl import flags, logging

TOGETHER = ('coordinator', 'processes', 'process')
SLICE = 'http://{}/computeMetadata/v1/instance/attributes/worker-network-endpoints'  # one a host


def define(values):
  """Defines the flags that `start` reads."""
  flags.DEFINE_bool(
    'distributed',
    None,
    'whether this is one of several processes, started alike on every host; JAX finds the others '
    'on Cloud TPU, Slurm, MPI and Kubernetes; default: on Cloud TPU slices of several hosts',
    flag_values=values,
  )
  flags.DEFINE_string(
    'coordinator', None, 'HOST:PORT of process 0, where JAX finds no others', flag_values=values
  )
  flags.DEFINE_integer('processes', None, 'how many processes there are', 1, flag_values=values)
  flags.DEFINE_integer('process', None, 'which of them this is, from 0', 0, flag_values=values)


def start(values):
  """Joins the other processes where the flags or the machine say that there are some.

  Raises ValueError: the flags do not go together, or JAX finds no other processes.
  """
  given = {name: values[name].value for name in TOGETHER}
  missing = [f'--{name}' for name, value in given.items() if value is None]
  if missing and len(missing) < len(TOGETHER):
    raise ValueError(f'{", ".join(missing)}: missing; allowed: all of --{", --".join(TOGETHER)}')
  if not missing:
    if not given['process'] < given['processes']:
      raise ValueError(
        f'--process={given["process"]}; allowed: less than --processes={given["processes"]}'
      )
    jax.distributed.initialize(given['coordinator'], given['processes'], given['process'])
  elif values.distributed or (values.distributed is None and count_tpu_hosts() > 1):
    problem = _initialize()
    if problem:
      raise ValueError(
        f'--distributed: JAX finds no other processes here ({problem}); allowed: on Cloud TPU, '
        'Slurm, MPI and Kubernetes, and elsewhere with --coordinator=HOST:PORT --processes=N '
        '--process=I'
      )


def check():
  """Raises ValueError where the devices are those of a slice whose processes have not joined."""
  if jax.process_count() > 1 and not jax.distributed.is_initialized():
    raise ValueError(
      f'this is process {jax.process_index()} of {jax.process_count()}; allowed: the same command '
      'with --distributed on every host'
    )


def count_tpu_hosts():
  """How many hosts the Cloud TPU slice has that this is one of; 1 where it is none."""
  if 'TPU_ML_PLATFORM' not in os.environ:  # JAX sets it where there are chips and their runtime
    return 1
  hosts = os.environ.get('TPU_WORKER_HOSTNAMES')  # of Kubernetes; plain machines ask the network
  if hosts is None:
    try:
      server = os.environ.get('GCE_METADATA_IP', 'metadata.google.internal')
      request = urllib.request.Request(SLICE.format(server), headers={'Metadata-Flavor': 'Google'})
      opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is this machine's
      with opener.open(request, timeout=10) as answer:
        hosts = answer.read().decode()
    except OSError as error:
      logging.info('No slice of several hosts is known of (%s).', error)
      return 1
  return len(hosts.split(',')) * int(os.environ.get('MEGASCALE_NUM_SLICES') or 1)


def _initialize():
  """Lets JAX find the others; what it says where it finds none."""
  try:
    jax.distributed.initialize()
  except ValueError as error:
    return str(error)
  return None
