"""A checkpoint's manifest.json: the size and SHA-256 of its files, by which damage to one of them is noticed.

It is written when all processes have written their files and before the checkpoint gets its name. Two files are not in
it, since Orbax writes them afterwards, the time of the commit being in them: neither holds a part of the state.
"""

from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils
from pydantic import BaseModel, ConfigDict

from hybrid_jax.disk.files import atomic_files, sha256_of

NAME = "manifest.json"
WRITTEN_AT_COMMIT = {"_CHECKPOINT_METADATA", "commit_success.txt"}


class Entry(BaseModel):
    """What a file was when it was saved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int
    sha256: str


class Manifest(BaseModel):
    """The content of manifest.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: dict[str, Entry]
    """By path within the checkpoint, in order."""


def write_manifest(folder: Path) -> None:
    """Writes the manifest of all files in `folder`. Raises OSError as `atomic_files` does."""
    paths = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    files = {name: _entry(path) for name, path in paths.items() if name not in WRITTEN_AT_COMMIT}
    atomic_files(folder, {NAME: Manifest(files=files).model_dump_json(indent=1).encode()})


def find_damage(folder: Path) -> str | None:
    """What is wrong with the first file that is not as it was saved; None if all are, or if there is no manifest.

    Several processes read a share of the files each, and all get the same answer: all of them must call this.
    """
    if not (folder / NAME).exists():
        return None
    manifest = _read(folder / NAME)
    if manifest is None:
        return _first_of_all([f"{NAME} is damaged"], [True])
    names = list(manifest.files)
    own = range(jax.process_index(), len(names), jax.process_count())
    wrong = [number in own and not _unchanged(folder / name, manifest.files[name]) for number, name in enumerate(names)]
    return _first_of_all([f"{name} is not what was saved" for name in names], wrong)


def _read(path: Path) -> Manifest | None:
    """The manifest; None if it is damaged."""
    try:
        text = path.read_text(encoding="utf-8")
        manifest = Manifest.model_validate_json(text)
    except (OSError, ValueError):
        return None
    return manifest if manifest.model_dump_json(indent=1) == text else None


def _first_of_all(problems: list[str], present: list[bool]) -> str | None:
    """The first problem that is present in any process."""
    first = present.index(True) if any(present) else len(problems)
    if jax.process_count() > 1:
        first = int(np.min(multihost_utils.process_allgather(np.int32(first))))
    return problems[first] if first < len(problems) else None


def _unchanged(path: Path, entry: Entry) -> bool:
    try:
        return path.stat().st_size == entry.bytes and _entry(path) == entry
    except OSError:
        return False


def _entry(path: Path) -> Entry:
    return Entry(bytes=path.stat().st_size, sha256=sha256_of(path))
