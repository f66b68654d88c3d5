"""Whether training has texts that a sweep is evaluated on: checked once, before any run, and kept in its folder."""

import signal
from pathlib import Path

from hybrid_jax.ablate.folder import CONFIG, LEAKAGE, Plan, SweepError, read_plan, runs
from hybrid_jax.ablate.phases import last_line, start, stop
from hybrid_jax.eval.leakage.result import read_leakage

LOG = "leakage.log"
ALLOW = "--allow-leakage"


def require_clean(sweep: Path, plan: Plan, data_dir: Path | None, allow: bool) -> str | None:
    """The result of the sweep's leakage check in one line; None where it is evaluated on the demo alone.

    The check is made by the ordinary command, on the datasets of all arms, unless its result is in the folder. Raises
    SweepError when it cannot be made, or when it found something and `allow` is False.
    """
    tasks = [task for task in plan.tasks if task != "demo"]
    if not tasks:
        return None
    path = sweep / LEAKAGE
    while not path.exists():
        _check(sweep, plan, tasks, data_dir)
        now = read_plan(sweep) or plan
        if now.arms != plan.arms:  # added meanwhile, perhaps with other text
            path.unlink(missing_ok=True)
            plan = now
    result = read_leakage(path)
    if result.leaked and not allow:
        raise SweepError(
            f"{result.sentence()}: see {path}, leave the data or the task out, or give {ALLOW} to evaluate all the same"
        )
    return result.sentence()


def _check(sweep: Path, plan: Plan, tasks: list[str], data_dir: Path | None) -> None:
    first = [run for run in runs(sweep, plan) if run.seed == plan.seeds[0]]
    arguments = ["-m", "hybrid_jax.data", "leakage", "--config", *(str(run.folder / CONFIG) for run in first)]
    arguments += ["--eval", ",".join(tasks), "--json", str(sweep / LEAKAGE)]
    arguments += ["--skip-bad-rows"] if plan.skip_bad_rows else []
    arguments += [] if data_dir is None else ["--data-dir", str(data_dir)]
    with (sweep / LOG).open("wb") as output:
        child = start(arguments, output.fileno())
        try:
            child.wait()
        except KeyboardInterrupt as interrupt:
            stop(child, interrupt.args[0] if interrupt.args else signal.SIGINT)
            raise
    if not (sweep / LEAKAGE).exists():
        raise SweepError(f"the leakage check failed, see {sweep / LOG}: {last_line(sweep / LOG)}")
