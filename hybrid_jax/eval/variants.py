"""Changes of finished embeddings under which a task is evaluated again: debiasing, and CSLS.

CSLS (Conneau et al. 2018, arXiv 1710.04087; at score time of retrieval: arXiv 2605.26575) scores a query q and a
candidate d with 2 cos(q, d) - r_D(q) - r_Q(d), where r is the mean cosine to the k nearest of the other side. It lowers
hubs: candidates that are near to many queries. Within a query's ranking r_D(q) is a constant and changes nothing. What
is left is an exact dot product: with unit vectors

    q' = (q, 1/2, 0) / sqrt(5/4)        d' = (d, -r_Q(d), sqrt(1 - r_Q(d)^2)) / sqrt(2)

q' d' is (2 cos(q, d) - r_Q(d)) / sqrt(10). So every search, rank and measure works as on any other embeddings.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from hybrid_jax.eval.encode import Debiasing
from hybrid_jax.search.top_k import top_k

CSLS = "csls"
NEIGHBOURS = 10
"""k of CSLS, as in Conneau et al. 2018."""


@dataclass(frozen=True)
class Changed:
    """Changed queries, and how to change candidates, whose languages are given: both unit vectors."""

    queries: Float[np.ndarray, "queries dim"]
    passages: Callable[[np.ndarray, Sequence[str]], np.ndarray]


Variant = Callable[[np.ndarray, Sequence[str]], Changed]
"""All queries of a task and their languages -> the changed queries, and how candidates are changed."""


def debiased(debiasing: Debiasing) -> Variant:
    """Embeddings after debiasing."""
    return lambda queries, languages: Changed(debiasing.queries(queries, languages), debiasing.passages)


def csls(neighbours: int = NEIGHBOURS) -> Variant:
    """Embeddings whose dot products rank candidates as CSLS does; a candidate's neighbours are the task's queries.

    It needs all queries together, in every language, so a ranking depends on which other queries are asked.
    """

    def change(queries: np.ndarray, languages: Sequence[str]) -> Changed:
        near = queries.astype(np.float32)
        count = min(neighbours, len(near))

        def passages(vectors: np.ndarray, languages: Sequence[str]) -> np.ndarray:
            nearest = top_k(vectors.astype(np.float32), [near], count).scores
            mean = nearest.astype(np.float64).mean(axis=1, keepdims=True).clip(-1, 1)
            return _unit(vectors, -mean, np.sqrt(1 - mean**2), np.sqrt(2))

        ones = np.ones((len(queries), 1))
        return Changed(_unit(queries, ones / 2, 0 * ones, np.sqrt(5 / 4)), passages)

    return change


def _unit(vectors: np.ndarray, first: np.ndarray, second: np.ndarray, norm: float) -> Float[np.ndarray, "rows longer"]:
    return (np.concatenate([vectors, first, second], axis=1) / norm).astype(np.float32)
