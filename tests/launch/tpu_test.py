"""launch/tpu.sh: the exact commands, and what it does when a TPU is taken away."""

import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parent.parent.parent
FLAGS = ('--', '--config=configs/noise.py', '--config.method.arch_betas=(0.5, 0.9)')

CREATE = (
  'gcloud compute tpus queued-resources create run1 --node-id=run1 --accelerator-type=v4-16 '
  '--runtime-version=tpu-ubuntu2204-base --spot '
  '--scopes=https://www.googleapis.com/auth/cloud-platform --zone=us-central2-b'
)
SETUP = """\
git archive --format=tgz --output=/tmp/unrealnas_jax-run1.tgz HEAD
gcloud compute tpus tpu-vm scp /tmp/unrealnas_jax-run1.tgz run1:unrealnas_jax.tgz --worker=all \
--zone=us-central2-b
rm /tmp/unrealnas_jax-run1.tgz
gcloud compute tpus tpu-vm ssh run1 --worker=all '--command=mkdir -p unrealnas_jax && tar -xzf \
unrealnas_jax.tgz -C unrealnas_jax && unrealnas_jax/launch/worker.sh setup' --zone=us-central2-b"""
RUN = r"""gcloud compute tpus tpu-vm ssh run1 --worker=all '--command=nohup \
unrealnas_jax/launch/worker.sh run --workdir=gs://bucket/run1 --distributed \
--config=configs/noise.py --config.method.arch_betas=\(0.5\,\ 0.9\) >> unrealnas_jax.log 2>&1 \
< /dev/null &' --zone=us-central2-b""".replace('\\\n', '')
FOLLOW = (
  "gcloud compute tpus tpu-vm ssh run1 --worker=0 '--command=tail -n 50 -F unrealnas_jax.log' "
  '--zone=us-central2-b'
)
DELETE = 'gcloud compute tpus queued-resources delete run1 --force --quiet --zone=us-central2-b'


def tpu(command, *args, **environment):
  options = '--name=run1', '--zone=us-central2-b', '--type=v4-16', '--workdir=gs://bucket/run1'
  return subprocess.run(
    ['bash', 'launch/tpu.sh', command, *options, '--runtime=tpu-ubuntu2204-base', *args],
    cwd=ROOT,
    env={**os.environ, 'TMPDIR': '/tmp', **environment},
    capture_output=True,
    text=True,
    timeout=60,
  )


@pytest.mark.parametrize(
  ('command', 'expected'),
  [
    ('create', CREATE),
    ('setup', SETUP),
    ('run', RUN),
    ('follow', FOLLOW),
    ('delete', DELETE),
    ('keep', '\n'.join((CREATE, SETUP, RUN, DELETE))),
  ],
)
def test_a_dry_run_prints_the_exact_commands(command, expected):
  ended = tpu(command, '--dry_run', *FLAGS)
  assert (ended.returncode, ended.stderr) == (0, '')
  assert ended.stdout == f'{expected}\n'


def test_options():
  args = '--dry_run', '--on_demand', '--project=mine', '--tfds=cifar10'
  assert tpu('create', *args).stdout.strip() == CREATE.replace(' --spot', '') + ' --project=mine'
  assert "worker.sh setup cifar10' --zone" in tpu('setup', *args).stdout


@pytest.mark.parametrize(
  ('command', 'args', 'message'),
  [
    ('crate', [], "'crate'; allowed: create, setup, run, follow, delete, keep"),
    ('create', ['--nam=x'], '--nam=x; allowed: the options in launch/tpu.sh'),
    ('create', ['--name=Run_1'], "--name='Run_1'; allowed: lower case letters, digits and -"),
    ('run', ['--workdir=runs/x'], "--workdir='runs/x'; allowed: gs://BUCKET/RUN"),
    ('keep', ['--workdir='], "--workdir=''; allowed: gs://BUCKET/RUN"),
  ],
)
def test_wrong_arguments_are_one_message(command, args, message):
  ended = tpu(command, *args, '--dry_run')
  assert (ended.returncode, ended.stdout) == (2, '')
  assert ended.stderr.startswith('error: ')
  assert message in ended.stderr


# Stands in for Google's program: notes what it is asked, and follows a script of TPU states.
GCLOUD = r"""#!/usr/bin/env bash
case "$*" in
  *" describe "*)
    read -r state < "$STATES"
    sed -i 1d "$STATES"
    [[ $state == NONE ]] && exit 1
    echo "$state"
    ;;
  "storage ls"*) [[ ! -s $STATES ]] && [[ $ENDED == 0 ]] ;;
  *cat*) [[ -s $STATES ]] || echo "$ENDED" ;;
  *) echo "$*" | grep -oE 'create|scp|setup|worker.sh run|delete|tail' >> "$CALLS" ;;
esac
"""


@pytest.mark.parametrize(
  ('ended', 'states', 'calls'),
  [
    # Not there yet, waited for, preempted while it runs, there again, finished.
    (
      0,
      'NONE WAITING_FOR_RESOURCES ACTIVE ACTIVE SUSPENDED SUSPENDED PROVISIONING ACTIVE ACTIVE',
      'delete create scp setup run delete create scp setup run delete',
    ),
    # There already, and the program refuses its input.
    (2, 'ACTIVE ACTIVE', 'scp setup run tail delete'),
  ],
)
def test_keep_goes_on_after_a_preemption(tmp_path, ended, states, calls):
  gcloud = tmp_path / 'gcloud'
  gcloud.write_text(GCLOUD)
  gcloud.chmod(0o755)
  (tmp_path / 'states').write_text('\n'.join(states.split()) + '\n')
  found = tpu(
    'keep',
    *FLAGS,
    PATH=f'{tmp_path}:{os.environ["PATH"]}',
    STATES=str(tmp_path / 'states'),
    CALLS=str(tmp_path / 'calls'),
    ENDED=str(ended),
    POLL_SECONDS='0',
    TMPDIR=str(tmp_path),
  )
  assert found.returncode == ended, found.stderr
  made = (tmp_path / 'calls').read_text().replace('worker.sh run', 'run').split()
  assert ' '.join(made) == calls


WORKER = r"""#!/usr/bin/env bash
# Stands in for Python: ends with the next code of a list.
echo "$*" >> "$HOME/calls"
read -r code < "$HOME/codes"
sed -i 1d "$HOME/codes"
exit "$code"
"""


@pytest.mark.parametrize(
  ('codes', 'ended'), [('75 134 0', 0), ('2 0', 2), ('1 ' * 20 + '0', 1)], ids=str
)
def test_a_worker_begins_again_until_the_run_has_ended(tmp_path, codes, ended):
  python, sleep = tmp_path / 'unrealnas_env/bin/python', tmp_path / 'sleep'
  python.parent.mkdir(parents=True)
  python.write_text(WORKER)
  sleep.write_text('#!/bin/sh\n')
  for program in (python, sleep):
    program.chmod(0o755)
  (tmp_path / 'codes').write_text('\n'.join(codes.split()) + '\n')
  environment = {**os.environ, 'HOME': str(tmp_path), 'PATH': f'{tmp_path}:{os.environ["PATH"]}'}
  command = ['bash', str(ROOT / 'launch/worker.sh'), 'run', '--config=a b', '--distributed']
  subprocess.run(command, env=environment, check=True, timeout=60)
  assert (tmp_path / 'unrealnas_jax.ended').read_text() == f'{ended}\n'
  calls = (tmp_path / 'calls').read_text().splitlines()
  assert set(calls) == {'-m unrealnas_jax.main --config=a b --distributed'}
  assert len(calls) == {0: 3, 2: 1, 1: 20}[ended]
