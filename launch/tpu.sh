#!/usr/bin/env bash
# One run on a Cloud TPU VM or slice: create it, run on all its workers, follow the run, delete it.
#
#   launch/tpu.sh COMMAND --name=NAME [OPTIONS] [-- FLAGS OF unrealnas_jax.main]
#
# commands
#   create   asks for the TPU by a queued resource, and waits until it is there
#   setup    copies the committed state of this checkout to all workers and installs it there
#   run      starts the program on all workers in the background; it begins again when it is stopped
#   follow   shows the log of the first worker as it grows
#   delete   gives the TPU back
#   keep     all of these, again after every preemption, until the run has ended
# options
#   --workdir=gs://BUCKET/RUN  where the run is written: what a new TPU goes on with after preemption
#   --zone=us-west4-a  --type=v5litepod-8  --runtime=v2-alpha-tpuv5-lite  --project=PROJECT
#   --on_demand        a TPU that is not preempted, at its full price
#   --tfds=NAME        setup also prepares a data set of TensorFlow Datasets, such as cifar10
#   --dry_run          prints the commands instead of running them
#
# Needs bash 4.4 or later, and the Google Cloud SDK, logged in, with the TPU API enabled and a bucket
# that TPUs may write.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

name='' workdir='' zone=us-west4-a type=v5litepod-8 runtime=v2-alpha-tpuv5-lite project='' tfds=''
spot=yes dry_run=no poll_seconds=${POLL_SECONDS:-60}
flags=()

fail() {
  echo "error: $1" >&2
  exit 2
}

# Runs a command, or prints it as a shell would read it.
call() {
  if [[ $dry_run == no ]]; then
    "$@"
    return
  fi
  local word line=''
  for word in "$@"; do
    [[ $word =~ ^[A-Za-z0-9_./:=,@%+-]+$ ]] || word=${word@Q}
    line+="$word "
  done
  echo "${line% }"
}

tpus() {
  call gcloud compute tpus "$@" --zone="$zone" ${project:+--project="$project"}
}

on_workers() {
  tpus tpu-vm ssh "$name" --worker="$1" --command="$2"
}

create() {
  local price=()
  [[ $spot == no ]] || price=(--spot)
  tpus queued-resources create "$name" --node-id="$name" --accelerator-type="$type" \
    --runtime-version="$runtime" "${price[@]}" \
    --scopes=https://www.googleapis.com/auth/cloud-platform
  [[ $dry_run == yes ]] || wait_until_active
}

state() {
  tpus queued-resources describe "$name" --format='value(state.state)'
}

wait_until_active() {
  local found
  until found=$(state) && [[ $found == ACTIVE ]]; do
    [[ $found != FAILED && $found != SUSPENDED ]] || fail "$name is $found; see: gcloud compute tpus \
queued-resources describe $name --zone=$zone"
    echo "$name: ${found:-no state yet}" >&2
    sleep "$poll_seconds"
  done
}

setup() {
  local archive=${TMPDIR:-/tmp}/unrealnas_jax-$name.tgz
  call git archive --format=tgz --output="$archive" HEAD
  tpus tpu-vm scp "$archive" "$name:unrealnas_jax.tgz" --worker=all
  call rm "$archive"
  on_workers all "mkdir -p unrealnas_jax && tar -xzf unrealnas_jax.tgz -C unrealnas_jax && \
unrealnas_jax/launch/worker.sh setup${tfds:+ $tfds}"
}

check_workdir() {
  [[ $workdir == gs://* ]] ||
    fail "--workdir='$workdir'; allowed: gs://BUCKET/RUN, which outlives a TPU"
}

run() {
  check_workdir
  local arguments
  arguments=$(printf '%q ' "--workdir=$workdir" --distributed "${flags[@]}")
  on_workers all "nohup unrealnas_jax/launch/worker.sh run ${arguments% } >> unrealnas_jax.log \
2>&1 < /dev/null &"
}

follow() {
  on_workers 0 'tail -n 50 -F unrealnas_jax.log'
}

delete() {
  tpus queued-resources delete "$name" --force --quiet
}

# Prints how the run ended: 0, or the exit code of a program that is not begun again; else nothing.
ended() {
  if gcloud storage ls "$workdir/result.json" > /dev/null 2>&1; then
    echo 0
  else
    on_workers 0 'cat unrealnas_jax.ended 2> /dev/null || true' 2> /dev/null || true
  fi
}

keep() {
  check_workdir
  local code=''
  if [[ $dry_run == yes ]]; then
    create && setup && run && delete
    return
  fi
  while true; do
    [[ $(state 2> /dev/null) == ACTIVE ]] || { delete 2> /dev/null || true; create; }
    setup && run || true  # a TPU that is taken away meanwhile is asked for again
    while [[ $(state) == ACTIVE ]]; do
      code=$(ended)
      [[ -z $code ]] || break 2
      sleep "$poll_seconds"
    done
    echo "$name was preempted" >&2
  done
  [[ $code == 0 ]] || on_workers 0 'tail -n 50 unrealnas_jax.log' || true
  delete
  return "$code"
}

command=${1:-}
shift || true
while (($#)); do
  case $1 in
    --name=* | --workdir=* | --zone=* | --type=* | --runtime=* | --project=* | --tfds=*)
      option=${1%%=*}
      printf -v "${option#--}" %s "${1#*=}"
      ;;
    --on_demand) spot=no ;;
    --dry_run) dry_run=yes ;;
    --)
      shift
      flags=("$@")
      break
      ;;
    *) fail "$1; allowed: the options in launch/tpu.sh, and -- before flags of unrealnas_jax.main" ;;
  esac
  shift
done

case $command in
  create | setup | run | follow | delete | keep)
    [[ $name =~ ^[a-z][a-z0-9-]*$ ]] || fail "--name='$name'; allowed: lower case letters, digits and -"
    "$command"
    ;;
  *) fail "'$command'; allowed: create, setup, run, follow, delete, keep; see launch/tpu.sh" ;;
esac
