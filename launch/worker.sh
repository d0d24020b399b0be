#!/usr/bin/env bash
# What launch/tpu.sh lets each worker of a TPU do, in the home folder.
#
#   worker.sh setup [NAME]  installs the package, and prepares the data set tfds:NAME
#   worker.sh run FLAGS     runs the program, again whenever it was stopped or had lost another worker
set -uo pipefail
checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
environment=$HOME/unrealnas_env
ended=$HOME/unrealnas_jax.ended
most_failures=20

setup() {
  # The images of TPU VMs bring an older Python; uv brings one of its own.
  curl -LsSf https://astral.sh/uv/install.sh | sh &&
    "$HOME/.local/bin/uv" venv --quiet --allow-existing --seed --python=3.11 "$environment" &&
    "$HOME/.local/bin/uv" pip install --quiet --python="$environment" -e "${checkout}[tpu]" || return
  [[ -z ${1:-} ]] || prepare "$1"
}

prepare() {
  # shellcheck disable=SC1091
  source "$environment/bin/activate" && cd "$checkout" &&
    python -c "
from unrealnas_jax.data.tfds_files import prepare_command
print(prepare_command('$1', ''))" | bash
}

run() {
  local code failures=0
  exec 9> "$HOME/unrealnas_jax.lock"
  flock --nonblock 9 || { echo "the program runs here already" && return; }
  rm -f "$ended"
  cd "$checkout" || return
  while true; do
    "$environment/bin/python" -m unrealnas_jax.main "$@"
    code=$?
    case $code in
      0 | 2) break ;;  # finished, or wrong input, which stays wrong
      75) ;;           # asked to stop, with all saved
      *) ((++failures < most_failures)) || break ;;
    esac
    sleep 10  # until the other workers have noticed
  done
  echo "$code" > "$ended"
}

"$@"
