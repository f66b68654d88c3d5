#!/usr/bin/env bash
# One process on this machine, on every device it has.
#   launch/local.sh --config configs/demo.yaml --workdir runs/demo
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-.venv/bin/python}"
exec "$PYTHON" -m hybrid_jax.train "$@"
