"""Unit vectors in fewer bits, and what that does to scores.

float16 rounds every number to 11 significant bits. int8 scales each row so that its largest number becomes ±127, and
rounds to whole numbers. The scale is not stored: rows have length 1, so `dequantize` divides each by its norm. A row of
zeros stays one.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float, Float32
from pydantic import BaseModel, ConfigDict

Dtype = Literal["float32", "float16", "int8"]
SAMPLED_QUERIES, SAMPLED_ROWS, TOP = 256, 16_384, 10


class QuantizationLoss(BaseModel):
    """What a smaller type does to scores, measured by searching float32 rows among their stored versions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_score_error: float
    """The largest change of a score."""
    top_10_overlap: float
    """The share of the ten best rows, not counting the query itself, that are still among the ten best."""
    queries: int
    """How many rows were used as queries."""
    rows: int
    """How many rows were searched."""


def quantize(vectors: Float[np.ndarray, "rows dim"], dtype: Dtype) -> np.ndarray:
    """Unit vectors as they are stored: an array of `dtype`, of the same shape."""
    if dtype != "int8":
        return vectors.astype(dtype)
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    return np.rint(vectors * (127 / np.where(largest == 0, 1, largest))).astype(np.int8)


def dequantize(stored: np.ndarray) -> Float32[np.ndarray, "rows dim"]:
    """Unit vectors from what `quantize` returned."""
    if stored.dtype != np.int8:
        return np.asarray(stored, np.float32)
    rows = stored.astype(np.float32)
    norms = np.sqrt(np.einsum("rd,rd->r", rows, rows, dtype=np.float64)).astype(np.float32)[:, None]
    return rows / np.where(norms == 0, 1, norms)


def measure_loss(vectors: Float[np.ndarray, "rows dim"], stored: np.ndarray) -> QuantizationLoss:
    """Searches evenly spaced rows among the first `SAMPLED_ROWS`, before and after quantization."""
    exact = vectors[:SAMPLED_ROWS].astype(np.float64)
    restored = dequantize(stored[:SAMPLED_ROWS]).astype(np.float64)
    queries = np.linspace(0, len(exact) - 1, min(SAMPLED_QUERIES, len(exact))).astype(np.int64)
    exact_scores, restored_scores = exact[queries] @ exact.T, exact[queries] @ restored.T
    error = float(np.abs(exact_scores - restored_scores).max())
    k = min(TOP, len(exact) - 1)
    for scores in (exact_scores, restored_scores):
        scores[np.arange(len(queries)), queries] = -np.inf  # a row is its own best match in any type
    best, best_restored = (
        np.argsort(-scores, axis=1, kind="stable")[:, :k] for scores in (exact_scores, restored_scores)
    )
    shared = sum(len(np.intersect1d(left, right)) for left, right in zip(best, best_restored, strict=True))
    overlap = shared / (k * len(queries)) if k else 1.0
    return QuantizationLoss(max_score_error=error, top_10_overlap=overlap, queries=len(queries), rows=len(exact))
