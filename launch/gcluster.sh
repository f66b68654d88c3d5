#!/usr/bin/env bash
# TPU slices on GKE by Cluster Toolkit, which writes the JobSet and hands it to Kueue.
#   NAME=demo IMAGE=… BUCKET=… launch/gcluster.sh --config configs/demo.yaml --workdir /shared/runs/demo
#   NAME=demo-watch COMPUTE_TYPE=n2-standard-32 … launch/gcluster.sh eval watch /shared/runs/demo --tasks demo
# The bucket is the folder /shared. DRY_RUN=1 prints the command instead of running it.
set -euo pipefail
: "${NAME:?gcluster.sh: NAME is not set: put NAME=<name of the job> before the command}"
: "${IMAGE:?gcluster.sh: IMAGE is not set: put IMAGE=<registry/name:tag> before the command}"
: "${BUCKET:?gcluster.sh: BUCKET is not set: put BUCKET=<name of the bucket> before the command}"
COMPUTE_TYPE="${COMPUTE_TYPE:-v6e-16}"
COMMAND=train
case "${1:-}" in train | eval) COMMAND="$1" && shift ;; esac
run=(python -m "hybrid_jax.$COMMAND" "$@")
tpu=()
[[ "${1:-}" == watch ]] || run+=(--distributed auto)
if [[ "$COMPUTE_TYPE" == v[0-9]* || "$COMPUTE_TYPE" == tpu* ]]; then
  tpu=(--topology "${TOPOLOGY:-4x4}" --num-slices "${SLICES:-1}")
fi
printf -v quoted '%q ' "${run[@]}"
# A stop (status 75) counts as one of the restarts, so many are allowed. --restart-on-exit-codes 75 would not help: with
# it, any other status ends the job for good.
line=(gcluster job submit --name "$NAME" --image "$IMAGE" --compute-type "$COMPUTE_TYPE" ${tpu[@]+"${tpu[@]}"}
  ${QUEUE:+--queue "$QUEUE"} --mount "gs://$BUCKET:/shared:rw"
  --restarts 50 --grace-period 5m --command "${quoted% }")
if [[ -n "${DRY_RUN:-}" ]]; then
  printf '%q ' "${line[@]}" && echo
  exit
fi
exec "${line[@]}"
