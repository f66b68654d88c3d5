"""Evaluates a run's checkpoints one at a time, oldest first, and keeps the best one where the run cannot delete it.

Each step is:

1. held in RUN/best/candidate, so that the run may delete it;
2. evaluated;
3. if it is the best so far, published in RUN/eval;
4. written to the curve;
5. if it is the best so far, moved to RUN/best, else dropped;
6. shown on the report's page, whose curve is redrawn.

A kill between any two of these loses nothing but the evaluation that it interrupts. At most two checkpoints take room
that the run would have freed.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from hybrid_jax.embed.encoder import TextEncoder
from hybrid_jax.embed.load import load_checkpoint
from hybrid_jax.embed.model_options import warn
from hybrid_jax.embed.run import Run
from hybrid_jax.eval.evaluation import Evaluation
from hybrid_jax.eval.report.build import write_report
from hybrid_jax.eval.report.schema import CurvePoint, Report
from hybrid_jax.eval.watch.curve import Curve, best, by_name, check_name, figures, metric_of
from hybrid_jax.runs import checkpoint
from hybrid_jax.runs.best import Best, keep_best
from hybrid_jax.runs.holding import drop, hold

Measure = Callable[[TextEncoder], Evaluation]
Publish = Callable[[TextEncoder, Evaluation, Path], object]


class RunSteps:
    """The steps of one run, which saves one every `every()` up to `last`; a resumed run may have changed it.

    `measure` evaluates an encoder, `publish` writes the report of that evaluation into a folder, and `say` is called
    with each line of progress.
    """

    def __init__(
        self,
        run: Run,
        every: Callable[[], int],
        last: int,
        batch_size: int,
        curve: Curve,
        measure: Measure,
        publish: Publish,
        say: Callable[[str], None],
    ):
        self._run, self._every, self._last, self._batch_size = run, every, last, batch_size
        self._curve, self._measure, self._publish, self._say = curve, measure, publish, say
        self._skipped: set[int] = set()
        self._checkpoints, self._best = run.folder / "checkpoints", run.folder / "best"
        self._candidates = self._best / "candidate"

    @property
    def done(self) -> set[int]:
        """The steps that were evaluated or skipped."""
        return {point.step for point in self._curve.points} | self._skipped

    def next(self) -> int | None:
        """The earliest step that has a checkpoint and is not done."""
        saved = {*checkpoint.steps(self._checkpoints), *checkpoint.steps(self._candidates)}
        return min(saved - self.done, default=None)

    def finish_interrupted(self) -> None:
        """Finishes an interrupted last step: keeps the curve's best checkpoint, drops the others, redraws the curve."""
        point = self._curve.best
        if point is not None:
            kept = (self._best / str(point.step)).is_dir()
            if kept or hold(self._checkpoints, point.step, self._candidates):
                self._keep(point)
            else:
                self._say(f"the best step of the curve, {point.step}, is gone: somebody removed it from {self._best}")
        for step in self.done & set(checkpoint.steps(self._candidates)):
            drop(self._candidates, step)
        self._redraw()

    def evaluate(self, step: int) -> None:
        """Takes one step from its checkpoint to the curve, or skips it with a line that says why."""
        before = max(self.done, default=0)
        every = self._every()
        self._skip([gone for gone in range(every, step, every) if gone > before], "no longer there")
        if not hold(self._checkpoints, step, self._candidates):
            self._skip([step], "no longer there")
            return
        began = time.monotonic()
        try:
            encoder = load_checkpoint(self._run, self._candidates, step, warn)
        except checkpoint.DamagedError as error:
            self._skip([step], str(error))
            drop(self._candidates, step)
            return
        evaluation = self._measure(encoder)
        point = self._point(step, evaluation, time.monotonic() - began)
        best_before = self._curve.best
        is_best = best([*self._curve.points, point]) is point
        if is_best:
            self._publish(encoder, evaluation, self._run.folder / "eval")
        self._curve.append(point)
        if is_best:
            self._keep(point)
        else:
            drop(self._candidates, step)
        self._redraw()
        leader = "best so far"
        if not is_best and best_before is not None:
            leader = f"best {_shown(best_before)} at step {best_before.step}"
        progress = f"step {step:{len(str(self._last))}}/{self._last}  {point.settings.metric} {_shown(point)}"
        self._say(f"{progress}  {leader}  ({point.seconds:.0f} s)")

    def _point(self, step: int, evaluation: Evaluation, seconds: float) -> CurvePoint:
        settings, by_task = self._curve.settings, figures(evaluation)
        values = {name: value for name, value in by_name(by_task).items() if value is not None}
        written = (self._candidates / str(step) / "metrics" / "metrics").stat().st_mtime
        return CurvePoint(
            step=step,
            pairs=step * self._batch_size,
            written=datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds"),
            seconds=round(seconds, 1),
            value=values[check_name(settings.metric, list(values))],
            figures=by_task,
            settings=settings,
        )

    def summary(self) -> str:
        """How many steps were evaluated, which is best, and where it is kept."""
        point, count = self._curve.best, len(self._curve.points)
        if point is None:
            return "no step was evaluated"
        return (
            f"the best of {count} evaluated step{'s' * (count > 1)} is {point.step}, {point.settings.metric} "
            f"{_shown(point)}; kept in {self._best / str(point.step)} (--step best), its report in "
            f"{self._run.folder / 'eval'}"
        )

    def _keep(self, point: CurvePoint) -> None:
        noted = Best(step=point.step, metric=point.settings.metric, value=point.value)
        keep_best(self._best, self._candidates, noted)

    def _redraw(self) -> None:
        """Writes the report again with the curve's points; a report of another version stays as it is."""
        path = self._run.folder / "eval" / "report.json"
        if not path.exists():
            return
        try:
            report = Report.model_validate_json(path.read_bytes())
        except ValidationError:
            return
        write_report(path.parent, report.model_copy(update={"curve": self._curve.points}))

    def _skip(self, steps: list[int], why: str) -> None:
        self._skipped |= set(steps)
        if steps:
            self._say(f"skipped step{'s' * (len(steps) > 1)} {', '.join(map(str, steps))}: {why}")


def _shown(point: CurvePoint) -> str:
    return f"{point.value:,.{metric_of(point.settings.metric).digits}f}"
