"""Evaluates a run while it trains: python -m hybrid_jax.eval watch RUN --tasks TASKS

Knows: the command, when there is something to do, and when it is over. Does not know: how an evaluation is made and
written (`__main__.py` gives both), what happens to a step (`watched.py`).
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hybrid_jax.eval.tasks import Task
from hybrid_jax.eval.watch.curve import Curve, Settings, check_name, lower_is_better, names
from hybrid_jax.runtime.allocator import keep_freed_memory

if TYPE_CHECKING:
    from hybrid_jax.embed.encoder import TextEncoder
    from hybrid_jax.eval.evaluation import Evaluation

DESCRIPTION = """Evaluates each checkpoint of a run in progress, from another process or from a machine that shares its
folder: a line per step here and in RUN/eval/curve.jsonl. The best step is kept in RUN/best when the run deletes it
(--step best loads it, for evaluation and export), and its report is in RUN/eval. May be started before the run; ends
when the run's last step is evaluated. Stopped or killed, the same command goes on with the steps that the curve lacks.

Steps are evaluated in the run's order. Those that the run deletes meanwhile are skipped, and named: a greater
checkpoint.keep of the run, or fewer tasks, avoids that."""

EXAMPLE = """example:

  python -m hybrid_jax.eval watch runs/hybrid --tasks xquad_r,mlqa_r --metric xquad_r.map.multilingual

The exit status is 0 when the run is done, 1 when it diverged, --timeout passed or something is wrong. Watching takes
from the run's machine what an evaluation takes: on an accelerator that the run fills, watch from another, or with
JAX_PLATFORMS=cpu."""

Named = Mapping[str, tuple[Task, ...]]
"""The tasks behind each name asked for."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Evaluator:
    """How the evaluation's command does it, whatever the step."""

    open_tasks: Callable[[str, Path | None], Named]
    """(--tasks, --data-dir or None where it was not given) -> the tasks."""
    measure: Callable[["TextEncoder", Named], "Evaluation"]
    """Evaluates all the tasks, and says nothing: the watch has a line per step."""
    publish: Callable[["TextEncoder", "Evaluation", Path], object]
    """Writes the whole report into the folder, over the one before."""


class WatchError(ValueError):
    """A run that does not end well, or that cannot be watched as asked; the message says why in a line."""


def main(arguments: list[str], evaluator: Evaluator) -> int:
    """The command: prints a line per step, and one that says why it ended. Returns the exit status."""
    parser = argparse.ArgumentParser(
        "python -m hybrid_jax.eval watch",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="the run's folder (its --workdir), there already or not")
    parser.add_argument("--tasks", default="demo", help="task names, separated by commas (default: demo)")
    parser.add_argument("--data-dir", type=Path, help="where the tasks' official files lie (default: as without watch)")
    parser.add_argument(
        "--metric",
        metavar="TASK.METRIC[.SETTING]",
        help="what names the best step, such as demo.map.multilingual or demo.rank_distance, of which less is better "
        "(default: map.multilingual of the first task, ndcg@10 where it is searched, accuracy where it is bitext)",
    )
    parser.add_argument(
        "--every", type=_positive, default=10.0, metavar="SECONDS", help="how often to look (default: 10)"
    )
    parser.add_argument(
        "--timeout", type=_positive, metavar="SECONDS", help="give up after so long without a checkpoint to evaluate"
    )
    asked = parser.parse_args(arguments)
    keep_freed_memory()
    try:
        _watch(asked, evaluator, partial(print, file=sys.stdout, flush=True))
    except (ValueError, OSError) as error:  # what the parts raise on purpose, and a full disk
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt as stop:
        sys.stderr.write(f"stopped; the same command goes on with the steps that {_curve(asked.run)} lacks\n")
        return 128 + (stop.args[0] if stop.args else signal.SIGINT)
    return 0


def _watch(asked: argparse.Namespace, evaluator: Evaluator, say: Say) -> None:
    from hybrid_jax.embed.run import read_config, read_run  # jax and all of it: not needed to answer --help
    from hybrid_jax.eval.watch.steps import Watched

    signal.signal(signal.SIGTERM, _stop)  # after jax, which would only take note of it
    named = evaluator.open_tasks(asked.tasks, asked.data_dir)
    known = names(named)
    metric = known[0] if asked.metric is None else check_name(asked.metric, known)
    patience = _Patience(asked.every, asked.timeout)
    _wait_for_first(asked.run, patience, say)
    config = read_config(asked.run)
    settings = Settings(
        metric=metric,
        tasks=tuple(sorted(named)),
        data_sha256=_digest({task.name: dict(task.sources) for made in named.values() for task in made}),
        run_sha256=sha256((asked.run / "config.yaml").read_bytes()).hexdigest(),
    )
    with Curve(_curve(asked.run), settings) as curve:
        watched = Watched(
            read_run(asked.run),
            config.checkpoint.every,
            config.steps,
            config.batch_size,
            curve,
            lambda encoder: evaluator.measure(encoder, named),
            evaluator.publish,
            say,
        )
        order = "lowest" if lower_is_better(metric) else "highest"
        say(f"watching {asked.run} on {', '.join(named)}: the best step is the one of the {order} {metric}")
        watched.settle()
        if curve.points:
            say(f"going on: {watched.standing()}")
        diverged = None
        while True:
            # Asked before the steps are: a checkpoint that was on its way when the run diverged is among them.
            before, diverged = diverged, _diverged(asked.run)
            if (step := watched.next()) is not None:
                watched.take(step)
                patience.renew()
            elif config.steps in watched.done:
                say(f"done, {config.steps} steps: {watched.standing()}")
                return
            elif diverged is not None and diverged == before:
                raise WatchError(f"the run diverged ({diverged} has the rows); {watched.standing()}")
            elif not patience.wait():
                raise WatchError(f"{asked.run} has had no new checkpoint for {asked.timeout:g} s; {watched.standing()}")


class _Patience:
    """How long to wait for what comes."""

    def __init__(self, every: float, timeout: float | None):
        self._every, self._timeout = every, timeout
        self.renew()

    def renew(self) -> None:
        """Begins to count anew."""
        self._began = time.monotonic()

    def wait(self) -> bool:
        """Sleeps a while; False when the time is over."""
        left = self._every if self._timeout is None else self._began + self._timeout - time.monotonic()
        time.sleep(max(0.0, min(self._every, left)))
        return left > 0


def _wait_for_first(run: Path, patience: _Patience, say: Say) -> None:
    """Until there is something to do, or to say."""
    from hybrid_jax.embed.run import is_run
    from hybrid_jax.runs import checkpoint

    told = ""
    while not (is_run(run) and (checkpoint.steps(run / "checkpoints") or _curve(run).exists() or _diverged(run))):
        waiting = "its first checkpoint" if is_run(run) else "the run to begin (no config.yaml and tokenizer/ yet)"
        if told != waiting:
            say(f"{run}: waiting for {waiting}")
        told = waiting
        if not patience.wait():
            raise WatchError(f"{run}: waited in vain for {waiting}")


def _diverged(run: Path) -> Path | None:
    """What the run left when it diverged, unless it has gone on since or still writes a checkpoint."""
    from hybrid_jax.runs import checkpoint

    found = {int(path.stem.rpartition("_")[2]): path for path in run.glob("diverged_at_step_*.json")}
    checkpoints = run / "checkpoints"
    if not found or any(checkpoints.glob("*.orbax-checkpoint-tmp*")):
        return None
    return found[max(found)] if max(checkpoint.steps(checkpoints), default=0) <= max(found) else None


def _curve(run: Path) -> Path:
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
