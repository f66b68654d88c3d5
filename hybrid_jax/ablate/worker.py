"""A worker: does the runs of a sweep that nobody else does, until all are finished. Start one on each machine.

What is finished, what has begun and who does it is read from the folder, so that a worker that was stopped or killed is
replaced by starting the same command again.
"""

import time
from collections.abc import Callable
from pathlib import Path

from hybrid_jax.ablate.folder import Plan, Run, runs
from hybrid_jax.ablate.phases import FailedError, StoppedError, do
from hybrid_jax.ablate.progress import Progress
from hybrid_jax.runs import lease as leases
from hybrid_jax.runs.lease import LostError

WAIT = 1.0
"""Seconds between looks for a run to do, while other workers have all that are left."""


def work(sweep: Path, plan: Plan, data_dir: Path | None, progress: Progress) -> list[Run]:
    """Does runs until each is finished or has failed, and returns those that failed, in this process or another.

    A run that failed before the start of this worker is tried again, once. Raises KeyboardInterrupt when this process
    was told to stop; the run is then given back.
    """
    folder = sweep / "leases"
    everything = runs(sweep, plan)
    began = leases.clock(folder)
    failed: set[Run] = set()
    while left := [run for run in everything if run not in failed and not run.finished]:
        for run in left:
            failing = leases.failed_since(folder, lease_name(run), began)
            if failing:
                failed.add(run)
                progress.say(f"{run.name} failed in another worker: see the logs in {run.folder}")
            elif _try(run, plan, data_dir, folder, progress, failed.add):
                break
        else:
            progress.show("waiting for other workers")
            time.sleep(WAIT)
    return [run for run in everything if run in failed and not run.finished]


def lease_name(run: Run) -> str:
    """The name of a run's leases."""
    return f"{run.arm}.seed-{run.seed}"


def _try(
    run: Run, plan: Plan, data_dir: Path | None, folder: Path, progress: Progress, fail: Callable[[Run], None]
) -> bool:
    """Whether the run was free; it has then been done, or `fail` was called with it."""
    name = lease_name(run)
    lease = leases.take(folder, name)
    if lease is None:
        return False
    before = leases.spent(folder, name)
    if run.finished:  # by a worker that finished it between two looks
        lease.release("done", {})
        return True
    try:
        cost = do(run, plan, data_dir, lease, before, lambda phase: progress.show(f"{run.name} {phase}"))
        progress.finished(run, cost)
    except FailedError as error:
        fail(run)
        progress.say(f"error: {error}")
    except (StoppedError, LostError) as error:  # another look finds the run to be free, or another worker's
        progress.say(str(error))
    return True
