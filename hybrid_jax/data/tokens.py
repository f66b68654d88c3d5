"""The token table: a store's texts, tokenised once with their prompt, so that training never waits for a tokenizer."""

import json
from pathlib import Path

import numpy as np

from hybrid_jax.data.on_disk import writing
from hybrid_jax.data.store import Store
from hybrid_jax.data.tokenizer import Tokenizer
from hybrid_jax.disk.manifest import content_digest, sealed_folder

_CHUNK = 1024
"""Texts that are tokenised at a time. The tokenizer's results take some 130 bytes a token until they are copied."""


class TokenTable:
    """The token ids of a store's queries or passages, memory-mapped.

    Attributes: `texts`, how many were tokenised, `truncated`, how many of them were cut at the length limit, and
    `digest`, a hash of the content.
    """

    def __init__(self, folder: Path):
        self._tokens = np.load(folder / "tokens.npy", mmap_mode="r")
        self._offsets = np.load(folder / "offsets.npy", mmap_mode="r")
        self.digest = content_digest(folder)
        meta = json.loads((folder / "meta.json").read_text())
        self.texts: int = meta["texts"]
        self.truncated: int = meta["truncated"]

    @property
    def total(self) -> int:
        """Tokens of all texts."""
        return int(self._offsets[-1])

    def lengths(self, texts: np.ndarray) -> np.ndarray:
        """int64[texts]: token counts; 0 for a text that was not tokenised."""
        return self._offsets[texts + 1] - self._offsets[texts]

    @property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return int(np.diff(self._offsets).max(initial=0))

    def tokens(self, texts: np.ndarray) -> np.ndarray:
        """int32[tokens]: the token ids of these texts, one text after the other."""
        lengths = self.lengths(texts)
        first = np.cumsum(lengths) - lengths
        return self._tokens[np.repeat(self._offsets[texts] - first, lengths) + np.arange(lengths.sum())].astype(
            np.int32
        )


def write_tokens(
    store: Store,
    texts: np.ndarray,
    tokenizer: Tokenizer,
    prompt: str,
    max_length: int,
    folder: Path,
) -> TokenTable:
    """Tokenises the texts with these numbers (sorted), each after `prompt`, and writes `folder` atomically.

    Tokens go to disk in pieces, as uint16 or uint32; memory holds 8 bytes per text of the store.
    """
    dtype = np.uint16 if tokenizer.vocab_size <= 2**16 else np.uint32
    offsets = np.zeros(len(store.texts) + 1, np.int64)
    truncated = 0
    with sealed_folder(folder) as part:
        with writing(part) as columns:
            tokens = columns.array("tokens", dtype)
            for start in range(0, len(texts), _CHUNK):
                numbers = texts[start : start + _CHUNK]
                ids, cut = tokenizer.encode([prompt + store.texts[i] for i in numbers], max_length)
                truncated += cut
                offsets[numbers + 1] = [len(row) for row in ids]
                tokens.add(np.concatenate(ids).astype(dtype).data)
        np.save(part / "offsets.npy", np.cumsum(offsets, out=offsets))
        (part / "meta.json").write_text(json.dumps({"texts": len(texts), "truncated": truncated}))
    return TokenTable(folder)
