"""Evaluates a run while it trains: python -m hybrid_jax.eval watch RUN --tasks TASKS"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_jax.disk.addresses import refuse_addresses
from hybrid_jax.eval.report.schema import CurveSettings
from hybrid_jax.eval.tasks import Task
from hybrid_jax.eval.watch.curve import Curve, check_name, metric_of, names
from hybrid_jax.runtime.allocator import keep_freed_memory
from hybrid_jax.runtime.program import program

if TYPE_CHECKING:
    from hybrid_jax.embed.encoder import TextEncoder

DESCRIPTION = """Evaluates each checkpoint of a run in progress, from another process or from a machine that shares its
folder: a line per step here and in RUN/eval/curve.jsonl. The best step is kept in RUN/best, where the run does not
delete it (--step best loads it, for evaluation and export), and its report is in RUN/eval. It can be started before the
run, and ends when the run's last step is evaluated. After a stop or a kill, the same command goes on with the steps
that the curve lacks.

Steps are evaluated in the run's order. A step that the run deletes before its turn is skipped with a message: a larger
checkpoint.keep of the run, or fewer tasks, avoids that."""

EXAMPLE = """example:

  python -m hybrid_jax.eval watch runs/hybrid --tasks xquad_r,mlqa_r --metric xquad_r.map.multilingual

The exit status is 0 when the run is done, and 1 when it diverged, --timeout passed or something is wrong. Watching
needs the memory and time of an evaluation: where the run fills its accelerator, watch from another machine, or with
JAX_PLATFORMS=cpu."""

TasksByName = Mapping[str, tuple[Task, ...]]
OpenTasks = Callable[[str, Path | None], TasksByName]
"""(--tasks, --data-dir or None) -> the tasks that each name stands for."""
Measure = Callable[["TextEncoder", TasksByName], Any]
"""Evaluates an encoder on all tasks."""
Publish = Callable[["TextEncoder", Any, Path], object]
"""Writes the report of an evaluation into a folder, over an earlier report."""
Say = Callable[[str], None]


class WatchError(ValueError):
    """A run that diverged, or that no new checkpoint came from in time; the message says so in one line."""


def main(arguments: list[str]) -> int:
    """The command: prints a line per step, and a last one that says why it ended. Returns the exit status."""
    options = parse(arguments)
    keep_freed_memory()
    from hybrid_jax.eval import job  # imports jax, which --help does not need

    say, warn = partial(print, flush=True), partial(print, file=sys.stderr, flush=True)
    return watch(options, partial(job.open_tasks, say=say), partial(job.measure, warn=warn), job.publish)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line. Exits with a message for --help and for a wrong option."""
    parser = argparse.ArgumentParser(
        program("eval watch"),
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="the run's folder (its --workdir), which need not exist yet"
    )
    parser.add_argument("--tasks", default="demo", help="task names, separated by commas (default: demo)")
    parser.add_argument("--data-dir", type=Path, help="where the tasks' official files lie (default: as without watch)")
    parser.add_argument(
        "--metric",
        metavar="TASK.METRIC[.SETTING]",
        help="the figure that names the best step, such as demo.map.multilingual, or demo.rank_distance, of which less "
        "is better (default: map.multilingual of the first task, ndcg@10 if it is searched, accuracy if it is bitext)",
    )
    parser.add_argument(
        "--every", type=_positive, default=10.0, metavar="SECONDS", help="how often to look (default: 10)"
    )
    parser.add_argument(
        "--timeout", type=_positive, metavar="SECONDS", help="give up after so long without a checkpoint to evaluate"
    )
    return parser.parse_args(arguments)


def watch(options: argparse.Namespace, open_tasks: OpenTasks, measure: Measure, publish: Publish) -> int:
    """Watches the run to its end. Returns the exit status; what goes wrong is one line on standard error."""
    try:
        refuse_addresses(options)
        _watch(options, open_tasks, measure, publish, partial(print, file=sys.stdout, flush=True))
    except (ValueError, OSError) as error:  # mistakes in the options or files, and a full disk
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt as stop:
        curve = _curve_path(options.run)
        sys.stderr.write(f"stopped; the same command goes on with the steps that {curve} lacks\n")
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    return 0


def _watch(options: argparse.Namespace, open_tasks: OpenTasks, measure: Measure, publish: Publish, say: Say) -> None:
    from hybrid_jax.embed.run import read_config, read_run  # imports jax, which --help does not need
    from hybrid_jax.eval.watch.steps import RunSteps
    from hybrid_jax.runs.keeping import CheckpointConfig, of_starts, stopped_early

    for number in (signal.SIGTERM, signal.SIGUSR1):  # after jax, whose own handler would not stop the process
        signal.signal(number, _stop)
    tasks = open_tasks(options.tasks, options.data_dir)
    figure_names = names(tasks)
    metric = figure_names[0] if options.metric is None else check_name(options.metric, figure_names)
    patience = _Patience(options.every, options.timeout)
    _wait_for_first(options.run, patience, say)
    config = read_config(options.run)

    def latest() -> CheckpointConfig:
        return of_starts(options.run, config.checkpoint)[-1]  # the run may be resumed with others while it is watched

    settings = CurveSettings(
        metric=metric,
        tasks=tuple(sorted(tasks)),
        data_sha256=_digest({key: {task.name: dict(task.sources) for task in group} for key, group in tasks.items()}),
        run_sha256=sha256((options.run / "config.yaml").read_bytes()).hexdigest(),
    )
    with Curve(_curve_path(options.run), settings) as curve:
        steps = RunSteps(
            read_run(options.run),
            lambda: latest().every,
            config.steps,
            config.batch_size,
            curve,
            lambda encoder: measure(encoder, tasks),
            publish,
            say,
        )
        order = "lowest" if metric_of(metric).better == "lower" else "highest"
        say(f"watching {options.run} on {', '.join(tasks)}: the best step is the one of the {order} {metric}")
        steps.finish_interrupted()
        if curve.points:
            say(f"going on: {steps.summary()}")
        diverged = None
        while True:
            # Looked up before the steps: a checkpoint still being written when the run diverged is evaluated too.
            before, diverged = diverged, _diverged(options.run)
            if (step := steps.next()) is not None:
                steps.evaluate(step)
                patience.renew()
            elif config.steps in steps.done:
                say(f"done, {config.steps} steps: {steps.summary()}")
                return
            elif (early := stopped_early(options.run, latest())) and early.step in steps.done:
                say(f"done, the run {early}: {steps.summary()}")
                return
            elif diverged is not None and diverged == before:
                raise WatchError(f"the run diverged ({diverged} has the rows); {steps.summary()}")
            elif not patience.wait():
                raise WatchError(
                    f"{options.run} has had no new checkpoint for {options.timeout:g} s; {steps.summary()}"
                )


class _Patience:
    """How often to look for a new checkpoint, and how long in all."""

    def __init__(self, every: float, timeout: float | None):
        self._every, self._timeout = every, timeout
        self.renew()

    def renew(self) -> None:
        """Restarts the timeout."""
        self._began = time.monotonic()

    def wait(self) -> bool:
        """Sleeps until the next look; False when the timeout has passed."""
        left = self._every if self._timeout is None else self._began + self._timeout - time.monotonic()
        time.sleep(max(0.0, min(self._every, left)))
        return left > 0


def _wait_for_first(run: Path, patience: _Patience, say: Say) -> None:
    """Returns once the run has a checkpoint, a curve, or has diverged. Raises WatchError at the timeout."""
    from hybrid_jax.embed.run import is_run
    from hybrid_jax.runs import checkpoint

    said = ""
    while not (is_run(run) and (checkpoint.steps(run / "checkpoints") or _curve_path(run).exists() or _diverged(run))):
        event = "its first checkpoint" if is_run(run) else "the run to begin (no config.yaml and tokenizer/ yet)"
        if said != event:
            say(f"{run}: waiting for {event}")
        said = event
        if not patience.wait():
            raise WatchError(f"{run}: waited in vain for {event}")


def _diverged(run: Path) -> Path | None:
    """The file that the run wrote when it diverged; None if it went on since or is still writing a checkpoint."""
    from hybrid_jax.runs import checkpoint

    files = {int(path.stem.rpartition("_")[2]): path for path in run.glob("diverged_at_step_*.json")}
    checkpoints = run / "checkpoints"
    if not files or any(checkpoints.glob("*.orbax-checkpoint-tmp*")):
        return None
    return files[max(files)] if max(checkpoint.steps(checkpoints), default=0) <= max(files) else None


def _curve_path(run: Path) -> Path:
    return run / "eval" / "curve.jsonl"


def _digest(content: Any) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _positive(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt(number)
