"""Joining other processes: by flags, by JAX, and by itself on slices of Cloud TPU."""

import http.server
import threading

import jax
import pytest
from absl import flags

from unrealnas_jax import distributed


@pytest.fixture(autouse=True)
def joined(monkeypatch):
  """What jax.distributed.initialize was given; it finds other processes where TPUs are."""
  calls = []

  def initialize(*args):
    calls.append(args)
    if not args and not distributed.os.environ.get('TPU_ML_PLATFORM'):
      raise ValueError('coordinator_address should be defined.')

  monkeypatch.setattr(jax.distributed, 'initialize', initialize)
  for name in ('TPU_ML_PLATFORM', 'TPU_WORKER_HOSTNAMES', 'MEGASCALE_NUM_SLICES'):
    monkeypatch.delenv(name, raising=False)
  return calls


def start(*args):
  values = flags.FlagValues()
  distributed.define(values)
  values(['main', *args])
  distributed.start(values)


def test_one_process_is_the_default(joined):
  start()
  start('--nodistributed')
  assert joined == []


def test_processes_by_flags(joined):
  start('--coordinator=10.0.0.1:1234', '--processes=4', '--process=0')
  assert joined == [('10.0.0.1:1234', 4, 0)]


@pytest.mark.parametrize(
  ('args', 'message'),
  [
    (['--process=0', '--processes=2'], '--coordinator: missing; allowed: all of --coordinator, '),
    (['--coordinator=a:1'], '--processes, --process: missing'),
    (['--coordinator=a:1', '--process=2', '--processes=2'], '--process=2; allowed: less than'),
    (['--distributed'], 'JAX finds no other processes here .*allowed: on Cloud TPU, Slurm'),
  ],
)
def test_flags_that_do_not_go_together(args, message):
  with pytest.raises(ValueError, match=message):
    start(*args)


@pytest.mark.parametrize(
  ('hosts', 'slices', 'flags', 'joins'),
  [
    ('a,b', '', [], True),
    ('a', '', [], False),
    ('a', '2', [], True),
    ('a', '', ['--distributed'], True),
    ('a,b', '', ['--nodistributed'], False),
  ],
)
def test_a_tpu_slice_of_several_hosts_joins_by_itself(
  monkeypatch, joined, hosts, slices, flags, joins
):
  monkeypatch.setenv('TPU_WORKER_HOSTNAMES', hosts)
  monkeypatch.setenv('MEGASCALE_NUM_SLICES', slices)
  if '--distributed' not in flags:
    start(*flags)
    assert joined == []  # without chips it is none
  monkeypatch.setenv('TPU_ML_PLATFORM', 'JAX')
  start(*flags)
  assert joined == ([()] if joins else [])


class Metadata(http.server.BaseHTTPRequestHandler):
  """In place of Google's server that tells a machine about itself."""

  def do_GET(self):
    asked = self.path == '/computeMetadata/v1/instance/attributes/worker-network-endpoints'
    ours = asked and self.headers['Metadata-Flavor'] == 'Google'
    self.send_response(200 if ours else 404)
    self.end_headers()
    self.wfile.write(self.server.hosts.encode())

  def log_message(self, *args):
    pass


@pytest.mark.parametrize(
  ('hosts', 'count'), [('x:y:10.0.0.1,x:y:10.0.0.2', 2), ('x:y:10.0.0.1', 1)]
)
def test_hosts_of_a_slice_are_asked_for(monkeypatch, joined, hosts, count):
  with http.server.HTTPServer(('127.0.0.1', 0), Metadata) as server:
    server.hosts = hosts
    threading.Thread(target=server.handle_request, daemon=True).start()
    monkeypatch.setenv('TPU_ML_PLATFORM', 'JAX')
    monkeypatch.setenv('GCE_METADATA_IP', f'127.0.0.1:{server.server_port}')
    assert distributed.count_tpu_hosts() == count


def test_a_machine_without_a_server_is_one_host(monkeypatch):
  monkeypatch.setenv('TPU_ML_PLATFORM', 'JAX')
  monkeypatch.setenv('GCE_METADATA_IP', '127.0.0.1:9')  # where nothing answers
  assert distributed.count_tpu_hosts() == 1


def test_processes_that_have_not_joined_are_told(monkeypatch):
  distributed.check()
  monkeypatch.setattr(jax, 'process_count', lambda: 2)
  with pytest.raises(ValueError, match='process 0 of 2; allowed: .* --distributed on every host'):
    distributed.check()
