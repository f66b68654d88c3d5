"""What evaluation needs of a model, and how it asks for embeddings: each distinct text once."""

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

Encode = Callable[[Sequence[str]], np.ndarray]


@runtime_checkable
class Encoder(Protocol):
    """A model: both methods return one float32 unit vector per text, as rows."""

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray: ...

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray: ...


@runtime_checkable
class Debiasing(Protocol):
    """A change of embeddings whose languages are given, made before they are compared; it returns unit vectors too."""

    def queries(self, vectors: np.ndarray, languages: Sequence[str]) -> np.ndarray: ...

    def passages(self, vectors: np.ndarray, languages: Sequence[str]) -> np.ndarray: ...


def encode_rows(encode: Encode, texts: Sequence[str]) -> Float[np.ndarray, "texts dim"]:
    """What `encode` returns for the texts. Raises ValueError unless it has one row per text."""
    vectors = np.asarray(encode(texts))
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise ValueError(
            f"the encoder returned shape {vectors.shape} for {len(texts)} texts: expected one row per text"
        )
    return vectors


def encode_distinct(encode: Encode, texts: Sequence[str]) -> Float[np.ndarray, "texts dim"]:
    """One row per text, from one call with each distinct text once.

    This saves work, and gives equal texts equal vectors, which two batches might not. Raises ValueError as
    `encode_rows` does.
    """
    row = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return encode_rows(encode, list(row))[[row[text] for text in texts]]


class RememberingEncoder:
    """An encoder that encodes each distinct query and passage once, however many calls ask for it.

    It keeps every embedding in memory, so it is for tasks whose candidates fit there.
    """

    def __init__(self, encoder: Encoder):
        self._encoder = encoder
        self._query_vectors: dict[str, np.ndarray] = {}
        self._passage_vectors: dict[str, np.ndarray] = {}

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return _remember(self._query_vectors, self._encoder.encode_queries, texts)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        return _remember(self._passage_vectors, self._encoder.encode_passages, texts)


def _remember(vectors: dict[str, np.ndarray], encode: Encode, texts: Sequence[str]) -> np.ndarray:
    new_texts = list(dict.fromkeys(text for text in texts if text not in vectors))
    if new_texts:
        vectors.update(zip(new_texts, encode_rows(encode, new_texts), strict=True))
    return np.stack([vectors[text] for text in texts])
