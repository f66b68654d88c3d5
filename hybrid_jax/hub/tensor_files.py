"""Tensors in safetensors files, single or sharded, read piece by piece.

Nothing in a file is executed, and no file outside the folder is opened.
"""

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import ml_dtypes  # noqa: F401 (registers bfloat16 with numpy, which safetensors needs)
import numpy as np
import safetensors

from hybrid_jax.hub.conversion import missing_weights
from hybrid_jax.hub.json_files import PretrainedError, read_json

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
PIECE_BYTES = 32 * 2**20
_FLOATS = {"F32", "F16", "BF16"}
_ALIGNMENT = 64  # bytes; jax's CPU devices use an array without a copy only when it is aligned so

Index = tuple[slice, ...]


class Stored(NamedTuple):
    """Where a tensor is stored, and as what."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


class TensorFiles:
    """The tensors of a folder. Opening it reads the files' headers; `read` reads a part of one tensor.

    Raises PretrainedError for a folder without safetensors, for a damaged file, and for an index that names files
    outside the folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._stored: dict[str, Stored] = {}
        index = folder / INDEX
        sharded = False
        if (folder / SINGLE).is_file():  # before shards, as transformers looks for them
            self.files = (folder / SINGLE,)
        elif index.is_file():
            sharded, self.files = True, tuple(sorted(_sharded(index)))
        else:
            raise PretrainedError(missing_weights(folder))
        for file in self.files:
            for name, stored in _header(file):
                if name in self._stored:
                    raise PretrainedError(f"{file}: tensor {name} is in {self._stored[name].file.name} as well")
                self._stored[name] = stored
        if sharded:
            self._check_index(index)

    def _check_index(self, index: Path) -> None:
        listed = read_json(index)["weight_map"]
        missing = sorted(name for name in listed if name not in self._stored)
        if missing:
            raise PretrainedError(f"{index}: lists {missing[0]} ({len(missing)} in all), which no file holds")

    @property
    def names(self) -> list[str]:
        """The names of all tensors, as the files spell them."""
        return list(self._stored)

    def __getitem__(self, name: str) -> Stored:
        return self._stored[name]

    def read(self, name: str, index: Index, transposed: bool = False) -> np.ndarray:
        """The part `index` of a tensor, as float32. With `transposed`, `index` is one into the transposed tensor.

        Reads 32 MiB at a time and closes the file in between, so memory holds little more than the result. Raises
        PretrainedError at a NaN or an infinity.
        """
        stored = self._stored[name]
        ranges = [range(*part.indices(size)) for part, size in zip(index, self.shape(name, transposed), strict=True)]
        result = _aligned(tuple(map(len, ranges)))
        as_stored = result.T if transposed else result
        parts = tuple(slice(r.start, r.stop) for r in (reversed(ranges) if transposed else ranges))
        if not parts:
            with safetensors.safe_open(stored.file, "np") as file:
                result[...] = file.get_tensor(name)
            return result
        row_bytes = 4 * max(1, math.prod(as_stored.shape[1:]))
        step = max(1, PIECE_BYTES // row_bytes)
        for start in range(0, as_stored.shape[0], step):
            stop = min(start + step, as_stored.shape[0])
            rows = slice(parts[0].start + start, parts[0].start + stop)
            with safetensors.safe_open(stored.file, "np") as file:
                as_stored[start:stop] = file.get_slice(name)[(rows, *parts[1:])]
            if not np.isfinite(as_stored[start:stop]).all():
                raise PretrainedError(f"{stored.file}: {name} holds values that are no finite numbers: get it again")
        return result

    def shape(self, name: str, transposed: bool = False) -> tuple[int, ...]:
        """A tensor's shape in the file, reversed with `transposed`."""
        shape = self._stored[name].shape
        return tuple(reversed(shape)) if transposed else shape

    def reader(self, name: str, transposed: bool) -> Callable[[Index | None], np.ndarray]:
        """`read` of one tensor, for `jax.make_array_from_callback`."""
        return lambda index: self.read(name, index or (), transposed)


def _sharded(index: Path) -> set[Path]:
    content = read_json(index)
    listed = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(listed, dict) or not listed:
        raise PretrainedError(f"{index}: has no weight_map: get the folder again")
    for name in listed.values():
        # A name with a path could make us read any file of this machine.
        if not isinstance(name, str) or not re.fullmatch(r"[\w-][\w.-]*\.safetensors", name):
            raise PretrainedError(
                f"{index}: {name!r} is not the plain name of a safetensors file: do not use this folder"
            )
        if not (index.parent / name).is_file():
            raise PretrainedError(f"{index}: lists {name}, which is not there: get the folder again")
    return {index.parent / name for name in listed.values()}


def _header(path: Path) -> Iterator[tuple[str, Stored]]:
    try:
        with safetensors.safe_open(path, "np") as file:
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                part = file.get_slice(name)
                yield name, Stored(path, tuple(part.get_shape()), part.get_dtype())
    except (safetensors.SafetensorError, OSError) as error:
        raise PretrainedError(f"{path}: damaged or truncated ({error}): get it again") from None


def is_float(dtype: str) -> bool:
    """Whether a safetensors dtype is one that we load: float32, float16 or bfloat16."""
    return dtype in _FLOATS


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """An uninitialized float32 array whose address is a multiple of 64."""
    size = 4 * math.prod(shape)
    buffer = np.empty(size + _ALIGNMENT, np.uint8)
    start = -buffer.ctypes.data % _ALIGNMENT
    return buffer[start : start + size].view(np.float32).reshape(shape)
