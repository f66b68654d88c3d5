"""Leases: which process has which run, as files in a folder that all share; no server, no lock of the system.

A run's leases are numbered: NAME.1.json, NAME.2.json, … and the highest is the one that counts. A file is created with
O_EXCL, so that of two workers one gets the number, and only its creator writes to it. A worker takes a run over by
creating the next number, which it may do when the highest is released or stale. So nothing is deleted here, and a
worker that slept and was taken for dead finds a higher number than its own, and leaves the run.
"""

import json
import os
import socket
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from hybrid_jax.disk.files import write_text

BEAT = 5.0
"""Seconds between the writes by which a worker shows that it lives."""
STALE = 60.0
"""Seconds without such a write after which a worker of another machine counts as dead."""


class LostError(RuntimeError):
    """Another worker has taken this run over, because this one was silent for too long."""


class Record(BaseModel):
    """The content of a lease. A trainer's own lease (lock.py) leaves `child`, `spent` and `released` as they are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str
    machine: str
    """This start of the machine, and the container: where process ids can be looked up."""
    pid: int
    started: str | None = None
    """When that process started, in the kernel's count, which tells it from a later one of the same id."""
    child: int | None = None
    """The process of the training or evaluation that is running."""
    time: float
    """Of the last write, in seconds since 1970 by the worker's clock."""
    spent: dict[str, float] = {}
    """Seconds of this worker's training and evaluation of the run."""
    released: str | None = None
    """How it ended: done, failed, stopped or lost; None while the worker has it."""

    @property
    def here(self) -> bool:
        """Whether the process is, or was, one of this start of this machine, so that its id means something here."""
        return self.machine == _machine()


class Lease:
    """A run that this process has, until `release`."""

    def __init__(self, path: Path):
        self.path = path
        self._record = _own_record()
        self._written = time.monotonic()

    @property
    def host(self) -> str:
        """The name of this machine."""
        return self._record.host

    def beat(self, child: int | None, spent: dict[str, float], now: bool = False) -> None:
        """Writes the lease every BEAT seconds, or `now`. Raises LostError when another worker has taken it over."""
        if not now and time.monotonic() - self._written < BEAT:
            return
        folder, name, number = _parts(self.path)
        if _highest(folder, name) != number:
            self._write(released="lost")
            raise LostError(f"another worker has taken {name} over, since this one was silent for {STALE:.0f} s")
        self._write(child=child, spent=spent)

    def release(self, how: str, spent: dict[str, float]) -> None:
        """Gives the run back; `how` is done, failed or stopped."""
        self._write(child=None, spent=spent, released=how)

    def _write(self, **changes: Any) -> None:
        self._record = self._record.model_copy(update={**changes, "time": time.time()})
        write_text(self.path, self._record.model_dump_json())
        self._written = time.monotonic()


def take(folder: Path, name: str) -> Lease | None:
    """The lease of the run `name`, or None while another worker has it."""
    folder.mkdir(parents=True, exist_ok=True)
    number = _highest(folder, name)
    if number and not free(_path(folder, name, number)):
        return None
    path = _path(folder, name, number + 1)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    except FileExistsError:
        return None
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(_own_record().model_dump_json())
    return Lease(path)


def latest(folder: Path, name: str) -> Path | None:
    """The file of the lease that counts; None if there is none. Raises FileNotFoundError without the folder."""
    number = _highest(folder, name)
    return _path(folder, name, number) if number else None


def read(path: Path) -> Record | None:
    """The lease's content; None where it was just created and is still empty, or its worker died at that moment."""
    try:
        return Record.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError:
        return None


def spent(folder: Path, name: str) -> dict[str, float]:
    """Seconds by phase of all workers on this run, since it was last done."""
    total: dict[str, float] = {}
    for number in range(1, _highest(folder, name) + 1):
        record = read(_path(folder, name, number))
        for phase, seconds in (record.spent if record else {}).items():
            total[phase] = total.get(phase, 0.0) + seconds
        if record and record.released == "done":
            total = {}
    return total


def failed_since(folder: Path, name: str, moment: float) -> bool:
    """Whether the last worker on this run failed after `moment` (see `clock`)."""
    number = _highest(folder, name)
    path = _path(folder, name, number)
    record = read(path) if number else None
    return record is not None and record.released == "failed" and path.stat().st_mtime >= moment


def clock(folder: Path) -> float:
    """The time of the folder's file system, by which its files are dated, whatever the machines' clocks say."""
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".clock-", dir=folder)
    try:
        return os.fstat(handle).st_mtime
    finally:
        os.close(handle)
        Path(name).unlink()


def free(path: Path) -> bool:
    """Whether the holder of a lease has released or removed it, or is dead as far as can be seen from here."""
    try:
        return _free(path)
    except FileNotFoundError:
        return True


def _free(path: Path) -> bool:
    record = read(path)
    if record is None:
        return _silent(path)
    if record.released is not None:
        return True
    if not record.here:
        return _silent(path)
    if _alive(record.pid, record.started):
        return False  # also while it is suspended: so is its child then
    # A child that outlives its worker for a moment would write to the run's folder.
    return record.child is None or not _alive(record.child) or _silent(path)


def _silent(path: Path) -> bool:
    return clock(path.parent) - path.stat().st_mtime > STALE


def _alive(pid: int, started: str | None = None) -> bool:
    """Whether the process runs, and is the one that `started` then, if this is known."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    state, start = _state(pid)
    return state != "Z" and (started is None or start is None or start == started)


def _state(pid: int) -> tuple[str | None, str | None]:
    """A process' state ("Z" if it has ended and nobody has asked for its status) and start; None where Linux is not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None, None
    return fields[0], fields[19]


def _path(folder: Path, name: str, number: int) -> Path:
    return folder / f"{name}.{number}.json"


def _parts(path: Path) -> tuple[Path, str, int]:
    name, _, number = path.stem.rpartition(".")
    return path.parent, name, int(number)


def _highest(folder: Path, name: str) -> int:
    numbers = (path.name.removeprefix(f"{name}.").removesuffix(".json") for path in folder.iterdir())
    return max((int(number) for number in numbers if number.isdecimal()), default=0)


def _own_record() -> Record:
    pid = os.getpid()
    return Record(host=_host(), machine=_machine(), pid=pid, started=_state(pid)[1], time=time.time())


def _host() -> str:
    return socket.gethostname()


@cache
def _machine() -> str:
    """Where a process id means the same: the machine since its start, and the container. Elsewhere, the host's name."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return json.dumps([boot, str(Path("/proc/self/ns/pid").readlink())])
    except OSError:
        return socket.gethostname()
