"""The files that an evaluation writes beside its report: what they are called, and that each is whole or not there.

Knows: task keys, the file system. Does not know: what is in a file (`figures.py`, `trec.py`, `mteb_results.py`).
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


class FileNames:
    """Makes names of task keys ("xquad_r:sentence", "beir:/data/scifact") that every file system and LaTeX take.

    No two keys get one name, not even where upper and lower case are the same.
    """

    def __init__(self) -> None:
        self._keys: dict[str, str] = {}

    def of(self, key: str) -> str:
        """The same name for the same key; of two keys that would share one, the later gets a number at its end."""
        plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", key).strip("-.") or "task"
        name, number = plain, 1
        while self._keys.setdefault(name.casefold(), key) != key:
            number += 1
            name = f"{plain}-{number}"
        return name


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content is `path` once the block has ended, and nothing if it ends by an error.

    Raises OSError in one line with the path and what to do.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        with os.fdopen(handle, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).chmod(0o644)  # mkstemp makes files that only their owner can read
        Path(temporary).replace(path)
    except OSError as error:
        raise OSError(
            error.errno, f"cannot write {path}: {error.strerror or error}; make room or name another folder"
        ) from None
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
