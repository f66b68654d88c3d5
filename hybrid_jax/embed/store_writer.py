"""Writes an embedding store shard by shard, or finishes one whose writer was killed.

The files are described in `store_format.py`.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from hybrid_jax.disk.files import atomic_file, sha256_of, write_text
from hybrid_jax.embed.quantization import measure_loss, quantize
from hybrid_jax.embed.store import EmbeddingStore
from hybrid_jax.embed.store_format import (
    MANIFEST,
    Manifest,
    Recipe,
    Shard,
    StoreError,
    ids_path,
    read_manifest,
    vectors_path,
    write_manifest,
)
from hybrid_jax.runs.lock import Lock, one_process
from hybrid_jax.runs.workdir import LOCK

Document = tuple[str, str]
"""A candidate's id and its text."""


def write_store(
    folder: Path,
    documents: Iterable[Document],
    encode: Callable[[list[str]], Float[np.ndarray, "texts dim"]],
    recipe: Recipe,
    facts: Mapping[str, Any] | None = None,
    report: Callable[[Manifest], None] = lambda _: None,
) -> EmbeddingStore:
    """Encodes all documents that are not yet in the store in `folder`, and opens it.

    `encode` returns unit vectors; it is called once for each shard. `documents` are always read from the first one:
    those of finished shards are compared with what was encoded. A finished shard whose files are missing or damaged is
    encoded again. `facts` are written into the manifest for people to read; `report` is called after every shard.

    Raises StoreError, without changing anything, if the store was made by another recipe or from another corpus, and
    WorkdirError while another process writes to it. A store to which nothing is missing is only read.
    """
    with _Writer(folder) as writer:
        manifest = begun = _open_manifest(folder, recipe, facts or {}, writer)
        corpus_hash, remaining, number = hashlib.sha256(), iter(documents), 0
        while chunk := list(islice(remaining, recipe.rows_per_shard)):
            texts_sha256 = _hash_texts(chunk, corpus_hash)
            finished = manifest.shards[number] if number < len(manifest.shards) else None
            if manifest.complete if finished is None else finished.texts_sha256 != texts_sha256:
                raise _another_corpus(folder, number)
            if finished is None or not _is_intact(folder, number, finished):
                if not writer.active:
                    writer.check()
                    _check_unchanged(folder, begun)
                vectors = encode([text for _, text in chunk])
                _check_finite(vectors, chunk)
                writer.check()
                manifest = _write_shard(folder, manifest, number, [name for name, _ in chunk], texts_sha256, vectors)
                report(manifest)
            number += 1
        if number < len(manifest.shards):
            raise _another_corpus(folder, number)
        if not manifest.complete:
            writer.check()
            complete = {"complete": True, "texts_sha256": corpus_hash.hexdigest()}
            write_manifest(folder, manifest.model_copy(update=complete))
        if writer.active:
            _remove_temporary_files(folder)
    return EmbeddingStore(folder)


class _Writer(ExitStack):
    """The only process that may change the store, from the first `check`: until then a store is only read."""

    def __init__(self, folder: Path):
        super().__init__()
        self._folder = folder
        self._lock: Lock | None = None

    @property
    def active(self) -> bool:
        """Whether this process has the store."""
        return self._lock is not None

    def check(self) -> None:
        """Called before every change. Raises WorkdirError while another process writes to the store."""
        self._lock = self._lock or self.enter_context(one_process(self._folder, "writing to", "folder"))
        self._lock.check()


def _open_manifest(folder: Path, recipe: Recipe, facts: Mapping[str, Any], writer: _Writer) -> Manifest:
    """The manifest of the store in `folder`, or a new one."""
    if not (folder / MANIFEST).exists():
        unfinished = {folder / LOCK, *folder.glob(f".{MANIFEST}.*")}  # what a writer killed at its first write leaves
        if folder.exists() and (not folder.is_dir() or set(folder.iterdir()) - unfinished):
            raise StoreError(f"{folder} is not empty and not a store (it has no {MANIFEST}): choose another folder")
        writer.check()
    if not (folder / MANIFEST).exists():  # another writer may have begun it meanwhile, and ended
        manifest = Manifest(recipe=recipe, facts=dict(facts))
        write_manifest(folder, manifest)
        return manifest
    manifest = read_manifest(folder)
    actual, requested = manifest.recipe.model_dump(mode="json"), recipe.model_dump(mode="json")
    if actual != requested:
        raise StoreError(
            f"{folder} was begun with {'; '.join(_differences(actual, requested))}: "
            f"use the same to resume it, or another folder"
        )
    return manifest


def _check_unchanged(folder: Path, manifest: Manifest) -> None:
    if read_manifest(folder) != manifest:
        raise StoreError(f"{folder} was changed by another process while this one read it: repeat the command")


def _write_shard(
    folder: Path, manifest: Manifest, number: int, ids: Sequence[str], texts_sha256: str, vectors: np.ndarray
) -> Manifest:
    path, dtype = vectors_path(folder, number), manifest.recipe.dtype
    if manifest.dim not in (None, vectors.shape[1]):
        raise StoreError(f"{path}: the encoder gave {vectors.shape[1]} numbers per text, and {manifest.dim} before")
    stored = quantize(vectors, dtype)
    with atomic_file(path) as stream:
        np.save(stream, stored, allow_pickle=False)
    write_text(ids_path(folder, number), json.dumps(ids, ensure_ascii=False))
    shard = Shard(
        rows=len(ids),
        vectors_sha256=sha256_of(path),
        ids_sha256=sha256_of(ids_path(folder, number)),
        texts_sha256=texts_sha256,
    )
    shards = (*manifest.shards[:number], shard, *manifest.shards[number + 1 :])
    manifest = manifest.model_copy(
        update={
            "rows": sum(each.rows for each in shards),
            "dim": vectors.shape[1],
            "loss": measure_loss(vectors, stored) if dtype != "float32" and number == 0 else manifest.loss,
            "shards": shards,
        }
    )
    write_manifest(folder, manifest)
    return manifest


def _check_finite(vectors: np.ndarray, chunk: Sequence[Document]) -> None:
    wrong = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(wrong):
        raise StoreError(
            f"the encoder gave document {chunk[wrong[0]][0]!r} a vector with NaN or infinity ({len(wrong)} of "
            f"{len(chunk)} in this shard): the model is damaged, or diverged in training"
        )


def _is_intact(folder: Path, number: int, shard: Shard) -> bool:
    expected = {vectors_path(folder, number): shard.vectors_sha256, ids_path(folder, number): shard.ids_sha256}
    return all(path.is_file() and sha256_of(path) == sha256 for path, sha256 in expected.items())


def _another_corpus(folder: Path, number: int) -> StoreError:
    return StoreError(
        f"{folder}: shard {number:05} was made from other texts, or another order of them, than this corpus has: "
        f"give the corpus that it was begun with, or another folder"
    )


def _hash_texts(chunk: Sequence[Document], corpus_hash: Any) -> str:
    """The SHA-256 of the documents. Also adds them to the running hash of the whole corpus."""
    chunk_hash = hashlib.sha256()
    for document in chunk:
        line = json.dumps(document).encode()
        chunk_hash.update(line)
        corpus_hash.update(line)
    return chunk_hash.hexdigest()


def _differences(actual: Any, requested: Any, name: str = "") -> list[str]:
    """ "dtype 'float32' instead of 'int8'" for every value that differs, at any depth."""
    if isinstance(actual, dict) and isinstance(requested, dict):
        keys = sorted({*actual, *requested})
        return [line for key in keys for line in _differences(actual.get(key), requested.get(key), f"{name}.{key}")]
    return [] if actual == requested else [f"{name.removeprefix('.')} {actual!r} instead of {requested!r}"]


def _remove_temporary_files(folder: Path) -> None:
    """Removes what `atomic_file` leaves if it is killed: a file named after its target, hidden."""
    for pattern in (f".{MANIFEST}.*", ".*.npy.*", ".*.ids.json.*"):
        for path in folder.glob(pattern):
            path.unlink()
