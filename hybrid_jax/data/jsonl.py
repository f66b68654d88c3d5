"""JSON from disk, one object per line or per file, plain or gzip; every error names its file and line.

A byte order mark, Windows line ends and blank lines are accepted. Gzip is recognised by its first bytes, not by the
file's name.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from hybrid_jax.data.records import DataError, OnBadRow
from hybrid_jax.disk.reading import ReadError, open_to_read

MAX_LINE = 64 * 2**20
"""Bytes of a line, unzipped. JSON takes about four times as much memory."""
MAX_DOCUMENT = 2**30
"""Bytes of a file that is one object, unzipped."""
_GZIP_MAGIC = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_objects(path: Path, on_bad: OnBadRow) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (line number from 1, object) for every good line, with one line in memory at a time.

    Errors are passed to `on_bad`: bad lines, an empty file, and gzip data that is damaged or ends early (the lines
    before the damage are yielded). Raises DataError if the file cannot be opened.
    """
    number = 0
    is_empty = True
    with opened(path) as file:
        while True:
            try:
                raw = _read_line(file.readline)
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                on_bad(broken_gzip(f"{path}:{number + 1}", error))
                return
            if raw == b"":
                break
            number += 1
            if raw is None:
                is_empty = False
                on_bad(DataError(f"{path}:{number}: a line of more than {MAX_LINE:,} bytes, split it or remove it"))
                continue
            if number == 1:
                raw = raw.removeprefix(_BYTE_ORDER_MARK)
            if not raw.strip():
                continue
            is_empty = False
            try:
                value = _parse(raw, f"{path}:{number}")
            except DataError as error:
                on_bad(error)
                continue
            yield number, value
    if is_empty:
        on_bad(DataError(f"{path}:1: the file is empty, remove it from the dataset's path or fetch it again"))


def read_document(path: Path) -> dict[str, Any]:
    """The single JSON object of a whole file, as SQuAD has it. Raises DataError."""
    return _parse(_read_all(path), str(path), is_document=True)


def _read_all(path: Path) -> bytes:
    with opened(path) as file:
        try:
            raw = file.read(MAX_DOCUMENT + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise broken_gzip(f"{path}:1", error) from error
    if len(raw) > MAX_DOCUMENT:
        raise DataError(f"{path}:1: more than {MAX_DOCUMENT:,} bytes in one JSON object, split it into several files")
    raw = raw.removeprefix(_BYTE_ORDER_MARK)
    if not raw.strip():
        raise DataError(f"{path}:1: the file is empty, remove it from the dataset's path or fetch it again")
    return raw


def is_list(path: Path) -> bool:
    """Whether the file begins as a list of JSON does. Raises DataError if it cannot be opened."""
    with opened(path) as file:
        try:
            return file.read(4096).removeprefix(_BYTE_ORDER_MARK).lstrip()[:1] == b"["
        except (EOFError, zlib.error, gzip.BadGzipFile):
            return False  # reported when it is read


def read_list(path: Path, on_bad: OnBadRow) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (number from 1, object) for every object of a file that is one list; all of it is in memory.

    Items that are no objects, and an empty list, are passed to `on_bad`. Raises DataError for malformed JSON.
    """
    values = _loads(_read_all(path), str(path), is_document=True)
    for number, value in enumerate(values, start=1):
        if isinstance(value, dict):
            yield number, value
        else:
            shown = json.dumps(value, ensure_ascii=False)[:40]
            on_bad(DataError(f"{path} row {number}: expected an object such as {{...}}, got {shown}, correct it"))
    if not values:
        on_bad(DataError(f"{path}: the list is empty, remove the file from the dataset's path or fetch it again"))


@contextmanager
def opened(path: Path) -> Iterator[BinaryIO]:
    """The file's bytes, unzipped if it is gzip. Raises DataError if it cannot be opened."""
    try:
        with open_to_read(path) as plain:
            is_gzip = plain.read(2) == _GZIP_MAGIC
            plain.seek(0)
            if is_gzip:
                with gzip.open(plain) as unzipped:
                    yield unzipped  # pyright: ignore[reportReturnType]  # a GzipFile reads as any binary file
            else:
                yield plain
    except ReadError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}), check the path and its rights") from error


def _read_line(readline: Callable[[int], bytes]) -> bytes | None:
    """The next line, b"" at the end; None for one longer than MAX_LINE, which is passed over."""
    raw = readline(MAX_LINE)
    if len(raw) < MAX_LINE or raw.endswith(b"\n"):
        return raw
    del raw
    while (rest := readline(2**16)) and not rest.endswith(b"\n"):
        pass
    return None


def broken_gzip(where: str, error: Exception) -> DataError:
    """The error for gzip data that ends early or is damaged."""
    cause = "truncated" if isinstance(error, EOFError) else f"damaged ({error})"
    return DataError(f"{where}: gzip data {cause}, fetch the file again (`gzip -t` must accept it)")


def _parse(raw: bytes, where: str, is_document: bool = False) -> dict[str, Any]:
    value = _loads(raw, where, is_document)
    if not isinstance(value, dict):
        shown = raw.decode("utf-8").strip()[:40]
        raise DataError(f'{where}: expected a JSON object such as {{"id": …}}, got {shown!r}, correct the line')
    return value


def _loads(raw: bytes, where: str, is_document: bool = False) -> Any:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        if is_document:
            line = raw.count(b"\n", 0, error.start) + 1
            where = f"{where}:{line}"
        message = f"{where}: invalid UTF-8 at byte {error.start} ({raw[error.start : error.start + 4]!r})"
        raise DataError(f"{message}, re-encode the file (`iconv -f latin1 -t utf-8`)") from error
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        if is_document:
            where = f"{where}:{error.lineno}"
        raise DataError(f"{where}: malformed JSON ({error.msg} at column {error.colno}), correct the line") from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets thousands deep
        raise DataError(f"{where}: malformed JSON ({str(error)[:80]}), correct the line") from error
