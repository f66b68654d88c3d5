"""Finds and reads a benchmark's official files; every error names the file and says how to get it (`fix`)."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from hybrid_jax.data.records import DataError

_CHUNK = 2**20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def find(data_dir: Path, names: Sequence[str], fix: str) -> Path:
    """The first of these files or folders that exists in `data_dir` or its eval/. Raises DataError if none does."""
    for name in names:
        for root in (data_dir, data_dir / "eval"):
            if (root / name).exists():
                return root / name
    others = f", nor {', nor '.join(names[1:])} there" if len(names) > 1 else ""
    raise DataError(f"no file {data_dir / names[0]} (nor under {data_dir / 'eval'}{others}): {fix}")


def read_json(path: Path, fix: str) -> tuple[Any, str]:
    """The parsed JSON and the sha256 of the file."""
    raw = path.read_bytes()
    try:
        return json.loads(raw.removeprefix(_BYTE_ORDER_MARK)), hashlib.sha256(raw).hexdigest()
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else _line(raw, error)
        problem = error.msg if isinstance(error, json.JSONDecodeError) else "invalid UTF-8"
        raise DataError(f"{path}:{line}: {problem}: {fix}") from error


def read_lines(path: Path, fix: str) -> tuple[tuple[str, ...], str]:
    """The lines of a text file without their ends, and the sha256 of the file.

    Only "\\n" ends a line: `str.splitlines` would also split at U+2028 and U+0085, which occur inside sentences, and
    shift every line after them against the other language's file.
    """
    raw = path.read_bytes()
    try:
        text = raw.removeprefix(_BYTE_ORDER_MARK).decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{_line(raw, error)}: invalid UTF-8: {fix}") from error
    lines = text.removesuffix("\n").split("\n") if text else []
    return tuple(line.removesuffix("\r") for line in lines), hashlib.sha256(raw).hexdigest()


def sha256(path: Path) -> str:
    """The sha256 of a file of any size, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def text_id(text: str) -> str:
    """The sha256 of a candidate's text, used as its id as mteb does: it does not depend on the order of the files."""
    return hashlib.sha256(text.encode()).hexdigest()


def pairs_of_same_id(query_ids: Sequence[str], answer_ids: Sequence[str]) -> Int[np.ndarray, "pairs 2"]:
    """All pairs (i, j) with query_ids[i] == answer_ids[j]."""
    rows_of_id: dict[str, list[int]] = {}
    for j, name in enumerate(answer_ids):
        rows_of_id.setdefault(name, []).append(j)
    pairs = [(i, j) for i, name in enumerate(query_ids) for j in rows_of_id.get(name, [])]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _line(raw: bytes, error: UnicodeDecodeError) -> int:
    return raw[: error.start].count(b"\n") + 1
