"""Files that are opened for reading, where a read that fails for a moment is tried again.

A network file system fails with EIO, ESTALE or ETIMEDOUT while its server restarts; so does a disk with a bad sector,
for good. Other errors, such as a missing file, are what they are, and raised at once.
"""

import errno
import io
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each further try, 15.5 in all."""
_PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT}


class ReadError(OSError):
    """A file that was there and cannot be read any more; the message is one line with the file and what to do."""


def open_to_read(path: Path) -> io.BufferedReader:
    """The file, buffered. Opening and reading are tried again where that can help.

    Raises OSError at once if the file is missing or may not be read, and ReadError after the last try, or if the file
    was replaced when a part of it had been read.
    """
    return io.BufferedReader(_Retrying(path), buffer_size=2**18)


class _Retrying(io.RawIOBase):
    """The file's bytes. After a read that failed, the file is opened again at the same place."""

    def __init__(self, path: Path):
        self._path, self._position, self._handle = path, 0, -1
        self._identity: tuple[int, int] | None = None
        self._tried(lambda: self._open())

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:  # a memoryview or bytearray
        data = self._tried(lambda: os.pread(self._open(), len(buffer), self._position))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position}.get(whence)
        self._position = offset + (os.fstat(self._open()).st_size if start is None else start)
        return self._position

    def close(self) -> None:
        self._close_handle()
        super().close()

    def _open(self) -> int:
        if self._handle < 0:
            self._handle = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            status = os.fstat(self._handle)
            identity = status.st_size, status.st_mtime_ns
            if self._position and identity != self._identity:
                raise ReadError(f"{self._path} was replaced while it was read: give the same command again")
            self._identity = identity
        return self._handle

    def _close_handle(self) -> None:
        if self._handle >= 0:
            with suppress(OSError):
                os.close(self._handle)
            self._handle = -1

    def _tried(self, action: Callable[[], T]) -> T:
        for pause in (*PAUSES, None):
            try:
                return action()
            except OSError as error:
                self._close_handle()
                if error.errno not in _PASSING:
                    raise
                if pause is None:
                    reason = f"{error.strerror}, {len(PAUSES) + 1} times in {sum(PAUSES):g} s"
                    advice = "look at its disk or network, and give the same command again"
                    raise ReadError(f"{self._path} cannot be read ({reason}): {advice}") from None
            time.sleep(pause)
        raise AssertionError  # the last try returns or raises
