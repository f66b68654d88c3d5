#!/usr/bin/env bash
# One process per GPU under Slurm; jax reads the coordinator and the ranks from Slurm's environment.
#   sbatch launch/slurm.sh --config configs/demo.yaml --workdir /shared/runs/demo
# Other sizes: sbatch --nodes=4 --ntasks-per-node=4 --gpus-per-node=4 launch/slurm.sh …
# The evaluation is a job of its own, with one GPU, that follows the run:
#   sbatch --nodes=1 --ntasks-per-node=1 --gpus-per-node=1 launch/slurm.sh eval watch /shared/runs/demo --tasks demo
# DRY_RUN=1 launch/slurm.sh … prints what the job would run.
#SBATCH --job-name=hybrid_jax
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --signal=USR1@300
#SBATCH --requeue
# Slurm warns the processes 300 s before the time limit. They save and end with status 75 (a watch ends with 138), and
# the job queues again: it runs the same command, which goes on in its workdir. So does a job that Slurm itself requeues
# as a node is lost (--requeue). A process that fails ends the job: give the same sbatch again. So does an evaluation
# that would begin anew each time: give it more time, or --stores, with which it goes on.
set -euo pipefail
STOPPED=75 WATCH_STOPPED=138 # 128 + SIGUSR1
COMMAND=train
case "${1:-}" in train | eval) COMMAND="$1" && shift ;; esac
line=(srun --kill-on-bad-exit=1 "${PYTHON:-.venv/bin/python}" -m "hybrid_jax.$COMMAND" "$@")
[[ "${1:-}" == watch ]] || line+=(--distributed auto)
goes_on=1
[[ "$COMMAND" == eval && ! "${1:-}" =~ ^(watch|embed)$ && " $* " != *" --stores"* ]] && goes_on=0
if [[ -n "${DRY_RUN:-}" ]]; then
  printf '%q ' "${line[@]}" && echo
  exit
fi
cd "${SLURM_SUBMIT_DIR:?slurm.sh: not under Slurm: at the root of the repository type: sbatch launch/slurm.sh …}"
export JAX_PLATFORMS="${JAX_PLATFORMS:-cuda}" # fail where the driver does not load, instead of using the CPU
export SRUN_CPUS_PER_TASK="${SLURM_CPUS_PER_TASK:-1}" # since Slurm 22.05 srun does not take it from sbatch
status=0
"${line[@]}" || status=$?
if ((goes_on && (status == STOPPED || status == WATCH_STOPPED))); then
  scontrol requeue "${SLURM_JOB_ID:?slurm.sh: SLURM_JOB_ID is not set, so the job cannot be requeued}"
fi
exit "$status"
