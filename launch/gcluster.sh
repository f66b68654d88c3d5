#!/usr/bin/env bash
# TPU slices on GKE by Cluster Toolkit, which writes the JobSet and hands it to Kueue.
#   NAME=demo IMAGE=… BUCKET=… launch/gcluster.sh --config configs/demo.yaml --workdir /shared/runs/demo
#   NAME=demo-watch IMAGE=… BUCKET=… launch/gcluster.sh eval watch /shared/runs/demo --tasks demo
# COMPUTE_TYPE is v6e-16 by default, and n2-standard-32 for a watch; what is no TPU gets one process. The bucket is the
# folder /shared. DRY_RUN=1 prints the command instead of running it.
set -euo pipefail
: "${NAME:?gcluster.sh: NAME is not set: put NAME=<name of the job> before the command}"
: "${IMAGE:?gcluster.sh: IMAGE is not set: put IMAGE=<registry/name:tag> before the command}"
: "${BUCKET:?gcluster.sh: BUCKET is not set: put BUCKET=<name of the bucket> before the command}"
COMMAND=train
case "${1:-}" in train | eval) COMMAND="$1" && shift ;; esac
run=(python -m "hybrid_jax.$COMMAND" "$@")
if [[ "${1:-}" == watch ]]; then
  COMPUTE_TYPE="${COMPUTE_TYPE:-n2-standard-32}"
else
  COMPUTE_TYPE="${COMPUTE_TYPE:-v6e-16}"
fi
tpu=()
if [[ "$COMPUTE_TYPE" == v[0-9]* || "$COMPUTE_TYPE" == tpu* ]]; then
  if [[ "${1:-}" == watch ]]; then # each of the slice's hosts would evaluate the same run
    echo "gcluster.sh: a watch is one process: leave COMPUTE_TYPE=$COMPUTE_TYPE out, or name a machine without TPUs" >&2
    exit 2
  fi
  # tpu first: where libtpu does not load, the processes fail instead of using the CPU
  run=(env "JAX_PLATFORMS=tpu,cpu" "${run[@]}" --distributed auto)
  tpu=(--topology "${TOPOLOGY:-4x4}" --num-slices "${SLICES:-1}")
fi
printf -v quoted '%q ' "${run[@]}"
# The mount looks again each time (ttl-secs:0), as other hosts write there.
# A stop (status 75) counts as one of the restarts, so many are allowed. --restart-on-exit-codes 75 would not help: with
# it, any other status ends the job for good.
line=(gcluster job submit --name "$NAME" --image "$IMAGE" --compute-type "$COMPUTE_TYPE" ${tpu[@]+"${tpu[@]}"}
  ${QUEUE:+--queue "$QUEUE"} --mount "gs://$BUCKET;/shared;rw;options=implicit-dirs,metadata-cache:ttl-secs:0"
  --restarts 50 --grace-period 5m --command "${quoted% }")
if [[ -n "${DRY_RUN:-}" ]]; then
  printf '%q ' "${line[@]}" && echo
  exit
fi
exec "${line[@]}"
