#!/usr/bin/env bash
# Trains one run with N processes on this machine, as a cluster would.
#   launch/local_multiprocess.sh 2 --config configs/demo.yaml --workdir runs/demo2
#   launch/local_multiprocess.sh 2 eval --ckpt runs/demo2 --tasks demo
# DRY_RUN=1 prints the commands instead of running them.
# On GPUs each process takes one, by its number; JAX_LOCAL_DEVICE_IDS, if you set it, goes to all of them instead.
# Process 0 writes to the terminal; the others write to $LOGS, by default a new folder under /tmp.
set -euo pipefail
if [[ ! "${1:-}" =~ ^[1-9][0-9]*$ ]]; then
  echo "local_multiprocess.sh: '${1:-}' is not a number of processes: type 'launch/local_multiprocess.sh 2 --config …'" >&2
  exit 2
fi
N="$1"
shift
COMMAND=train
case "${1:-}" in train | eval) COMMAND="$1" && shift ;; esac
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-.venv/bin/python}"
free_port() { "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("localhost", 0)); print(s.getsockname()[1])'; }
ADDRESS="${ADDRESS:-localhost:$(free_port)}" # where process 0 listens
line=("$PYTHON" -m "hybrid_jax.$COMMAND" "$@" --distributed)
if [[ -n "${DRY_RUN:-}" ]]; then
  for ((id = 0; id < N; id++)); do
    printf '%q ' "JAX_LOCAL_DEVICE_IDS=${JAX_LOCAL_DEVICE_IDS-$id}" "${line[@]}" "$ADDRESS,$N,$id" && echo
  done
  exit
fi
LOGS="${LOGS:-$(mktemp -d /tmp/hybrid_jax.XXXXXX)}"
mkdir -p "$LOGS"

# This script ends after all its processes. It passes signals on, and processes that are told to stop save and end with
# status 75. When one fails, the others would wait for it: they are told to stop. Those that still run after $PATIENCE
# seconds (at most 10 after a failure) are killed.
PATIENCE="${PATIENCE:-310}" # a process gives up by itself after 300: docs/reliability.md
running=() status=0 deadline=
send() { ((${#running[@]})) && kill -s "$1" "${running[@]}" 2>/dev/null || true; }
stop() { # SIGNAL SECONDS
  send "$1"
  deadline="${deadline:-$((SECONDS + $2))}"
}
trap 'send KILL' EXIT
trap 'stop TERM "$PATIENCE"' TERM INT # bash starts processes in the background with SIGINT ignored
trap 'stop USR1 "$PATIENCE"' USR1

# Without JAX_LOCAL_DEVICE_IDS each process would open every GPU. jax does not look at it for other devices.
for ((id = N - 1; id > 0; id--)); do
  JAX_LOCAL_DEVICE_IDS="${JAX_LOCAL_DEVICE_IDS-$id}" "${line[@]}" "$ADDRESS,$N,$id" >"$LOGS/process_$id.log" 2>&1 &
  running+=("$!")
done
JAX_LOCAL_DEVICE_IDS="${JAX_LOCAL_DEVICE_IDS-0}" "${line[@]}" "$ADDRESS,$N,0" &
running+=("$!")

while ((${#running[@]})); do
  sleep 0.2
  left=()
  for pid in "${running[@]}"; do
    if kill -0 "$pid" 2>/dev/null; then
      left+=("$pid")
      continue
    fi
    code=0
    wait "$pid" || code=$?
    if ((code && !status)); then
      status="$code"
      ((status == 75)) || echo "local_multiprocess.sh: a process ended with status $status; the other processes' output: $LOGS" >&2
      stop TERM "$((status == 75 || PATIENCE < 10 ? PATIENCE : 10))"
    fi
  done
  running=(${left[@]+"${left[@]}"})
  if [[ -n "$deadline" ]] && ((SECONDS >= deadline)); then
    send KILL
  fi
done
exit "$status"
