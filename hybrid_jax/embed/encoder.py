"""Encodes texts into vectors: tokenizes them, sorts them by length, pads them to a few shapes, runs all devices.

How an encoder is loaded is in `load.py`.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float
from tqdm import tqdm

from hybrid_jax.data.fields import SURROGATE, show
from hybrid_jax.data.tokenizer import Tokenizer
from hybrid_jax.embed.origin import Origin
from hybrid_jax.model.dual_encoder import ModelConfig, Parameters, Side, abstract, bind
from hybrid_jax.runtime.mesh import put_batch

TOKENS_PER_BATCH = 16_384
"""A batch has this many tokens divided by its row length rows, so that all shapes take about the same time and memory.
The last batch of a call has the next power of two of the remaining texts."""
TEXTS_AT_ONCE = 65_536
"""Texts that are sorted by length together. Bounds the memory that a long iterable takes."""
BUCKETS = (16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192)
"""Row lengths, in tokens: a batch is padded to the shortest that its longest text fits in."""


@dataclass(frozen=True)
class TextRules:
    """How a text is turned into token ids."""

    query_prompt: str = ""
    """Put before every query."""
    passage_prompt: str = ""
    """Put before every passage."""
    max_query_length: int = 512
    """The most tokens of a query, including its prompt and special tokens; longer queries are cut."""
    max_passage_length: int = 512
    """The most tokens of a passage, including its prompt and special tokens; longer passages are cut."""


@dataclass(frozen=True)
class TextEncoder:
    """Turns texts into vectors of length 1, on all devices of `mesh`.

    `encode_queries(texts)` and `encode_passages(texts)` take any iterable of strings, which is read lazily, and return
    float32[texts, dim] in the same order. An empty text gets the vector of its prompt and special tokens.
    """

    tokenizer: Tokenizer
    model: ModelConfig
    rules: TextRules
    parameters: Parameters
    mesh: Mesh
    origin: Origin
    """Where the encoder was loaded from."""

    @property
    def dim(self) -> int:
        """The number of dimensions of a vector."""
        return self.model.dim

    def encode_queries(self, texts: Iterable[str], progress: bool | None = None) -> Float[np.ndarray, "texts dim"]:
        """Encodes queries. `progress` shows a progress bar; None shows it only if stderr is a terminal.

        Raises TypeError for a single string and for an item that is no string, ValueError for a string that holds half
        of a surrogate pair. The messages name the item's position, counted from 0.
        """
        return self._encode("queries", texts, self.rules.query_prompt, self.rules.max_query_length, progress)

    def encode_passages(self, texts: Iterable[str], progress: bool | None = None) -> Float[np.ndarray, "texts dim"]:
        """Encodes passages, as `encode_queries` does queries."""
        return self._encode("passages", texts, self.rules.passage_prompt, self.rules.max_passage_length, progress)

    def similarity(
        self, queries: Float[np.ndarray, "queries dim"], passages: Float[np.ndarray, "passages dim"]
    ) -> Float[np.ndarray, "queries passages"]:
        """The cosine of every query with every passage, which is their dot product since both have length 1."""
        return queries @ passages.T

    def _encode(
        self, side: Side, texts: Iterable[str], prompt: str, limit: int, progress: bool | None
    ) -> Float[np.ndarray, "texts dim"]:
        if isinstance(texts, str):
            raise TypeError(f"encode_{side} takes a list of texts, not one text: write [{texts[:30]!r}]")
        total = len(texts) if hasattr(texts, "__len__") else None  # pyright: ignore[reportArgumentType]
        disable = None if progress is None else not progress
        vectors: list[np.ndarray] = []
        with tqdm(total=total, desc=f"encoding {side}", unit="text", disable=disable, leave=False) as bar:
            for number, chunk in enumerate(_chunks(texts, TEXTS_AT_ONCE)):
                _check_texts(chunk, number * TEXTS_AT_ONCE, side)
                ids, _ = self.tokenizer.encode([prompt + text for text in chunk], limit)
                vectors.append(self._encode_tokens(side, ids, limit, bar))
        return np.concatenate(vectors) if vectors else np.empty((0, self.dim), np.float32)

    def _encode_tokens(self, side: Side, ids: list[np.ndarray], limit: int, bar: Any) -> np.ndarray:
        """float32[texts, dim], in the order of `ids`; the longest texts are encoded first."""
        lengths = np.array([len(row) for row in ids])
        order = np.argsort(-lengths, kind="stable")
        vectors = np.empty((len(ids), self.dim), np.float32)
        start, encode = 0, _compiled(self.model, side)  # pyright: ignore[reportArgumentType]  # frozen: hashable
        while start < len(order):
            length = next((b for b in BUCKETS if lengths[order[start]] <= b < limit), limit)
            rows = min(max(1, TOKENS_PER_BATCH // length), 1 << (len(order) - start - 1).bit_length())
            rows = -(-rows // self.mesh.size) * self.mesh.size
            batch_texts = order[start : start + rows]
            tokens = np.full((rows, length), self.tokenizer.pad_id, np.int32)
            segments = np.zeros((rows, length), np.int32)
            for row, text in enumerate(batch_texts):
                tokens[row, : lengths[text]] = ids[text]
                segments[row, : lengths[text]] = 1
            batch = put_batch(self.mesh, {"tokens": tokens, "segments": segments})
            encoded = encode(self.parameters, batch["tokens"], batch["segments"])
            vectors[batch_texts] = np.asarray(encoded)[: len(batch_texts)]
            start += len(batch_texts)
            bar.update(len(batch_texts))
        return vectors


@cache
def _compiled(model: ModelConfig, side: Side) -> Callable[[Parameters, jax.Array, jax.Array], jax.Array]:
    """The jitted encoder of one side. Cached, so that encoders of the same architecture are compiled once."""
    code, _ = abstract(model)

    def encode(parameters: Parameters, tokens: jax.Array, segments: jax.Array) -> jax.Array:
        return getattr(bind(code, parameters), f"encode_{side}")(tokens, segments)

    return jax.jit(encode)


def _chunks(texts: Iterable[str], size: int) -> Iterator[list[str]]:
    remaining = iter(texts)
    while chunk := list(islice(remaining, size)):
        yield chunk


def _check_texts(texts: list[Any], first: int, side: Side) -> None:
    """Raises TypeError or ValueError for the first of `texts` that the tokenizer cannot take."""
    for position, text in enumerate(texts, start=first):
        if not isinstance(text, str):
            raise TypeError(
                f'encode_{side}: text {position} is a {show(text)}, not a text; leave it out or give "" for it'
            )
        if not text.isascii() and SURROGATE.search(text):
            raise ValueError(
                f"encode_{side}: text {position} holds half of a surrogate pair ({show(text)}), which no encoding can "
                "hold; remove it, for instance with text.encode(errors='ignore').decode()"
            )
