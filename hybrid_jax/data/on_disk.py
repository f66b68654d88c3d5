"""Columns on disk: arrays and lists of strings that are written value by value and read from disk, never held whole."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import numpy as np


class Strings(Sequence[str]):
    """The strings in NAME.bin and NAME_offsets.npy of a folder, decoded one at a time."""

    def __init__(self, folder: Path, name: str):
        # As plain arrays, whose slices cost a quarter of a memmap's.
        self._offsets = np.asarray(np.load(folder / f"{name}_offsets.npy", mmap_mode="r"))
        path = folder / f"{name}.bin"
        self._bytes = np.asarray(np.memmap(path, np.uint8, mode="r")) if path.stat().st_size else np.zeros(0, np.uint8)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, i):  # pyright: ignore[reportIncompatibleMethodOverride]
        return self._bytes[self._offsets[i] : self._offsets[i + 1]].tobytes().decode(errors="surrogateescape")


class ArrayWriter:
    """A one-dimensional .npy file that grows as it is written: `add(buffer)` appends the buffer's values.

    The file is complete after `close`.
    """

    def __init__(self, path: Path, dtype: np.typing.DTypeLike):
        self._dtype, self._file = np.dtype(dtype), path.open("wb")
        self._header(0)
        self._start = self._file.tell()

    def add(self, values: bytes | memoryview) -> None:
        """Appends the values that have these bytes in the array's type."""
        self._file.write(values)

    def close(self) -> None:
        """Writes how many values there are into the header."""
        with self._file:
            count = (self._file.tell() - self._start) // self._dtype.itemsize
            self._file.seek(0)
            self._header(count)
            assert self._file.tell() == self._start  # numpy leaves room for any number of values

    def _header(self, count: int) -> None:
        description = np.lib.format.dtype_to_descr(self._dtype)
        header = {"descr": description, "fortran_order": False, "shape": (count,)}
        np.lib.format.write_array_header_1_0(self._file, header)


class StringWriter:
    """The files that `Strings` reads, written string by string."""

    def __init__(self, folder: Path, name: str):
        self._bytes = (folder / f"{name}.bin").open("wb")
        self._offsets = ArrayWriter(folder / f"{name}_offsets.npy", np.int64)
        self._end = 0
        self.add(b"")

    def add(self, data: bytes) -> None:
        """Appends a string, which is given in UTF-8."""
        self._bytes.write(data)
        self._end += len(data)
        self._offsets.add(self._end.to_bytes(8, "little"))

    def close(self) -> None:
        self._bytes.close()
        self._offsets.close()


W = TypeVar("W", ArrayWriter, StringWriter)


class Columns:
    """The columns of a folder that are being written; `writing` closes all of them."""

    def __init__(self, folder: Path, stack: ExitStack):
        self._folder, self._stack = folder, stack

    def array(self, name: str, dtype: np.typing.DTypeLike) -> ArrayWriter:
        """A new NAME.npy."""
        return self._closed(ArrayWriter(self._folder / f"{name}.npy", dtype))

    def strings(self, name: str) -> StringWriter:
        """New NAME.bin and NAME_offsets.npy."""
        return self._closed(StringWriter(self._folder, name))

    def _closed(self, writer: W) -> W:
        self._stack.callback(writer.close)
        return writer


@contextmanager
def writing(folder: Path) -> Iterator[Columns]:
    """Yields `Columns` of the folder; they are complete when the block ends."""
    with ExitStack() as stack:
        yield Columns(folder, stack)
