"""Signals that tell a run to stop: SIGTERM, SIGINT, and SIGUSR1, by which Slurm warns before a time limit (--signal).

A thread reads them from a pipe that Python's own C handler writes to. Python's usual way, an exception in the main
thread, can be raised within a callback of jax, which drops it, or within Orbax, which then takes a checkpoint for
damaged; and it waits while the main thread compiles.
"""

import ctypes
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Thread
from typing import NoReturn

import jax
from jax.experimental import multihost_utils

from hybrid_jax.runtime.leave import STOPPED

REPEATED = 1.0
"""Seconds in which a further signal is the same notice: Slurm and a launcher may both pass it on."""
GRACE = 300.0
"""Seconds that the step and its checkpoint may take before the process ends without them."""
STDERR = 2
NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Signals:
    """What this process was told. Until `listen`, nothing: signals act as they always do.

    Before the first step there is nothing to save: a signal ends the process at once, with the status STOPPED. From
    `while_stepping` on it is kept until `stop_after` says so in all processes. A second one, more than REPEATED seconds
    later, ends the process at once, with 128 + its number. `announce` is called with reason and status first.
    """

    def __init__(self, advice: str = "", announce: Callable[[str, int], None] = lambda reason, status: None):
        self._advice, self._announce = advice, announce
        self._number: int | None = None
        self._at = 0.0
        self._stepping = self._passed_on = self._reached = False
        self._status: int | None = None
        self._before_leaving: Callable[[], None] = lambda: None
        self._notify_jax: Callable[[int], None] = lambda number: None

    def listen(self) -> None:
        """Takes the signals of this process over. Call it in the main thread, after joining the other processes."""
        self._notify_jax = _handler_of_jax()
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        for number in NUMBERS:
            signal.signal(number, lambda number, frame: None)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        Thread(target=self._watch, args=(reading,), name="signals", daemon=True).start()

    @contextmanager
    def before_leaving(self, action: Callable[[], None]) -> Iterator[None]:
        """Within the block, a signal that ends the process at once calls `action` first."""
        self._before_leaving = action
        try:
            yield
        finally:
            self._before_leaving = lambda: None

    def clean_up(self) -> None:
        """Calls the action of the `before_leaving` block that is running, if one is."""
        self._before_leaving()

    def finished(self, status: int) -> None:
        """From now on a signal ends the process with this `status`: all is saved, and it only waits for the others."""
        self._status = status

    @contextmanager
    def while_stepping(self) -> Iterator[None]:
        """Within the block, a signal waits for the end of a step."""
        self._stepping = True
        try:
            yield
        finally:
            self._stepping = False

    def stop_after(self, step: int) -> bool:
        """Whether to stop after this step, the same in every process. Call it in all of them after every step; once it
        is true, it remains so.

        Asks no device. Several processes agree by jax's preemption service: about a second after one of them was told,
        they all stop at the step after the furthest.
        """
        if jax.process_count() == 1:
            return self._number is not None
        self._reached |= multihost_utils.reached_preemption_sync_point(step)  # true at one step only
        if self._number is not None and not self._passed_on:  # only now, as the service must know this process' step
            self._passed_on = True
            self._notify_jax(signal.SIGTERM)
        return self._reached

    def _watch(self, reading: int) -> None:
        while True:
            left = None if self._number is None or self._status is not None else self._at + GRACE - time.monotonic()
            if not select.select([reading], [], [], None if left is None else max(left, 0.0))[0]:
                self._leave(128 + (self._number or 0), f"no checkpoint within {GRACE:.0f} s: stopped without it")
            for number in os.read(reading, 64):
                self._receive(number)

    def _receive(self, number: int) -> None:
        if number not in NUMBERS:
            return
        if self._status is not None:
            os._exit(self._status)
        if self._number is None:
            self._number, self._at = number, time.monotonic()
            if not self._stepping:
                self._leave(STOPPED, "stopped before a step")
        elif time.monotonic() - self._at > REPEATED:
            self._leave(128 + number, "stopped at once, as told twice")

    def _leave(self, status: int, line: str) -> NoReturn:
        try:
            self._before_leaving()
            if select.select([], [STDERR], [], 0)[1]:  # not where its reader has stalled
                os.write(STDERR, f"{line}; {self._advice}\n".encode())
            self._announce(line, status)
        finally:
            os._exit(status)


def _handler_of_jax() -> Callable[[int], None]:
    """The handler of SIGTERM by which jax's preemption service is told, and which Python's replaces; or nothing."""
    replace = ctypes.CDLL(None).signal
    replace.restype, replace.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
    address = replace(signal.SIGTERM, None)  # None and 1 are the system's own: end, and ignore
    if address in (None, 1) or callable(signal.getsignal(signal.SIGTERM)):
        return lambda number: None
    return ctypes.CFUNCTYPE(None, ctypes.c_int)(address)
