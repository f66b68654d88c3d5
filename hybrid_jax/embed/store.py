"""Embeddings on disk, larger than memory: written shard by shard, read as blocks, never trusted unchecked.

    manifest.json      who made it and how, and each finished shard's rows and sha256 sums
    00000.npy          a shard's vectors, rows x dim, float32, float16 or int8      00000.ids.json   its candidates' ids

Knows: vectors, ids, these files. Does not know: where texts come from (`embed.py`), what is done with the vectors.

A shard counts once the manifest lists it, and the manifest is replaced after the shard's files are on disk: a writer
killed at any moment leaves a store that is resumed with the next shard. Nothing in the folder depends on when or in how
many attempts it was written.

What the types cost. float16 rounds every number to 11 bits. int8 keeps a row's direction on a grid of 255 steps per
number, the row's largest one at the end of it; its scale is not stored, for a row has length 1: `blocks` divides it by
its norm. What either does to scores is measured on the first shard and written in the manifest (`Loss`).

The shards are plain .npy files, so other programs can search them. Approximately, with faiss (extra `faiss`):

    store = EmbeddingStore(Path("store"))
    index = faiss.index_factory(store.dim, "HNSW32", faiss.METRIC_INNER_PRODUCT)
    for block in store.blocks():
        index.add(block)                      # the number that faiss finds is the row, store.ids()[row] its id
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Float32
from pydantic import BaseModel, ConfigDict, Field, ValidationError

ROWS_PER_BLOCK = 16_384
SAMPLED_QUERIES, SAMPLED_ROWS, TOP = 256, 16_384, 10
MANIFEST = "manifest.json"

Dtype = Literal["float32", "float16", "int8"]
Document = tuple[str, str]
"""A candidate's id and its text."""


class StoreError(ValueError):
    """A store that cannot be read or continued; the message names the file and says what to do."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Recipe(_Frozen):
    """What decides every byte of a store but the corpus. A store is continued only by the recipe that began it."""

    model: dict[str, Any]
    """What decides the embedding of a text, as plain JSON values, a hash of the parameters among them."""
    side: Literal["queries", "passages"] = "passages"
    """What the texts were encoded as."""
    dtype: Dtype = "float32"
    """How a number is stored."""
    rows_per_shard: int = Field(default=65_536, ge=1)
    """Rows of every shard but the last: what a kill can lose."""


class Loss(_Frozen):
    """What a lossy type does to scores: float32 rows of the first shard searched among its stored rows."""

    max_score_error: float
    """The largest difference of a score."""
    top_10_overlap: float
    """The share of the ten best (the row itself left out) that are still among the ten best."""
    queries: int
    """Rows that served as queries."""
    rows: int
    """Rows that were searched."""


class Shard(_Frozen):
    """A finished shard."""

    rows: int
    """Its rows."""
    vectors_sha256: str
    """Of its .npy file."""
    ids_sha256: str
    """Of its .ids.json file."""
    texts_sha256: str
    """Of its ids and texts, which are not in the store."""


class Manifest(_Frozen):
    """manifest.json."""

    format: Literal["hybrid_jax.embeddings.1"] = "hybrid_jax.embeddings.1"
    """The kind of file, and its version."""
    recipe: Recipe
    """How it was made."""
    facts: dict[str, Any] = {}
    """Where the encoder came from, for a reader; a model that has moved since may resume."""
    complete: bool = False
    """Whether the whole corpus is in it."""
    rows: int = 0
    """Rows of all shards."""
    dim: int | None = None
    """Numbers in a vector; None before the first shard."""
    loss: Loss | None = None
    """Measured for float16 and int8; None for float32, which loses nothing, and before the first shard."""
    texts_sha256: str | None = None
    """Of the whole corpus, ids and texts; None until it is complete."""
    shards: tuple[Shard, ...] = ()
    """In the corpus' order."""


class EmbeddingStore:
    """A complete store, for reading. Raises StoreError for one that is missing, unfinished or damaged.

    Opening compares sizes; a shard's bytes are compared with its sha256 when they are first read.
    """

    def __init__(self, folder: Path):
        self.folder, self.manifest = folder, _read_manifest(folder)
        if not self.manifest.complete:
            raise StoreError(
                f"{folder} holds {self.manifest.rows:,} rows of an unfinished corpus: run the command that began it "
                "again"
            )
        self._checked: set[str] = set()
        self._shards = [self._vectors(number) for number in range(len(self.manifest.shards))]

    def __len__(self) -> int:
        return self.manifest.rows

    @property
    def dim(self) -> int:
        """Numbers in a vector; 0 in a store of an empty corpus."""
        return self.manifest.dim or 0

    def ids(self) -> list[str]:
        """The candidates' ids, by row."""
        found: list[str] = []
        for number, shard in enumerate(self.manifest.shards):
            path = self.folder / f"{number:05}.ids.json"
            self._check(path, shard.ids_sha256)
            found += json.loads(path.read_text(encoding="utf-8"))
        return found

    def blocks(self, rows: int = ROWS_PER_BLOCK) -> Iterator[Float32[np.ndarray, "rows dim"]]:
        """All vectors in order, at most `rows` at a time: what `search.top_k` takes."""
        for number, (shard, vectors) in enumerate(zip(self.manifest.shards, self._shards, strict=True)):
            self._check(self.folder / f"{number:05}.npy", shard.vectors_sha256)
            for a in range(0, len(vectors), rows):
                yield decode(vectors[a : a + rows])

    def _vectors(self, number: int) -> np.ndarray:
        path = self.folder / f"{number:05}.npy"
        try:
            vectors = np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise _damaged(path, str(error)) from None
        expected = (self.manifest.shards[number].rows, self.dim), self.manifest.recipe.dtype
        if (vectors.shape, vectors.dtype.name) != expected:
            raise _damaged(path, f"it holds {vectors.dtype}{list(vectors.shape)}")
        return vectors

    def _check(self, path: Path, digest: str) -> None:
        if path.name not in self._checked and (not path.is_file() or _sha256(path) != digest):
            raise _damaged(path, "its sha256 is not the manifest's" if path.is_file() else "it is missing")
        self._checked.add(path.name)


def write_store(
    folder: Path,
    documents: Iterable[Document],
    encode: Callable[[list[str]], Float[np.ndarray, "texts dim"]],
    recipe: Recipe,
    facts: Mapping[str, Any] | None = None,
    report: Callable[[Manifest], None] = lambda _: None,
) -> EmbeddingStore:
    """Writes what is missing of the store in `folder`, and opens it; `report` is called after every shard.

    `encode` gives unit vectors; it sees the texts of one shard at a time. `facts` are kept for a reader. `documents`
    are read from the first on, also to resume: those of finished shards are compared with what was encoded. A finished
    shard whose files are missing or damaged is encoded again.
    Raises StoreError for a store of another recipe or another corpus, without changing anything.
    """
    manifest = _begin(folder, recipe, facts or {})
    corpus, rest, number = sha256(), iter(documents), 0
    while chunk := list(islice(rest, recipe.rows_per_shard)):
        texts_sha256 = _digest(chunk, corpus)
        done = manifest.shards[number] if number < len(manifest.shards) else None
        if done and done.texts_sha256 != texts_sha256:
            raise _other_corpus(folder, number)
        if done is None or not _intact(folder, number, done):
            vectors = encode([text for _, text in chunk])
            manifest = _write_shard(folder, manifest, number, [name for name, _ in chunk], texts_sha256, vectors)
            report(manifest)
        number += 1
    if number < len(manifest.shards):
        raise _other_corpus(folder, number)
    if not manifest.complete:
        finished = manifest.model_copy(update={"complete": True, "texts_sha256": corpus.hexdigest()})
        _write(folder / MANIFEST, _json(finished))
    for part in folder.glob("*.part"):  # of an attempt that was killed
        part.unlink()
    return EmbeddingStore(folder)


def encode_as(dtype: Dtype, vectors: Float[np.ndarray, "rows dim"]) -> np.ndarray:
    """Unit vectors as they are stored."""
    if dtype != "int8":
        return vectors.astype(dtype)
    return np.rint(vectors * (127 / np.abs(vectors).max(axis=1, keepdims=True))).astype(np.int8)


def decode(stored: np.ndarray) -> Float32[np.ndarray, "rows dim"]:
    """Stored rows as unit vectors."""
    if stored.dtype != np.int8:
        return np.asarray(stored, np.float32)
    whole = stored.astype(np.float32)
    return whole / np.sqrt(np.einsum("rd,rd->r", whole, whole, dtype=np.float64)).astype(np.float32)[:, None]


def measure_loss(vectors: Float[np.ndarray, "rows dim"], stored: np.ndarray) -> Loss:
    """The loss of `stored`, on its first rows."""
    whole, kept = vectors[:SAMPLED_ROWS].astype(np.float64), decode(stored[:SAMPLED_ROWS]).astype(np.float64)
    chosen = np.linspace(0, len(whole) - 1, min(SAMPLED_QUERIES, len(whole))).astype(np.int64)
    exact, found = whole[chosen] @ whole.T, whole[chosen] @ kept.T
    error = float(np.abs(exact - found).max())
    k = min(TOP, len(whole) - 1)
    for scores in (exact, found):
        scores[np.arange(len(chosen)), chosen] = -np.inf  # a row finds itself in any type
    best, still = (np.argsort(-scores, axis=1, kind="stable")[:, :k] for scores in (exact, found))
    shared = sum(len(np.intersect1d(a, b)) for a, b in zip(best, still, strict=True))
    overlap = shared / (k * len(chosen)) if k else 1.0
    return Loss(max_score_error=error, top_10_overlap=overlap, queries=len(chosen), rows=len(whole))


def _begin(folder: Path, recipe: Recipe, facts: Mapping[str, Any]) -> Manifest:
    """The manifest to go on from."""
    if not (folder / MANIFEST).exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise StoreError(f"{folder} is not empty and not a store (it has no {MANIFEST}): choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        manifest = Manifest(recipe=recipe, facts=dict(facts))
        _write(folder / MANIFEST, _json(manifest))
        return manifest
    manifest = _read_manifest(folder)
    wanted, found = recipe.model_dump(mode="json"), manifest.recipe.model_dump(mode="json")
    if wanted != found:
        raise StoreError(
            f"{folder} was begun with {'; '.join(_differences(found, wanted))}: "
            f"use the same to resume it, or another folder"
        )
    return manifest


def _write_shard(
    folder: Path, manifest: Manifest, number: int, ids: Sequence[str], texts_sha256: str, vectors: np.ndarray
) -> Manifest:
    path, dtype = folder / f"{number:05}.npy", manifest.recipe.dtype
    if manifest.dim not in (None, vectors.shape[1]):
        raise StoreError(f"{path}: the encoder gave {vectors.shape[1]} numbers per text, and {manifest.dim} before")
    stored = encode_as(dtype, vectors)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        np.save(file, stored, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    _write(path.with_suffix(".ids.json"), json.dumps(ids, ensure_ascii=False))
    shard = Shard(
        rows=len(ids),
        vectors_sha256=_sha256(path),
        ids_sha256=_sha256(path.with_suffix(".ids.json")),
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
    _write(folder / MANIFEST, _json(manifest))
    return manifest


def _intact(folder: Path, number: int, shard: Shard) -> bool:
    files = {f"{number:05}.npy": shard.vectors_sha256, f"{number:05}.ids.json": shard.ids_sha256}
    return all((folder / name).is_file() and _sha256(folder / name) == digest for name, digest in files.items())


def _other_corpus(folder: Path, number: int) -> StoreError:
    return StoreError(
        f"{folder}: shard {number:05} was made from other texts, or another order of them, than this corpus has: "
        f"give the corpus that it was begun with, or another folder"
    )


def _read_manifest(folder: Path) -> Manifest:
    path = folder / MANIFEST
    if not path.is_file():
        raise StoreError(f"{folder} is not a store (no {MANIFEST}): `python -m hybrid_jax.eval embed` makes one")
    try:
        return Manifest.model_validate_json(path.read_text(encoding="utf-8"))
    except (ValidationError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise StoreError(f"{path} is damaged ({first}): restore it, or delete the folder and embed again") from None


def _damaged(path: Path, cause: str) -> StoreError:
    return StoreError(
        f"{path}: this shard is damaged ({cause}): run the command that made it again, it encodes damaged shards anew"
    )


def _digest(chunk: Sequence[Document], corpus: Any) -> str:
    """sha256 of the documents, which also go into the running hash of the whole corpus."""
    digest = sha256()
    for document in chunk:
        line = json.dumps(document).encode()
        digest.update(line)
        corpus.update(line)
    return digest.hexdigest()


def _differences(found: Any, wanted: Any, name: str = "") -> list[str]:
    """ "dtype float32 instead of int8" for every value that differs, however deep."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = sorted({*found, *wanted})
        return [line for key in keys for line in _differences(found.get(key), wanted.get(key), f"{name}.{key}")]
    return [] if found == wanted else [f"{name.removeprefix('.')} {found!r} instead of {wanted!r}"]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        digest = sha256()
        while piece := file.read(2**22):
            digest.update(piece)
    return digest.hexdigest()


def _write(path: Path, text: str) -> None:
    """Writes the whole file, through to the disk, or nothing."""
    part = path.with_name(path.name + ".part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def _json(manifest: Manifest) -> str:
    return json.dumps(manifest.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"
