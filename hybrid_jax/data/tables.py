"""Records from any file: JSON, CSV and TSV (plain or gzip), Parquet and Arrow, each as {column: value}.

JSON is an object per line, or one list of objects in a file called .json.

CSV and TSV have the columns' names in their first line, and their empty cells count as null. A CSV may be separated by
commas, semicolons or tabs. In TSV a cell in quotes stands for what is in them. Parquet and Arrow need pyarrow.
"""

import csv
import gzip
import io
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

from hybrid_jax.data import jsonl
from hybrid_jax.data.records import DataError, OnBadRow

Record = dict[str, Any]
Numbered = Iterator[tuple[int, Record]]

_ROWS_AT_ONCE = 1000
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_BAD_BEFORE_GIVING_UP = 1000


def read_records(path: Path, on_bad: OnBadRow) -> Numbered:
    """Yields (number, record) of every good row: its line's number, or its own in Parquet, Arrow and a list of JSON.

    Bad rows and an empty file are passed to `on_bad`. Raises DataError for a file that cannot be opened or is no table.
    """
    if _kind(path) in ("xlsx", "xls", "ods"):
        raise DataError(f"{path}: a spreadsheet, which is not read: save it as CSV or Parquet")
    read = jsonl.read_list if _is_list(path) else jsonl.read_objects
    return _READERS.get(_kind(path), read)(path, on_bad)


def first_record(path: Path) -> Record | None:
    """The first good record; None if there is none, or 1,000 bad ones come first."""
    return next(good_records(path), None)


def good_records(path: Path) -> Iterator[Record]:
    """Yields the good records, to recognise the format by the first of them; ends after 1,000 bad ones."""
    bad = 0

    def count(error: DataError) -> None:
        """Ends the search in a file full of bad rows, which are reported when the rows are read."""
        nonlocal bad
        bad += 1
        if bad == _BAD_BEFORE_GIVING_UP:
            raise error

    try:
        yield from (record for _, record in read_records(path, count))
    except DataError:
        if bad < _BAD_BEFORE_GIVING_UP:
            raise


def is_table(path: Path) -> bool:
    """Whether the file's rows have columns; else it is JSON."""
    return _kind(path) in _READERS


def places(path: Path) -> Callable[[int], str]:
    """The place of a record by number, for messages: "rows.csv:7", or "rows.parquet row 7" where there are no lines."""
    between = " row " if _kind(path) in ("parquet", "arrow") or _is_list(path) else ":"
    return lambda number: f"{path}{between}{number}"


def _is_list(path: Path) -> bool:
    return _kind(path) == "json" and jsonl.is_list(path)


def _kind(path: Path) -> str:
    """The ending of the file's name that says how to read it."""
    name = path.name.lower().removesuffix(".gz")
    return {"pq": "parquet", "tab": "tsv"}.get(end := name.rpartition(".")[2], end)


def _read_csv(path: Path, on_bad: OnBadRow) -> Numbered:
    csv.field_size_limit(sys.maxsize)  # longer texts are cut where they are read, as in JSON

    def rows(lines: io.TextIOWrapper) -> Iterator[tuple[int, list[str]]]:
        first: list[str] = []  # the blank lines at the top, and the one that names the columns
        for line in lines:
            first.append(line)
            if line.strip():
                break
        separator = max(",;\t", key="".join(first).count)
        reader = csv.reader(chain(first, lines), delimiter=separator, strict=True)
        while True:
            number = reader.line_num + 1
            try:
                yield number, next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                last = reader.line_num
                place = f"{path}:{number}" if last <= number else f"{path}:{number} to {last}"
                bad = DataError(f"{place}: malformed CSV ({error}), write quotes in a text twice")
                if last > number and "unexpected end" in str(error):
                    raise bad from None  # the rows up to the end are in one cell: too many to skip as one
                on_bad(bad)

    return _separated(path, on_bad, rows)


def _read_tsv(path: Path, on_bad: OnBadRow) -> Numbered:
    def rows(lines: io.TextIOWrapper) -> Iterator[tuple[int, list[str]]]:
        for number, line in enumerate(lines, start=1):
            cells = line.rstrip("\r\n").split("\t")
            yield number, [c[1:-1].replace('""', '"') if _QUOTED.fullmatch(c) else c for c in cells]

    return _separated(path, on_bad, rows)


def _separated(
    path: Path, on_bad: OnBadRow, rows: Callable[[io.TextIOWrapper], Iterator[tuple[int, list[str]]]]
) -> Numbered:
    """The records of a text file whose first row names the columns; a column without a name is left out."""
    names: list[str] | None = None
    number = 0
    with jsonl.opened(path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as lines:
        try:
            for number, cells in rows(lines):
                if not any(cells) or (names is None and not "".join(cells).strip()):
                    continue
                if names is None:
                    names = [cell.strip() for cell in cells]
                    repeated = [name for name in names if name and names.count(name) > 1]
                    if repeated:
                        raise DataError(f"{path}:{number}: two columns are called {repeated[0]!r}, rename one")
                elif len(cells) != len(names):
                    shown = f"{len(cells)} values for {len(names)} columns ({', '.join(names[:12])})"
                    on_bad(
                        DataError(f"{path}:{number}: {shown}, correct the line (a text with a separator needs quotes)")
                    )
                else:
                    yield number, {name: cell or None for name, cell in zip(names, cells, strict=True) if name}
        except UnicodeDecodeError as error:
            shown = error.object[error.start : error.start + 4]
            raise DataError(  # the decoder reads some lines ahead
                f"{path}:{number + 1} or soon after: invalid UTF-8 ({shown!r}), re-encode the file "
                f"(`iconv -f latin1 -t utf-8`)"
            ) from None
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            on_bad(jsonl.broken_gzip(f"{path}:{number + 1}", error))
            return
    if names is None:
        on_bad(DataError(f"{path}:1: the file is empty, remove it from the dataset's path or fetch it again"))


def _read_parquet(path: Path, on_bad: OnBadRow) -> Numbered:
    import pyarrow.parquet

    with pyarrow.parquet.ParquetFile(path) as file:
        yield from _numbered(file.iter_batches(_ROWS_AT_ONCE), path, on_bad)


def _read_arrow(path: Path, on_bad: OnBadRow) -> Numbered:
    import pyarrow

    with pyarrow.memory_map(str(path)) as source:
        try:
            batches = iter(pyarrow.ipc.open_stream(source))  # what `datasets` writes
        except pyarrow.ArrowInvalid:
            file = pyarrow.ipc.open_file(source)
            batches = (file.get_batch(i) for i in range(file.num_record_batches))
        yield from _numbered(batches, path, on_bad)


def _numbered(batches: Iterator[Any], path: Path, on_bad: OnBadRow) -> Numbered:
    number = 0
    for batch in batches:
        for start in range(0, batch.num_rows, _ROWS_AT_ONCE):
            for record in batch.slice(start, _ROWS_AT_ONCE).to_pylist():
                number += 1
                yield number, record
    if not number:
        on_bad(DataError(f"{path}: the file has no rows, remove it from the dataset's path or fetch it again"))


def _with_pyarrow(read: Callable[[Path, OnBadRow], Numbered]) -> Callable[[Path, OnBadRow], Numbered]:
    """The reader, with pyarrow's errors in one line."""

    def records(path: Path, on_bad: OnBadRow) -> Numbered:
        try:
            from pyarrow import ArrowException
        except ModuleNotFoundError:
            raise DataError(f"{path}: reading it needs pyarrow, type: pip install 'hybrid_jax[tables]'") from None
        rows = read(path, on_bad)
        while True:
            try:
                block = list(islice(rows, _ROWS_AT_ONCE))
            except (ArrowException, OSError) as error:
                reason = " ".join(str(error).split())[:200]
                raise DataError(f"{path}: cannot be read ({reason}), fetch the file again") from None
            if not block:
                return
            yield from block

    return records


_READERS: dict[str, Callable[[Path, OnBadRow], Numbered]] = {
    "csv": _read_csv,
    "tsv": _read_tsv,
    "parquet": _with_pyarrow(_read_parquet),
    "arrow": _with_pyarrow(_read_arrow),
}
