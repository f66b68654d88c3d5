"""Where a run's time goes: seconds of the main thread by what it does, of which only "step" is training."""

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import jax.monitoring

T = TypeVar("T")

PHASES = {
    "step": "training",
    "input": "waiting for input",
    "compile": "compiling",
    "save": "saving",
    "evaluate": "measuring the held-out loss",
    "start": "starting: preparing data, restoring",
    "lost": "steps done again after a stop without a save",
}
"""The phases, and what they are called in a summary."""
_COMPILING = "/jax/core/compile/"
"""How the names of jax's durations of tracing, lowering and compiling begin."""


class Goodput:
    """Counts seconds from its creation on, within a `with` block. What is in no other phase is "start" until `started`,
    and "step" after it; compilation is taken out of all.

    Devices compute while the main thread does other things: "step" holds what it waits for them.
    """

    def __init__(self) -> None:
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._base = "start"
        self._since = time.monotonic()
        self._compiled = 0.0

    def __enter__(self) -> "Goodput":
        jax.monitoring.register_event_duration_secs_listener(self._hear)
        return self

    def __exit__(self, *exception: object) -> None:
        jax.monitoring.unregister_event_duration_listener(self._hear)

    def started(self, lost: float) -> None:
        """The first step begins; `lost` are the seconds of an earlier start's steps that are done again."""
        self._count(self._base)
        self._base = "step"
        if lost:
            self._seconds["lost"] += lost

    @contextmanager
    def spent(self, phase: str) -> Iterator[None]:
        """Counts the block's seconds as `phase`."""
        self._count(self._base)
        try:
            yield
        finally:
            self._count(phase)

    def waiting(self, batches: Iterable[T]) -> Iterator[T]:
        """The same batches; the time that it takes to get them counts as "input"."""
        iterator = iter(batches)
        while True:
            with self.spent("input"):
                batch = next(iterator, None)
            if batch is None:
                return
            yield batch

    def take(self) -> dict[str, float]:
        """Seconds by phase since the last call, in milliseconds' precision; phases without any are left out."""
        self._count(self._base)
        taken, self._seconds = self._seconds, defaultdict(float)
        return {phase: round(taken[phase], 3) for phase in PHASES if round(taken[phase], 3)}

    def _count(self, phase: str) -> None:
        """Counts the time since the last call."""
        now = time.monotonic()
        took, compiled = now - self._since, self._compiled
        self._since, self._compiled = now, 0.0
        compiled = min(compiled, took)  # traces within traces are counted twice
        self._seconds["compile"] += compiled
        self._seconds[phase] += took - compiled

    def _hear(self, event: str, duration_secs: float, **kwargs: str | int) -> None:
        if event.startswith(_COMPILING):
            self._compiled += duration_secs
