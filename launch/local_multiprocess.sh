#!/usr/bin/env bash
# Trains one run with N processes on this machine, as a cluster would.
#   launch/local_multiprocess.sh 2 --config configs/demo.yaml --workdir runs/demo2
# Process 0 writes to the terminal; the others write to $LOGS, by default a new folder under /tmp.
set -euo pipefail
if [[ ! "${1:-}" =~ ^[1-9][0-9]*$ ]]; then
  echo "local_multiprocess.sh: '${1:-}' is not a number of processes: type 'launch/local_multiprocess.sh 2 --config …'" >&2
  exit 2
fi
N="$1"
shift
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-.venv/bin/python}"
LOGS="${LOGS:-$(mktemp -d /tmp/hybrid_jax.XXXXXX)}"
mkdir -p "$LOGS"

free_port() { "$PYTHON" -c 'import socket; s = socket.socket(); s.bind(("localhost", 0)); print(s.getsockname()[1])'; }
export HYBRID_JAX_COORDINATOR="${HYBRID_JAX_COORDINATOR:-localhost:$(free_port)}"
export HYBRID_JAX_NUM_PROCESSES="$N"

pids=()
stop_all() { ((${#pids[@]})) && kill "${pids[@]}" 2>/dev/null || true; }
trap stop_all EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

for ((id = 1; id < N; id++)); do
  HYBRID_JAX_PROCESS_ID="$id" "$PYTHON" -m hybrid_jax.train "$@" >"$LOGS/process_$id.log" 2>&1 &
  pids+=("$!")
done
HYBRID_JAX_PROCESS_ID=0 "$PYTHON" -m hybrid_jax.train "$@" &
pids+=("$!")

# If a process fails, end the run: the others would wait for it forever.
for ((left = N; left > 0; left--)); do
  status=0
  wait -n || status=$?
  if ((status)); then
    echo "local_multiprocess.sh: a process ended with status $status; the other processes' output: $LOGS" >&2
    exit "$status"
  fi
done
