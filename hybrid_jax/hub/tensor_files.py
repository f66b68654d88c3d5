"""Tensors in safetensors files, single or sharded, read piece by piece.

Knows: the files' layout and how to read a part of a tensor without holding its file in memory. Does not know: what the
tensors mean. Nothing in a file is executed, and no file outside the folder is opened.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes  # noqa: F401 (gives numpy the bfloat16 that safetensors asks it for)
import numpy as np
import safetensors

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
MAX_JSON_BYTES = 64 * 2**20
PIECE_BYTES = 32 * 2**20
_FLOATS = {"F32", "F16", "BF16"}
_ALIGNMENT = 64  # of an array that jax's CPU devices take as it is, without a copy

Index = tuple[slice, ...]


class PretrainedError(ValueError):
    """A model folder that cannot be used. The message names the file and what to do."""


class Stored(NamedTuple):
    """Where a tensor lies."""

    file: Path
    shape: tuple[int, ...]
    dtype: str


def read_json(path: Path) -> Any:
    """The parsed file. Raises PretrainedError when it is missing, damaged or far too large."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise PretrainedError(f"{path} has {path.stat().st_size:,} bytes: no model's configuration is so large")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        if isinstance(error, PretrainedError):
            raise
        raise PretrainedError(f"{path}: cannot be read ({error}): get the folder again") from None


class TensorFiles:
    """The tensors of a folder: `names`, and `read(name, index)`.

    Raises PretrainedError for a folder without safetensors, a damaged file, an index that names files elsewhere.
    """

    def __init__(self, folder: Path, single: str = SINGLE):
        self.folder = folder
        self._stored: dict[str, Stored] = {}
        index = folder / INDEX
        if single == SINGLE and index.is_file():
            self.files = tuple(sorted(_sharded(index)))
        elif (folder / single).is_file():
            self.files = (folder / single,)
        else:
            raise PretrainedError(_missing(folder))
        for file in self.files:
            for name, stored in _header(file):
                if name in self._stored:
                    raise PretrainedError(f"{file}: tensor {name} is in {self._stored[name].file.name} as well")
                self._stored[name] = stored
        if single == SINGLE and index.is_file():
            self._check_index(index)

    def _check_index(self, index: Path) -> None:
        listed = read_json(index)["weight_map"]
        missing = sorted(name for name in listed if name not in self._stored)
        if missing:
            raise PretrainedError(f"{index}: lists {missing[0]} ({len(missing)} in all), which no file holds")

    @property
    def names(self) -> list[str]:
        return list(self._stored)

    def __getitem__(self, name: str) -> Stored:
        return self._stored[name]

    def read(self, name: str, index: Index, transposed: bool = False) -> np.ndarray:
        """A part of a tensor as float32; `index` counts in the transposed tensor when `transposed`.

        Reads 32 MiB at a time and lets go of the file in between, so that no more than the result is held.
        """
        stored = self._stored[name]
        wanted = [range(*part.indices(size)) for part, size in zip(index, self.shape(name, transposed), strict=True)]
        result = _aligned(tuple(map(len, wanted)))
        source = result.T if transposed else result
        parts = tuple(slice(r.start, r.stop) for r in (reversed(wanted) if transposed else wanted))
        if not parts:
            with safetensors.safe_open(stored.file, "np") as file:
                result[...] = file.get_tensor(name)
            return result
        row_bytes = 4 * max(1, math.prod(source.shape[1:]))
        step = max(1, PIECE_BYTES // row_bytes)
        for start in range(0, source.shape[0], step):
            stop = min(start + step, source.shape[0])
            rows = slice(parts[0].start + start, parts[0].start + stop)
            with safetensors.safe_open(stored.file, "np") as file:
                source[start:stop] = file.get_slice(name)[(rows, *parts[1:])]
        return result

    def shape(self, name: str, transposed: bool = False) -> tuple[int, ...]:
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
        # Names with a path could read any file of this machine.
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
            for name in file.keys():  # noqa: SIM118 (no mapping)
                part = file.get_slice(name)
                yield name, Stored(path, tuple(part.get_shape()), part.get_dtype())
    except (safetensors.SafetensorError, OSError) as error:
        raise PretrainedError(f"{path}: damaged or cut short ({error}): get it again") from None


def is_float(dtype: str) -> bool:
    """Whether a tensor of this safetensors dtype can be a parameter: float32, float16 or bfloat16."""
    return dtype in _FLOATS


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """An uninitialised float32 array that begins at a multiple of 64 bytes."""
    size = 4 * math.prod(shape)
    room = np.empty(size + _ALIGNMENT, np.uint8)
    start = -room.ctypes.data % _ALIGNMENT
    return room[start : start + size].view(np.float32).reshape(shape)


def _missing(folder: Path) -> str:
    pickled = next(iter(sorted(folder.glob("pytorch_model*.bin"))), None)
    if pickled is None:
        return f"{folder} has no model.safetensors: give the folder of a model that was saved as safetensors"
    return (
        f"{folder} has its weights only as {pickled.name}, a pickle, which can run code when it is opened. "
        f"If you trust it, convert it where torch is installed: "
        f'python -c "from transformers import AutoModel as M, AutoTokenizer as T; '
        f"[C.from_pretrained('{folder}').save_pretrained('{folder}-safetensors') for C in (M, T)]\""
    )
