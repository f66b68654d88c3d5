#!/usr/bin/env bash
# Runs the same command on every worker of a TPU VM slice; jax finds the other workers itself.
#   TPU=my-slice ZONE=us-central2-b launch/tpu_vm.sh --config configs/demo.yaml --workdir /mnt/shared/runs/demo
# Every worker needs the repository in its home folder, as $REMOTE (default hybrid_jax), with '.[tpu]' installed in
# .venv: see launch/README.md.
set -euo pipefail
: "${TPU:?tpu_vm.sh: TPU is not set: put TPU=<name of the slice> before the command}"
: "${ZONE:?tpu_vm.sh: ZONE is not set: put ZONE=<zone of the slice> before the command}"
REMOTE="${REMOTE:-hybrid_jax}"
arguments=""
(($#)) && printf -v arguments ' %q' "$@"
exec gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" ${PROJECT:+--project="$PROJECT"} --worker=all \
  --command="cd $(printf '%q' "$REMOTE") && HYBRID_JAX_DISTRIBUTED=auto .venv/bin/python -m hybrid_jax.train$arguments"
