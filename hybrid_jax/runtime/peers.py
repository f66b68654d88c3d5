"""The other processes of a run: when one of them is gone, this one says so in one line, and ends.

jax notices a process that sends no heartbeats for HEARTBEAT seconds, or at once that process 0 is gone, and aborts the
others with a C++ stack, which does not name the process in a way that its reader understands. Here the signal of that
abort is handled, with a line that is the last one. To name the process, each counts up a number in jax's coordination
service, where it also says why it ends, if it can; the others then end within seconds.
"""

import ctypes
import os
import re
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread
from typing import Any, NoReturn

import jax
from jax._src import distributed  # the client of the coordination service, which Orbax reaches in the same way

from hybrid_jax.runtime.leave import STOPPED

HEARTBEAT = 25
"""Seconds without a heartbeat after which jax takes a process for dead."""
BEAT = 2.0
"""Seconds between this module's own signs of life."""
SILENT = 4 * BEAT
"""A process without such a sign for so long is the one that is named."""
PATIENCE = 5.0
"""Seconds that cleaning up may take before this process ends."""
_FOLDER, _STDERR = "hybrid_jax", 2
_OF_A_COLLECTIVE = re.compile(r"[A-Z_]+: ")
"""How messages of XLA begin, such as "UNKNOWN: Gloo AllReduce failed: … Connection closed by peer"."""


class Peers:
    """Watches the other processes from `watch` on; with a single process, nothing is done.

    `last_step` gives the step of the last checkpoint, None if there is none; without it, checkpoints are not spoken of.
    `before_leaving` is called before this process ends because of another, for PATIENCE seconds at most.
    """

    def __init__(
        self, last_step: Callable[[], int | None] | None = None, before_leaving: Callable[[], None] = lambda: None
    ):
        self._last_step, self._before_leaving = last_step, before_leaving
        self._last: int | None = None
        self._client: Any = None
        self._me = 0
        self._finished: int | None = None
        self._signs: dict[int, tuple[str, float]] = {}  # by process: the latest sign of life, and when it came
        self._clock = 0.0  # when this process last ran
        self._stood_still: float | None = None  # when it last went on after a standstill
        self._ending = Event()

    def watch(self) -> None:
        """Begins to watch. Call it in the main thread after the processes have found each other."""
        self._client = distributed.global_state.client
        if self._client is None:
            return
        self._me = jax.process_index()
        handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda number: self._end(self._lost()))
        self._handler = handler  # C code keeps only its address
        install = ctypes.CDLL(None).signal
        install.restype = ctypes.c_void_p
        install(signal.SIGABRT, handler)  # not Python's own, which waits for the main thread while the process ends
        self._clock = time.monotonic()
        Thread(target=self._notice_standstill, name="peers-clock", daemon=True).start()
        Thread(target=self._beat, name="peers", daemon=True).start()

    def announce(self, reason: str, status: int = 1) -> None:
        """Tells the other processes why this one ends, so that they end too: with STOPPED if that is its `status`, as
        a launcher that sees one of them fail would not start the run again, and otherwise with 1."""
        if self._client is not None and not self._ending.is_set():
            self._ending.set()
            first = reason.split("\n")[0]
            with suppress(RuntimeError):
                self._client.key_value_set(f"{_FOLDER}/ended/{self._me}", f"{status} {first}")
                if self._me == 0:  # the service ends with this process
                    time.sleep(1.5 * BEAT)

    def finished(self, status: int) -> None:
        """From now on this process ends with `status` whatever the others do: its part is saved."""
        self._finished = status

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Within the block, an exception is announced or, if a lost connection caused it, replaced by one line."""
        try:
            yield
        except Exception as error:
            causes = [str(one) for one in (error, error.__cause__) if one is not None]  # a save's is its cause
            if self._client is not None and any(map(_OF_A_COLLECTIVE.match, causes)):
                until = time.monotonic() + HEARTBEAT
                while not self._silent() and time.monotonic() < until:  # `_beat` may end this process meanwhile
                    time.sleep(0.2)
                if self._silent():
                    self._end(self._lost())
            self.announce(str(error))
            raise

    def _beat(self) -> None:
        number = 0
        with suppress(RuntimeError):  # the service is gone, which jax notices
            while True:
                number += 1
                self._client.key_value_set(f"{_FOLDER}/alive/{self._me}", str(number), allow_overwrite=True)
                for key, value in self._client.key_value_dir_get(f"{_FOLDER}/alive/"):
                    process = int(key.rpartition("/")[2])
                    if self._signs.get(process, ("", 0.0))[0] != value:
                        self._signs[process] = value, time.monotonic()
                for key, value in self._client.key_value_dir_get(f"{_FOLDER}/ended/"):
                    process = int(key.rpartition("/")[2])
                    status, _, reason = value.partition(" ")
                    if process != self._me and not self._ending.is_set():
                        self._end(f"process {process} has ended ({reason})", int(status))
                with suppress(OSError):  # a file system that does not answer for a moment is no reason to fall silent
                    self._last = None if self._last_step is None else self._last_step()
                time.sleep(BEAT)

    def _notice_standstill(self) -> None:
        """In a thread of its own, as `_beat` also stands still where process 0 does not answer it."""
        while True:
            self._tick()
            time.sleep(BEAT / 2)

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._clock > SILENT:
            self._stood_still = now
        self._clock = now

    def _silent(self) -> list[int]:
        now = time.monotonic()
        return sorted(process for process, (_, at) in self._signs.items() if process != self._me and now - at > SILENT)

    def _lost(self) -> str:
        """Who is gone, as far as can be told here."""
        self._tick()
        if self._stood_still is not None and time.monotonic() - self._stood_still < HEARTBEAT:
            return f"process {self._me}, which is this one, stood still and was taken for dead"
        if silent := self._silent():
            return f"process {', '.join(map(str, silent))} is gone"
        return f"process {self._me}, which is this one, failed (see above)" if _answers() else "process 0 is gone"

    def _end(self, what: str, status: int = 1) -> NoReturn:
        saved = "there is no checkpoint yet" if self._last is None else f"the last checkpoint is step {self._last}"
        if self._finished is not None:  # all is saved, and this process only waited for the others
            os._exit(self._finished)
        try:
            advice = "start all again" if self._last_step is None else f"start all again; {saved}"
            os.write(_STDERR, f"{'' if status == STOPPED else 'error: '}{what}: {advice}\n".encode())
            leaving = Thread(target=self._before_leaving, daemon=True)  # a file system may be what is gone
            leaving.start()
            leaving.join(PATIENCE)
        finally:
            os._exit(STOPPED if status == STOPPED else 1)


def _answers() -> bool:
    """Whether process 0 still takes connections."""
    host, _, port = str(distributed.global_state.coordinator_address).rpartition(":")
    with suppress(OSError, ValueError):
        socket.create_connection((host.strip("[]"), int(port)), timeout=2).close()
        return True
    return False
