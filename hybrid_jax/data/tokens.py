"""The token table: a store's texts, tokenised once with their prompt, so that training never waits for a tokenizer."""

import json
from pathlib import Path

import numpy as np

from hybrid_jax.data.store import Store
from hybrid_jax.data.tokenizer import Tokenizer
from hybrid_jax.disk.files import atomic_folder

_CHUNK = 8192


class TokenTable:
    """The token ids of a store's queries or passages, memory-mapped; `padded` returns rows of a batch.

    Attributes: `texts`, how many were tokenised, and `truncated`, how many of them were cut at the length limit.
    """

    def __init__(self, folder: Path, pad_id: int):
        self._pad_id = pad_id
        self._tokens = np.load(folder / "tokens.npy", mmap_mode="r")
        self._offsets = np.load(folder / "offsets.npy", mmap_mode="r")
        meta = json.loads((folder / "meta.json").read_text())
        self.texts: int = meta["texts"]
        self.truncated: int = meta["truncated"]

    def lengths(self, texts: np.ndarray) -> np.ndarray:
        """int64[texts]: token counts; 0 for a text that was not tokenised."""
        return self._offsets[texts + 1] - self._offsets[texts]

    def padded(self, texts: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Token ids and segments, int32[texts, length] both: segment 1 for a token, 0 for padding."""
        place = np.arange(length)
        inside = place < self.lengths(texts)[:, None]
        tokens = self._tokens[np.where(inside, self._offsets[texts][:, None] + place, 0)]
        return np.where(inside, tokens, self._pad_id).astype(np.int32), inside.astype(np.int32)


def write_tokens(
    store: Store,
    texts: np.ndarray,
    tokenizer: Tokenizer,
    prompt: str,
    max_length: int,
    folder: Path,
) -> TokenTable:
    """Tokenises the texts with these numbers (sorted), each after `prompt`, and writes `folder` atomically."""
    dtype = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
    lengths = np.zeros(len(store.texts) + 1, np.int64)
    truncated = 0
    chunks = [np.zeros(0, dtype)]
    for start in range(0, len(texts), _CHUNK):
        numbers = texts[start : start + _CHUNK]
        ids, cut = tokenizer.encode([prompt + store.texts[i] for i in numbers], max_length)
        truncated += cut
        lengths[numbers + 1] = [len(row) for row in ids]
        chunks.append(np.concatenate(ids).astype(dtype))
    with atomic_folder(folder) as part:
        np.save(part / "tokens.npy", np.concatenate(chunks))
        np.save(part / "offsets.npy", np.cumsum(lengths))
        (part / "meta.json").write_text(json.dumps({"texts": len(texts), "truncated": truncated}))
    return TokenTable(folder, tokenizer.pad_id)
