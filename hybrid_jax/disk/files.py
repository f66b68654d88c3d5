"""Files and folders that are complete or absent, also after a crash or a full disk; and the hash of a file."""

import difflib
import fcntl
import hashlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from hybrid_jax.disk.reading import open_to_read

_YOUNG = 60.0
"""Seconds in which a folder that is being made may not be locked yet."""
_ABANDONED = 2 * 86_400.0
"""Seconds after which a folder that another host was making counts as abandoned."""


def nearest_folder(path: Path) -> str:
    """ "(did you mean runs/first?)" after a space, for a folder that is not there; "" where none beside it is near."""
    beside = [folder.name for folder in path.parent.glob("*/")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, n=1)
    return f" (did you mean {path.parent / near[0]}?)" if near else ""


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Yields a binary stream; when the block ends, what was written there replaces `path` in one step.

    If the block raises, `path` stays as it was. Missing parent folders are created.

    Raises OSError in one line, with the path and what to do.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, stream = _open_temporary(path)
        with stream:
            yield stream
            _flush(stream)
        temporary.replace(path)
    except OSError as error:
        raise _explained(path, error) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def atomic_files(folder: Path, contents: Mapping[str, bytes], how: str = "") -> None:
    """Writes several files, {name: content}, into `folder`: all of them, or none if the disk is full or read-only.

    Raises OSError in one line, with the path and what to do; `how` says how the user names another folder, such as
    "with --out".
    """
    temporaries: list[tuple[Path, Path]] = []
    target = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            target = folder / name
            temporary, stream = _open_temporary(target)
            temporaries.append((temporary, target))
            with stream:
                stream.write(content)
                _flush(stream)
        for temporary, target in temporaries:
            temporary.replace(target)
    except OSError as error:
        raise _explained(target, error, how) from None
    finally:
        for temporary, _ in temporaries:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yields a new empty folder to write to, which is renamed to `folder` when the block ends.

    If the block raises, it is removed; if this process is killed, by the next one that makes the same folder on this
    machine. If another process has created `folder` in the meantime, that one is kept, so
    use names that determine the content, such as a hash.
    """
    folder = folder.resolve()  # the parent of "." is "." itself
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder)
    temporary = Path(tempfile.mkdtemp(prefix=_part_of(folder), dir=folder.parent))
    temporary.chmod(0o755)  # mkdtemp makes folders that only their owner can read
    handle = _locked(temporary)
    try:
        yield temporary
        try:
            temporary.replace(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        if handle is not None:
            os.close(handle)
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Replaces the file's content by `text`, in UTF-8 and in one step. Raises OSError as `atomic_file` does."""
    with atomic_file(path) as stream:
        stream.write(text.encode())


def sha256_of(path: Path) -> str:
    """The SHA-256 of the file's content, as 64 hexadecimal digits. Raises OSError if it cannot be read."""
    with open_to_read(path) as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sweep(folder: Path) -> None:
    """Removes what processes that are gone have left of making `folder`."""
    for left in folder.parent.iterdir():
        if not left.name.startswith(f"{folder.name}.part-"):
            continue
        least = _YOUNG if left.name.startswith(_part_of(folder)) else _ABANDONED
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > least and (handle := _locked(left)) is not None:
                os.close(handle)
                shutil.rmtree(left, ignore_errors=True)


def _part_of(folder: Path) -> str:
    """How the names of folders begin that are made here: with the host, as another host's lock cannot be seen."""
    host = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
    return f"{folder.name}.part-{host}-"


def _locked(folder: Path) -> int | None:
    """A handle that locks the folder until it is closed or this process ends; None if another has it, or none can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _open_temporary(path: Path) -> tuple[Path, BinaryIO]:
    """A new file in the same folder, since a rename is atomic only within one file system."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    return Path(name), os.fdopen(handle, "wb")


def _flush(stream: BinaryIO) -> None:
    stream.flush()
    os.fchmod(stream.fileno(), 0o644)  # mkstemp makes files that only their owner can read
    os.fsync(stream.fileno())


def _explained(path: Path, error: OSError, how: str = "") -> OSError:
    reason = error.strerror or str(error)
    return OSError(error.errno, f"cannot write {path}: {reason}; make room or name another folder {how}".rstrip())
