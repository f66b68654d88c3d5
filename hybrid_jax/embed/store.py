"""Reads an embedding store: vectors on disk that may be larger than memory, as blocks for exact search or for faiss.

The shards are plain .npy files, so other programs can read them too. Approximate search with faiss (extra `faiss`):

    store = EmbeddingStore(Path("store"))
    index = faiss.index_factory(store.dim, "HNSW32", faiss.METRIC_INNER_PRODUCT)
    for block in store.blocks():
        index.add(block)                      # faiss returns row numbers; store.ids()[row] is the row's id

The files are described in `store_format.py`, and written by `store_writer.py`.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int

from hybrid_jax.disk.files import sha256_of
from hybrid_jax.embed.quantization import dequantize
from hybrid_jax.embed.store_format import StoreError, damaged_shard, ids_path, read_manifest, vectors_path

ROWS_PER_BLOCK = 16_384


class EmbeddingStore:
    """A complete store, open for reading.

    Opening it compares the sizes of its shards with the manifest; a shard's SHA-256 is checked when it is first read.
    Raises StoreError if the store is missing, unfinished or damaged.
    """

    def __init__(self, folder: Path | str):
        self.folder = folder = Path(folder).expanduser()
        self.manifest = read_manifest(folder)
        if not self.manifest.complete:
            raise StoreError(
                f"{folder} holds {self.manifest.rows:,} rows of an unfinished corpus: run the command that began it "
                "again"
            )
        self._checked: set[Path] = set()
        self._shards = [self._open_shard(number) for number in range(len(self.manifest.shards))]

    def __len__(self) -> int:
        return self.manifest.rows

    @property
    def dim(self) -> int:
        """The number of dimensions of a vector; 0 if the corpus was empty."""
        return self.manifest.dim or 0

    def ids(self) -> list[str]:
        """The ids of all candidates, by row."""
        ids: list[str] = []
        for number, shard in enumerate(self.manifest.shards):
            path = ids_path(self.folder, number)
            self._check(path, shard.ids_sha256)
            ids += json.loads(path.read_text(encoding="utf-8"))
        return ids

    def blocks(self, rows: int = ROWS_PER_BLOCK) -> Iterator[Float32[np.ndarray, "rows dim"]]:
        """Yields all vectors in order, at most `rows` at a time, as `search.top_k` takes them."""
        for number, (shard, vectors) in enumerate(zip(self.manifest.shards, self._shards, strict=True)):
            self._check(vectors_path(self.folder, number), shard.vectors_sha256)
            for start in range(0, len(vectors), rows):
                yield dequantize(vectors[start : start + rows])

    def vectors(self, rows: Int[np.ndarray, " rows"]) -> Float32[np.ndarray, "rows dim"]:
        """The vectors with these row numbers, which may come in any order and repeat.

        Raises IndexError for a number that no row has, as -1, which faiss gives where it finds fewer than asked for.
        """
        if wrong := [row for row in np.asarray(rows).tolist() if not 0 <= row < len(self)]:
            raise IndexError(f"row {wrong[0]} of {self.folder}, which has rows 0 to {len(self) - 1}")
        vectors = np.empty((len(rows), self.dim), np.float32)
        shards, places = np.divmod(rows, self.manifest.recipe.rows_per_shard)
        for number in np.unique(shards).tolist():
            self._check(vectors_path(self.folder, number), self.manifest.shards[number].vectors_sha256)
            here = shards == number
            vectors[here] = dequantize(self._shards[number][places[here]])
        return vectors

    def _open_shard(self, number: int) -> np.ndarray:
        path = vectors_path(self.folder, number)
        try:
            vectors = np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise damaged_shard(path, str(error)) from None
        expected = (self.manifest.shards[number].rows, self.dim), self.manifest.recipe.dtype
        if (vectors.shape, vectors.dtype.name) != expected:
            raise damaged_shard(path, f"it holds {vectors.dtype}{list(vectors.shape)}")
        return vectors

    def _check(self, path: Path, sha256: str) -> None:
        if path not in self._checked and (not path.is_file() or sha256_of(path) != sha256):
            raise damaged_shard(path, "its sha256 is not the manifest's" if path.is_file() else "it is missing")
        self._checked.add(path)
