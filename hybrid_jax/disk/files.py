"""Files that are whole or not there.

Knows: the file system. Does not know: what is in a file.
"""

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content is `path` once the block has ended, and nothing if it ends by an error.

    Raises OSError in one line with the path and what to do.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, stream = _beside(path)
        with stream:
            yield stream
            _finish(stream)
        temporary.replace(path)
    except OSError as error:
        raise _refused(path, error) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def whole_files(folder: Path, contents: Mapping[str, bytes], how: str = "") -> None:
    """Writes {name: content} into the folder: all of them, or (disk full, no permission) none.

    Raises OSError in one line with the path and what to do; `how` says how another folder is named.
    """
    waiting: list[tuple[Path, Path]] = []
    target = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            target = folder / name
            temporary, stream = _beside(target)
            waiting.append((temporary, target))
            with stream:
                stream.write(content)
                _finish(stream)
        for temporary, target in waiting:
            temporary.replace(target)
    except OSError as error:
        raise _refused(target, error, how) from None
    finally:
        for temporary, _ in waiting:
            temporary.unlink(missing_ok=True)


def _beside(path: Path) -> tuple[Path, BinaryIO]:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    return Path(name), os.fdopen(handle, "wb")


def _finish(stream: BinaryIO) -> None:
    stream.flush()
    os.fchmod(stream.fileno(), 0o644)  # mkstemp makes files that only their owner can read
    os.fsync(stream.fileno())


def _refused(path: Path, error: OSError, how: str = "") -> OSError:
    reason = error.strerror or str(error)
    return OSError(error.errno, f"cannot write {path}: {reason}; make room or name another folder {how}".rstrip())
