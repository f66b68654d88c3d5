"""A folder's manifest.json: the size and SHA-256 of its files, by which damage to one of them is noticed."""

import os
from collections.abc import Callable, Container, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict

from hybrid_jax.disk.files import atomic_files, atomic_folder, sha256_of
from hybrid_jax.disk.reading import open_to_read

T = TypeVar("T")

NAME = "manifest.json"


class Entry(BaseModel):
    """What a file was when it was saved."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bytes: int
    sha256: str


class Manifest(BaseModel):
    """The content of manifest.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: dict[str, Entry]
    """By path within the folder, in order."""


def write_manifest(folder: Path, without: Container[str] = ()) -> None:
    """Writes the manifest of all files in `folder`. Raises OSError as `atomic_files` does."""
    paths = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}
    names = [name for name in paths if name not in without]
    files = dict(zip(names, in_threads(lambda name: _entry(paths[name]), names), strict=True))
    atomic_files(folder, {NAME: Manifest(files=files).model_dump_json(indent=1).encode()})


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest; None if there is none, or if it is damaged. Raises OSError if it cannot be read."""
    try:
        with open_to_read(folder / NAME) as file:
            text = file.read().decode()
        manifest = Manifest.model_validate_json(text)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        return None
    return manifest if manifest.model_dump_json(indent=1) == text else None


def unchanged(path: Path, entry: Entry) -> bool:
    """Whether the file is there and what it was. Raises OSError if it cannot be read."""
    try:
        with open_to_read(path) as file:
            size = file.seek(0, os.SEEK_END)
        return size == entry.bytes and sha256_of(path) == entry.sha256
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return False


def damage(folder: Path) -> str | None:
    """What is wrong with the first file that is not as it was written, or with the manifest; None if all is well."""
    manifest = read_manifest(folder)
    if manifest is None:
        return f"it has no {NAME}" if not (folder / NAME).exists() else f"{NAME} is damaged"
    good = in_threads(lambda name: unchanged(folder / name, manifest.files[name]), list(manifest.files))
    return next(
        (f"{name} is not what was saved" for name, ok in zip(manifest.files, good, strict=True) if not ok), None
    )


def in_threads(function: Callable[[str], T], names: Sequence[str]) -> list[T]:
    """What the function gives for each name, in order; on all cores, since a hash does not need the interpreter."""
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return list(pool.map(function, names))


def content_digest(folder: Path, without: Container[str] = ()) -> str:
    """A hash of what the manifest says of the files; equal for equal content. "none" where there is no manifest."""
    manifest = read_manifest(folder)
    if manifest is None:
        return "none"
    entries = [(name, entry.sha256) for name, entry in manifest.files.items() if name not in without]
    return sha256(repr(entries).encode()).hexdigest()[:16]


@contextmanager
def sealed_folder(folder: Path) -> Iterator[Path]:
    """`atomic_folder`, whose files get a manifest when the block ends."""
    with atomic_folder(folder) as part:
        yield part
        write_manifest(part)


def _entry(path: Path) -> Entry:
    return Entry(bytes=path.stat().st_size, sha256=sha256_of(path))
