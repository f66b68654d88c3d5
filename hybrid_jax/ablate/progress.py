"""How far a sweep is: one bar over all its runs on a terminal, a line per finished run elsewhere."""

import sys
import time
from collections.abc import Sequence

from tqdm import tqdm

from hybrid_jax.ablate.folder import Cost, Run, steps_done

BAR = "{percentage:3.0f}%|{bar}| {desc}  {remaining} left"
EVERY = 1.0
"""Seconds between looks at the runs' logs."""


class Progress:
    """Counts the steps of all runs, those of other workers included, from their logs."""

    def __init__(self, runs: Sequence[Run]):
        self._runs = list(runs)
        self._steps = {run: run.steps for run in self._runs}
        self._terminal = sys.stderr.isatty()
        self._began, self._looked = time.monotonic(), 0.0
        self._before = done = self._done()
        total = sum(self._steps.values())
        self._bar = tqdm(
            total=total, initial=done, bar_format=BAR, dynamic_ncols=True, disable=not self._terminal, leave=False
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()

    def say(self, line: str) -> None:
        """Prints a line, above the bar if there is one."""
        tqdm.write(line, file=sys.stderr)

    def show(self, what: str) -> None:
        """Moves the bar, which says what this worker does."""
        if not self._terminal or time.monotonic() - self._looked < EVERY:
            return
        self._looked = time.monotonic()
        self._bar.n = self._done()
        self._bar.set_description_str(f"{self._count()} runs, {what}", refresh=False)
        self._bar.refresh()

    def finished(self, run: Run, cost: Cost) -> None:
        """Says that this worker has finished a run."""
        train, evaluation = map(tqdm.format_interval, (cost.seconds_train, cost.seconds_eval))
        self.say(f"{self._count()} runs, {run.name}: trained in {train}, evaluated in {evaluation}{self._left()}")

    def _count(self) -> str:
        return f"{sum(run.finished for run in self._runs)}/{len(self._runs)}"

    def _done(self) -> int:
        return sum(steps if run.finished else min(steps_done(run), steps) for run, steps in self._steps.items())

    def _left(self) -> str:
        """The time that the rest takes at the pace so far of all workers, evaluations included."""
        done, total = self._done(), sum(self._steps.values())
        if done == total or done == self._before:
            return ""
        pace = (time.monotonic() - self._began) / (done - self._before)
        return f", about {tqdm.format_interval(pace * (total - done))} left"
