"""Says where a run stands when a step takes far longer than those before: a thread that looks at the main thread."""

import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import FrameType

FACTOR = 10
"""A step that takes so many times the median of those before it is worth a line."""
LEAST = 60.0
"""Seconds that a step must take to be worth a line."""
FIRST = 300.0
"""The same for the first step, which is compiled."""
PACKAGE = Path(__file__).parents[1]


class Watchdog:
    """Watches the thread that creates it, within a `with` block; `say` gets a line at the limit, and at each doubling.

    `least` and `first` are seconds.
    """

    def __init__(self, say: Callable[[str], None], step: int, least: float = LEAST, first: float = FIRST):
        self._say, self._step, self._least, self._first = say, step, least, first
        self._thread = threading.get_ident()
        self._began = time.monotonic()
        self._took: deque[float] = deque(maxlen=50)
        self._ended = threading.Event()

    def __enter__(self) -> "Watchdog":
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()

    def done(self, step: int) -> None:
        """The number of steps that are done: the step of this number begins."""
        now = time.monotonic()
        self._took.append(now - self._began)
        self._step, self._began = step, now

    def _watch(self) -> None:
        said = (-1, 0.0)
        while not self._ended.wait(min(1.0, self._least / 4)):
            step, seconds = self._step, time.monotonic() - self._began
            usual = median(self._took) if self._took else None
            limit = self._first if usual is None else max(self._least, FACTOR * usual)
            if said[0] == step:
                limit = max(limit, 2 * said[1])
            if seconds >= limit:
                said = step, seconds
                beside = "it is the first" if usual is None else f"the median is {usual:.3g} s"
                self._say(f"step {step} has taken {seconds:.3g} s so far ({beside}): {self._place()}")

    def _place(self) -> str:
        """The innermost place in this package and below it, of the watched thread."""
        frame = sys._current_frames().get(self._thread)
        inner = place = _shown(frame)
        while frame is not None and PACKAGE not in Path(frame.f_code.co_filename).parents:
            frame = frame.f_back
        if frame is not None:
            place = _shown(frame)
        return f"in {place}" + (f", within it in {inner}" if inner != place else "")


def _shown(frame: FrameType | None) -> str:
    if frame is None:
        return "no Python code"
    path = Path(frame.f_code.co_filename)
    return f"{frame.f_code.co_name} ({'/'.join(path.parts[-3:])}:{frame.f_lineno})"
