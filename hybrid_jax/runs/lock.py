"""One trainer per workdir: a lease (lease.py) in WORKDIR/lock, kept alive by a thread and checked before every save.
So, too, one writer per embedding store.

The folder `lock` is there while a process has the folder, and after one that was killed. A process that ends, fails or
is stopped removes it. A later one takes the lease of a dead one over: at once where its process is known to be gone,
and after STALE seconds without a sign of life where that cannot be seen, as on another machine.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread

from hybrid_jax.runs import lease as leases
from hybrid_jax.runs.workdir import LOCK, WorkdirError

NAME = "trainer"


class Lock:
    """A folder that this process has. Several processes of one run have it together, through process 0."""

    def __init__(self, workdir: Path, lease: leases.Lease | None, created: bool, doing: str):
        self._workdir, self._created, self._doing = workdir, created, doing
        self._path = None if lease is None else lease.path
        self._content = b"" if lease is None else lease.path.read_bytes()

    def check(self) -> None:
        """Raises WorkdirError when the folder was deleted, replaced or taken over since it was locked."""
        if self._path is None:
            return
        if not self._ours():
            raise WorkdirError(
                f"{self._workdir} was deleted or replaced while this process was {self._doing} it: nothing more is "
                f"saved there; put it back and repeat the command, which resumes from what was saved"
            )
        if leases.latest(self._path.parent, NAME) != self._path:
            raise WorkdirError(
                f"{self._workdir}: {_holder(self._path.parent)} has taken it over, since this process showed no sign "
                f"of life for {leases.STALE:.0f} s: nothing more is saved by this one; let the other go on"
            )

    def renew(self) -> None:
        """Shows that this process lives. Creates nothing, so that a deleted workdir stays deleted."""
        if self._path is not None:
            with suppress(OSError):  # `check` says what is wrong
                os.utime(self._path)

    def release(self) -> None:
        """Removes the lock, unless it is another's now; and the folder if it was created for it and is still empty."""
        if self._path is None or not self._ours():
            return
        with suppress(OSError):
            for path in self._path.parent.glob(f"{NAME}.*.json"):  # its own, and those of dead trainers before it
                if path == self._path or leases.free(path):
                    path.unlink()
            self._path.parent.rmdir()
            if self._created:
                self._workdir.rmdir()

    def _ours(self) -> bool:
        try:
            return self._path is not None and self._path.read_bytes() == self._content
        except FileNotFoundError:
            return False


def one_trainer(workdir: Path, locks: bool = True) -> AbstractContextManager[Lock]:
    """Locks `workdir` for the block, and creates it if it is missing. Raises WorkdirError when another trainer has it.

    In a run of several processes process 0 `locks`, and the others' Lock checks nothing.
    """
    return one_process(workdir, "training in", "--workdir", locks)


@contextmanager
def one_process(folder: Path, doing: str, option: str, locks: bool = True) -> Iterator[Lock]:
    """As `one_trainer`, for what is `doing` something to a folder that `option` names, as errors put it."""
    created = not folder.exists()
    lock = Lock(folder, _take(folder, doing, option) if locks else None, created, doing)
    ended = Event()
    try:
        Thread(target=_keep_alive, args=(lock, ended), name="folder lock", daemon=True).start()
        yield lock
    finally:
        ended.set()
        lock.release()


def _keep_alive(lock: Lock, ended: Event) -> None:
    while not ended.wait(leases.BEAT):
        lock.renew()


def _take(workdir: Path, doing: str, option: str) -> leases.Lease:
    if workdir.exists() and not workdir.is_dir():
        raise WorkdirError(f"{workdir} is not a folder: choose another {option}")
    folder = workdir / LOCK
    for _ in range(10):  # the holder may remove the folder at any moment
        with suppress(FileNotFoundError):
            lease = leases.take(folder, NAME)
            if lease is None:
                break
            # Where a holder has removed its lease meanwhile, numbers begin anew: then a lower one may count, too.
            if all(path == lease.path or leases.free(path) for path in folder.glob(f"{NAME}.*.json")):
                return lease
            lease.path.unlink()
            break
    raise WorkdirError(f"{_holder(folder)} is {doing} {workdir}: {_advice(folder)}, or use another {option}")


def _holder(folder: Path) -> str:
    """Who has the folder, for a message."""
    record = _record(folder)
    if record is None:
        return "another process"
    return f"process {record.pid} on {record.host} (since {datetime.fromtimestamp(record.time, UTC):%F %T} UTC)"


def _advice(folder: Path) -> str:
    record = _record(folder)
    if record is not None and record.here:
        return f"wait for its end or stop it (kill {record.pid})"
    return f"wait for its end or stop it (if it is dead, its lock {folder} ends {leases.STALE:.0f} s after it)"


def _record(folder: Path) -> leases.Record | None:
    """The content of the lease that counts; None if it cannot be read, because it is being written or removed."""
    with suppress(OSError):
        path = leases.latest(folder, NAME)
        return None if path is None else leases.read(path)
    return None
