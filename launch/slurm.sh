#!/usr/bin/env bash
# One process per GPU under Slurm; jax reads the coordinator and the ranks from Slurm's environment.
#   sbatch launch/slurm.sh --config configs/demo.yaml --workdir /shared/runs/demo
# Other sizes: sbatch --nodes=4 --ntasks-per-node=4 --gpus-per-node=4 launch/slurm.sh …
#SBATCH --job-name=hybrid_jax
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --output=%x-%j.log
#SBATCH --signal=USR1@300
#SBATCH --requeue
# Slurm warns the processes 300 s before the time limit. They save, end with status 75, and the job queues again: it runs
# the same command, which resumes from its workdir. So does a job that Slurm requeues after a node has failed.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:?slurm.sh: not under Slurm: at the root of the repository type: sbatch launch/slurm.sh …}"
PYTHON="${PYTHON:-.venv/bin/python}"
export HYBRID_JAX_DISTRIBUTED=auto
status=0
srun --kill-on-bad-exit=1 "$PYTHON" -m hybrid_jax.train "$@" || status=$?
if ((status == 75)); then
  scontrol requeue "${SLURM_JOB_ID:?slurm.sh: SLURM_JOB_ID is not set, so the job cannot be requeued}"
fi
exit "$status"
