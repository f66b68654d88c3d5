"""Files and folders that are complete or absent, also after a crash or a full disk; and the hash of a file."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


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

    If the block raises, it is removed. If another process has created `folder` in the meantime, that one is kept, so
    use names that determine the content, such as a hash.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part-", dir=folder.parent))
    try:
        yield temporary
        try:
            temporary.replace(folder)
        except OSError:
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Replaces the file's content by `text`, in UTF-8 and in one step. Raises OSError as `atomic_file` does."""
    with atomic_file(path) as stream:
        stream.write(text.encode())


def sha256_of(path: Path) -> str:
    """The SHA-256 of the file's content, as 64 hexadecimal digits. Raises OSError if it cannot be read."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


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


def folder_identity(folder: Path) -> tuple[int, int] | None:
    """The device and inode of a folder, which tell it from another one that took its name; None if there is none."""
    return (folder.stat().st_dev, folder.stat().st_ino) if folder.is_dir() else None
