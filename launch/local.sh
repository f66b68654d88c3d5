#!/usr/bin/env bash
# One process on this machine, on every device it has.
#   launch/local.sh --config configs/demo.yaml --workdir runs/demo
#   launch/local.sh eval watch runs/demo --tasks demo          # beside it: evaluates every checkpoint
# DRY_RUN=1 prints the command instead of running it.
set -euo pipefail
cd "$(dirname "$0")/.."
COMMAND=train
case "${1:-}" in train | eval) COMMAND="$1" && shift ;; esac
line=("${PYTHON:-.venv/bin/python}" -m "hybrid_jax.$COMMAND" "$@")
if [[ -n "${DRY_RUN:-}" ]]; then
  printf '%q ' "${line[@]}" && echo
  exit
fi
exec "${line[@]}"
