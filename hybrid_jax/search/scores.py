"""Exact scores, and the rule for ties: the same numbers on any machine.

Why no block size, thread count or machine changes a score. A float32 matrix product adds in an order that depends on
the shape of the block, so the same pair can score differently in its last bits, and two equal candidates may no longer
tie. Rounding such scores to a grid only moves the problem to the edges of the grid. So the *embeddings* are rounded
instead, to multiples of 2^-26 (finer than the error of a float32 product of unit vectors), and multiplied in float64.
Every product is then a multiple of 2^-52 and every partial sum stays below 2, which fits float64's 53 bits. All
additions are exact, so their order does not matter, and equal embeddings have equal scores.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

GRID = 2.0**26
TIE_RULE = "equal scores: the greater (language, candidate id) ranks first, the order of trec_eval on such names"
SCORES = "exact dot products of unit embeddings rounded to multiples of 2^-26"
PAIRS_AT_ONCE = 128
"""Exact scores computed at a time, so that their float64 vectors fit in a core's cache."""


class Ranks(NamedTuple):
    """Ranks of relevant (query, candidate) pairs, from 1: among the candidates of one language, and among all."""

    in_language: Int[np.ndarray, " pairs"]
    pooled: Int[np.ndarray, " pairs"]
    above: Int[np.ndarray, "pairs languages"]
    """How many candidates of each language rank before the pair's; the languages are sorted by their codes."""


def tie_order(languages: Sequence[str], ids: Sequence[str]) -> Int[np.ndarray, " candidates"]:
    """Candidate rows, from the one that wins every tie to the one that loses every tie. Languages are contiguous."""
    return np.array(sorted(range(len(ids)), key=lambda row: (languages[row], ids[row]), reverse=True), dtype=np.int64)


def on_grid(vectors: Float[np.ndarray, "rows dim"]) -> Float64[np.ndarray, "rows dim"]:
    """The vectors rounded to multiples of 2^-26."""
    # Float64 numbers near 1.5 * 2^26 are multiples of 2^-26, so adding it rounds to those, half to even. Subtracting it
    # is exact.
    rounded = vectors.astype(np.float64)
    rounded += 1.5 * GRID
    rounded -= 1.5 * GRID
    return rounded


def check_unit(vectors: Float[np.ndarray, "rows dim"], side: str) -> None:
    """Raises ValueError unless all vectors are finite and have norm 1, which exact scores rely on."""
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    wrong = np.flatnonzero(~(np.abs(norms - 1) < 1e-3))  # a comparison with NaN is false, so NaN is wrong too
    if len(wrong):
        raise ValueError(
            f"{side} embedding {wrong[0]} has norm {norms[wrong[0]]:g} ({len(wrong)} of {len(norms)} are wrong): "
            "the encoder must return finite vectors of norm 1"
        )


def product_error(dim: int) -> float:
    """The most that a float32 product of two unit vectors can differ from their exact score, in any order of additions.

    With u = 2^-24, this is the sum of dim * u / (1 - dim * u) for the products and sums (Higham, Accuracy and Stability
    of Numerical Algorithms, 3.5, times norms of at most 1.001), sqrt(dim) * u / 4 for rounding the vectors to the grid,
    and u for rounding the score. The rest is slack: for vectors that were rounded to float32, and for a TPU's float32,
    which is made of bfloat16 products that keep 22 bits.
    """
    return (1.01 * dim + np.sqrt(dim) + 16) * 2.0**-24


def pair_scores(
    left: Float64[np.ndarray, "queries dim"],
    right: Float[np.ndarray, "candidates dim"],
    queries: Int[np.ndarray, " pairs"],
    candidates: Int[np.ndarray, " pairs"],
) -> Float64[np.ndarray, " pairs"]:
    """The exact scores of single pairs of rows. `left` is on the grid; so is `right` if float64, else it is rounded."""
    scores = np.empty(len(queries))
    for a in range(0, len(queries), PAIRS_AT_ONCE):
        pairs = slice(a, a + PAIRS_AT_ONCE)
        rows = right[candidates[pairs]]
        rows = rows if rows.dtype == np.float64 else on_grid(rows)
        scores[pairs] = np.einsum("pd,pd->p", left[queries[pairs]], rows)
    return scores
