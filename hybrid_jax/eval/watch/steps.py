"""A run's checkpoints on their way to the curve, and the best one's to RUN/best, where the run does not delete it.

Knows: the order of the steps' ways and what a kill may leave of them. Does not know: when to look (`watch.py`), how an
evaluation is made and written, the curve's file (`curve.py`), files of checkpoints (`runtime/checkpoint.py`).

A step is held in RUN/best/candidate, so that the run may delete it; evaluated; if the best so far, its report is
written to RUN/eval; its line is put on the curve; if the best so far, it is moved to RUN/best, else dropped; and the
curve as it is by now is put on the pages of the report. A kill between any two of these loses nothing but the
evaluation that it hit. One step at a time, the oldest that still exists first: the curve is in the run's order, and at
most two checkpoints take room that the run would have freed.
"""

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from hybrid_jax.embed.encoder import TextEncoder
from hybrid_jax.embed.load import load_checkpoint
from hybrid_jax.embed.model_options import warn
from hybrid_jax.embed.run import Run
from hybrid_jax.eval.evaluation import Evaluation
from hybrid_jax.eval.report.build import SCHEMA_VERSION, write_report
from hybrid_jax.eval.watch.curve import Curve, Point, best, by_name, check_name, figures, lower_is_better
from hybrid_jax.runs import checkpoint


class Watched:
    """The steps of one run. `every` and `last` say which steps it saves, `measure` evaluates an encoder, and `publish`
    writes what it found into a folder."""

    def __init__(
        self,
        run: Run,
        every: int,
        last: int,
        batch_size: int,
        curve: Curve,
        measure: Callable[[TextEncoder], Evaluation],
        publish: Callable[[TextEncoder, Evaluation, Path], object],
        say: Callable[[str], None],
    ):
        self._run, self._every, self._last, self._batch_size = run, every, last, batch_size
        self._curve, self._measure, self._publish, self._say = curve, measure, publish, say
        self._skipped: set[int] = set()
        self._checkpoints, self._best = run.folder / "checkpoints", run.folder / "best"
        self._candidates = self._best / "candidate"

    @property
    def done(self) -> set[int]:
        """Steps that need nothing more."""
        return {point.step for point in self._curve.points} | self._skipped

    def next(self) -> int | None:
        """The first step that is to be evaluated and still there."""
        there = {*checkpoint.steps(self._checkpoints), *checkpoint.steps(self._candidates)}
        return min(there - self.done, default=None)

    def settle(self) -> None:
        """Does for the curve's last step what a kill kept from being done."""
        found = self._curve.best
        if found is not None:
            kept = (self._best / str(found.step)).is_dir()
            if kept or checkpoint.hold(self._checkpoints, found.step, self._candidates):
                self._keep(found)
            else:
                self._say(f"the best step of the curve, {found.step}, is gone: somebody removed it from {self._best}")
        for step in self.done & set(checkpoint.steps(self._candidates)):
            checkpoint.drop(self._candidates, step)
        self._draw()

    def take(self, step: int) -> None:
        """Takes one step to its end, or skips and names it."""
        before = max(self.done, default=0)
        self._skip([gone for gone in range(self._every, step, self._every) if gone > before], "no longer there")
        if not checkpoint.hold(self._checkpoints, step, self._candidates):
            self._skip([step], "no longer there")
            return
        began = time.monotonic()
        try:
            encoder = load_checkpoint(self._run, self._candidates, step, warn)
        except checkpoint.DamagedError as error:
            self._skip([step], str(error))
            checkpoint.drop(self._candidates, step)
            return
        evaluation = self._measure(encoder)
        point = self._point(step, evaluation, time.monotonic() - began)
        old = self._curve.best
        leads = best([*self._curve.points, point]) is point
        if leads:
            self._publish(encoder, evaluation, self._run.folder / "eval")
        self._curve.append(point)
        if leads:
            self._keep(point)
        else:
            checkpoint.drop(self._candidates, step)
        self._draw()
        mark = "best so far" if leads or old is None else f"best {_shown(old)} at step {old.step}"
        named = f"step {step:{len(str(self._last))}}/{self._last}  {point.settings.metric} {_shown(point)}"
        self._say(f"{named}  {mark}  ({point.seconds:.0f} s)")

    def _point(self, step: int, evaluation: Evaluation, seconds: float) -> Point:
        settings, measured = self._curve.settings, figures(evaluation)
        found = {name: value for name, value in by_name(measured).items() if value is not None}
        written = (self._candidates / str(step) / "metrics" / "metrics").stat().st_mtime
        return Point(
            step=step,
            pairs=step * self._batch_size,
            written=datetime.fromtimestamp(written, UTC).isoformat(timespec="seconds"),
            seconds=round(seconds, 1),
            value=found[check_name(settings.metric, list(found))],
            figures=measured,
            settings=settings,
        )

    def standing(self) -> str:
        """What is known by now."""
        found, count = self._curve.best, len(self._curve.points)
        if found is None:
            return "no step was evaluated"
        name = found.settings.metric
        return (
            f"the best of {count} evaluated step{'s' * (count > 1)} is {found.step}, {name} {_shown(found)}; "
            f"kept in {self._best / str(found.step)} (--step best), its report in {self._run.folder / 'eval'}"
        )

    def _keep(self, point: Point) -> None:
        noted = checkpoint.Best(step=point.step, metric=point.settings.metric, value=point.value)
        checkpoint.keep_best(self._best, self._candidates, noted)

    def _draw(self) -> None:
        path = self._run.folder / "eval" / "report.json"
        report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        if report.get("schema_version") == SCHEMA_VERSION:  # else it is of another version, and stays as it is
            write_report(
                path.parent, {**report, "curve": [point.model_dump(mode="json") for point in self._curve.points]}
            )

    def _skip(self, steps: list[int], why: str) -> None:
        self._skipped |= set(steps)
        if steps:
            self._say(f"skipped step{'s' * (len(steps) > 1)} {', '.join(map(str, steps))}: {why}")


def _shown(point: Point) -> str:
    return f"{point.value:,.{1 if lower_is_better(point.settings.metric) else 4}f}"
