#!/usr/bin/env bash
# The legacy path: a TPU VM slice without GKE. Google no longer develops it, and TPU7x and later do not have it.
# Starts the same command on every worker, where it goes on without this terminal; jax finds the other workers itself.
#   TPU=my-slice ZONE=us-central2-b launch/tpu_vm.sh --config configs/demo.yaml --workdir /mnt/shared/runs/demo
#   TPU=… ZONE=… launch/tpu_vm.sh log        the first worker's log, until Ctrl-C, which does not stop the run
#   TPU=… ZONE=… launch/tpu_vm.sh stop       saves the step and ends; the first command resumes
# Every worker needs the repository in its home folder, as $REMOTE (default hybrid_jax), with '.[tpu]' installed in
# .venv: see launch/README.md. What fails is run 10 times at most, and what is refused (status 2) once. DRY_RUN=1 prints
# the command instead of running it.
# shellcheck disable=SC2016 # what stands in single quotes is for the worker's shell
set -euo pipefail
: "${TPU:?tpu_vm.sh: TPU is not set: put TPU=<name of the slice> before the command}"
: "${ZONE:?tpu_vm.sh: ZONE is not set: put ZONE=<zone of the slice> before the command}"
REMOTE="${REMOTE:-hybrid_jax}"
worker=all
case "${1:-}" in
log)
  worker=0
  remote='exec tail -n 100 -F hybrid_jax.log'
  ;;
stop)
  remote='kill -s TERM -- "-$(cat hybrid_jax.pid)" && echo "told to stop"'
  ;;
*)
  (($#)) || { echo "tpu_vm.sh: nothing to run: type 'launch/tpu_vm.sh --config …', or log, or stop" >&2 && exit 2; }
  [[ "$1" != eval ]] || { echo "tpu_vm.sh: it trains: start an evaluation on one of the workers by hand" >&2 && exit 2; }
  printf -v quoted ' %q' "$@"
  # On the worker: a session of its own, which a closed connection does not end. All processes end when one fails, so
  # that all loops begin again together. 0 is done, 2 was refused, 75 was told to stop. On SIGTERM, which `stop` sends to
  # the whole session, the loop first waits for its command, be it the run or the pause, and then ends.
  loop="trap 'exit 75' TERM; for attempt in 1 2 3 4 5 6 7 8 9 10; do"
  loop+=" JAX_PLATFORMS=tpu,cpu .venv/bin/python -m hybrid_jax.train$quoted --distributed auto; status=\$?"
  loop+='; case $status in 0 | 2 | 75) exit $status ;; esac; echo "attempt $attempt ended with status $status"; sleep "${PAUSE:-40}"; done'
  remote='if kill -0 "$(cat hybrid_jax.pid 2>/dev/null)" 2>/dev/null; then echo "runs already: stop it first" >&2; exit 1; fi; '
  remote+="setsid nohup bash -c $(printf '%q' "$loop") >>hybrid_jax.log 2>&1 </dev/null & echo \$! >hybrid_jax.pid; echo started"
  ;;
esac
line=(gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" ${PROJECT:+--project="$PROJECT"} --worker="$worker"
  --command="cd $(printf '%q' "$REMOTE") && { $remote; }")
if [[ -n "${DRY_RUN:-}" ]]; then
  printf '%q ' "${line[@]}" && echo
  exit
fi
exec "${line[@]}"
