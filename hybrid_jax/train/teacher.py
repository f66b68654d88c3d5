"""The teacher's vectors of a batch's records, from embedding stores on disk.

    record ──its text in the teacher's language──▶ the text's hash ──▶ row of the store ──▶ vector

Rows are looked up once, when the run starts: 8 bytes of memory for each record. Vectors stay on disk.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Literal

import numpy as np

from hybrid_jax.data.batch import Batch, TeacherVectors
from hybrid_jax.data.digests import DIGEST_BYTES
from hybrid_jax.data.records import DataError
from hybrid_jax.data.store import Store
from hybrid_jax.data.texts import entries_in, text_digest
from hybrid_jax.embed.store import EmbeddingStore
from hybrid_jax.train.distillation import DistillationConfig

_WRITE = "`python -m hybrid_jax.data texts` writes the corpus to embed"
_DIGEST = f"S{DIGEST_BYTES}"


class Teacher:
    """`teacher.vectors(batch)`: what the teacher says of the records of a batch.

    Attributes: `notes`, lines on how many records it knows, and `digest`, a hash of all its vectors.

    Raises StoreError for a store that is damaged or unfinished, and DataError for one that is not of these texts, has
    other dimensions than the student, or has nothing to say of a dataset that nothing else trains on.
    """

    def __init__(self, config: DistillationConfig, stores: Mapping[str, Store], dim: int):
        if config.store is None:
            raise ValueError("no teacher: set distillation.store")
        names = {"passage": config.store, "query": config.query_store or config.store}
        opened = {name: EmbeddingStore(Path(name).expanduser()) for name in names.values()}
        for name, embeddings in opened.items():
            if embeddings.dim != dim:
                raise DataError(
                    f"{name}: the teacher's vectors have {embeddings.dim} numbers and the student's {dim}: set "
                    f"model.projection_dim to {embeddings.dim}, or distil a teacher of {dim}"
                )
        self.digest = sha256(json.dumps([_identity(embeddings) for embeddings in opened.values()]).encode()).hexdigest()
        self._stores = {side: opened[name] for side, name in names.items()}
        rows_of_texts = {name: _RowsOfTexts(name, embeddings) for name, embeddings in opened.items()}
        self._rows: dict[tuple[str, str], np.ndarray] = {}
        self.notes: list[str] = []
        for dataset, store in stores.items():
            for side in ("query", "passage"):
                self._rows[dataset, side] = rows_of_texts[names[side]].of_records(store, config.language, side)
            count, total = int((self._rows[dataset, "passage"] >= 0).sum()), len(store.record_offsets) - 1
            if not count and config.weight == 1:
                raise DataError(
                    f"dataset {dataset!r} has no passage in {config.language}, so that the teacher says nothing of it: "
                    f"leave it out, set distillation.language to a language it has, or distillation.weight below 1"
                )
            of_all = f"all {total:,}" if count == total else f"{count:,} of {total:,}"
            self.notes.append(
                f"{dataset}: the teacher has vectors of {of_all} records, by their text in {config.language}"
            )

    def vectors(self, batch: Batch, host: int = 0, hosts: int = 1) -> TeacherVectors:
        """Those of process `host` out of `hosts`, of its rows of the batch."""
        rows = len(batch.ids) // hosts
        records = batch.pairs.records[host * rows : (host + 1) * rows]
        return TeacherVectors(
            *(_read(self._stores[side], self._rows[batch.plan.dataset, side][records]) for side in ("query", "passage"))
        )


class _RowsOfTexts:
    """The row of each text in an embedding store, by its digest."""

    def __init__(self, name: str, embeddings: EmbeddingStore):
        self.name = name
        try:
            digests = np.frombuffer(bytes.fromhex("".join(embeddings.ids())), _DIGEST)
        except ValueError:
            digests = np.empty(0, _DIGEST)
        if len(digests) != len(embeddings):
            raise DataError(f"{name}: its ids are no hashes of texts, so it was not made of a corpus for it: {_WRITE}")
        self._order = np.argsort(digests)
        self._digests = digests[self._order]

    def of_records(self, store: Store, language: str, side: Literal["query", "passage"]) -> np.ndarray:
        """int32[records]: the row of each record's query or passage in this language, -1 where it has none.

        Raises DataError if a text is not in the embedding store.
        """
        entries = entries_in(store, language)
        entries = entries[entries[side] >= 0]
        texts, text_of = np.unique(entries[side], return_inverse=True)
        digests = np.frombuffer(b"".join(text_digest(store.texts[text]) for text in texts.tolist()), _DIGEST)
        place = np.minimum(np.searchsorted(self._digests, digests), max(len(self._digests) - 1, 0))
        missing = int((self._digests[place] != digests).sum()) if len(self._digests) else len(texts)
        if missing:
            raise DataError(
                f"{self.name} lacks {missing:,} of the {len(texts):,} {language} texts of dataset "
                f"{store.meta['name']!r}: {_WRITE}"
            )
        rows = np.full(len(store.record_offsets) - 1, -1, np.int32)
        rows[entries["record"]] = self._order[place][text_of]
        return rows


def _read(embeddings: EmbeddingStore, rows: np.ndarray) -> np.ndarray:
    """float32[rows, dim]: vectors of length 1; zeros for row -1."""
    vectors = np.zeros((len(rows), embeddings.dim), np.float32)
    there = rows >= 0
    vectors[there] = embeddings.vectors(rows[there])
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _identity(embeddings: EmbeddingStore) -> list[str]:
    """Hashes of all vectors and of the texts they are of."""
    return [digest for shard in embeddings.manifest.shards for digest in (shard.vectors_sha256, shard.texts_sha256)]
