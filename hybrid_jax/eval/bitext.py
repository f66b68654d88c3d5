"""Bitext mining: how well embeddings find the translation of each sentence, by three published scores.

Similarities are exact (`scores.on_grid`), so equal vectors are equally similar; the smaller row wins a tie.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from hybrid_jax.eval.encode import Encoder, encode_distinct
from hybrid_jax.eval.measures.catalogue import BITEXT
from hybrid_jax.eval.report.schema import BitextPair, BitextResult
from hybrid_jax.eval.tasks.base import BitextTask
from hybrid_jax.search.scores import check_unit, on_grid

NEIGHBOURS = 4
"""k of the margin, as in Artetxe & Schwenk 2019."""

Similarity = Float64[np.ndarray, "left right"]


class Mined(NamedTuple):
    """Pairs of a left row and a right row, and their margins, best first. No row is in two pairs."""

    pairs: Int[np.ndarray, "mined 2"]
    margins: Float[np.ndarray, " mined"]


class BestF1(NamedTuple):
    """The best F1, and its threshold: pairs with at least this margin are taken."""

    f1: float
    threshold: float


def evaluate(encoder: Encoder, task: BitextTask, *, report: Callable[[int], None] = lambda _: None) -> BitextResult:
    """Scores all pairs of a task; `report` is called with how many pairs are done.

    Both sides are encoded as queries: they are sentences of one kind, and the model cards of models with prompts (E5)
    give such texts the query's.
    """
    pairs: dict[str, BitextPair] = {}
    previous_texts, left = None, np.zeros((0, 0), np.float32)
    for (left_language, right_language), (texts, translations) in task.pairs.items():
        if texts is not previous_texts:  # one language paired with many is encoded once
            previous_texts, left = texts, encode_distinct(encoder.encode_queries, texts)
        right = encode_distinct(encoder.encode_queries, translations)
        pairs[f"{left_language}-{right_language}"] = score(left, right)
        report(len(pairs))
    means = {name: float(np.mean([pair[name] for pair in pairs.values()])) for name in BITEXT}
    sentences = sum(pair.sentences for pair in pairs.values())
    return BitextResult(sentences=sentences, about=task.about, pairs=pairs, **means)


def score(left: Float[np.ndarray, "rows dim"], right: Float[np.ndarray, "rows dim"]) -> BitextPair:
    """The scores of two sets of embeddings whose rows translate each other.

    "Forward" is from left to right. The metrics are `accuracy` in each direction and its mean, `weighted_f1` in each
    direction (mteb's main score), and `best_f1` of `mine`.
    """
    similarity = similarities(left, right)
    forward, backward = accuracy(similarity), accuracy(similarity.T)
    margin = best_f1(mine(similarity), len(left))
    values = {
        "accuracy": (forward + backward) / 2,
        "accuracy_forward": forward,
        "accuracy_backward": backward,
        "weighted_f1_forward": weighted_f1(similarity),
        "weighted_f1_backward": weighted_f1(similarity.T),
        "margin_f1": margin.f1,
    }
    return BitextPair(sentences=len(left), margin_threshold=margin.threshold, **values)


def similarities(left: Float[np.ndarray, "left dim"], right: Float[np.ndarray, "right dim"]) -> Similarity:
    """The exact cosine of every pair (32 MB for 2,000 sentences). Raises ValueError unless all vectors have norm 1."""
    check_unit(left, "left")
    check_unit(right, "right")
    return on_grid(left) @ on_grid(right).T


def accuracy(similarity: Similarity) -> float:
    """Share of the left sentences whose most similar right sentence is their translation (XTREME's Tatoeba score)."""
    return float((similarity.argmax(axis=1) == np.arange(len(similarity))).mean())


def weighted_f1(similarity: Similarity) -> float:
    """scikit-learn's weighted F1 of the most similar right sentence as a label, mteb's main score.

    Every label is true once, so its F1 is 2 / (1 + how often it is predicted) where its own sentence predicts it, and
    0 elsewhere: an accuracy that is lower where one sentence is the nearest of many.
    """
    best = similarity.argmax(axis=1)
    predicted = np.bincount(best, minlength=similarity.shape[1])
    correct = best == np.arange(len(best))
    return float(np.where(correct, 2 / (1 + predicted[best]), 0.0).mean())


def mine(similarity: Similarity, neighbours: int = NEIGHBOURS) -> Mined:
    """Pairs by ratio margin with the "max" strategy of Artetxe & Schwenk 2019 (arXiv 1811.01136, eq. 3 and section 4).

    margin(x, y) = cos(x, y) / (mean cos of x with its k nearest + mean cos of y with its k nearest) * 2. Every sentence
    of either side proposes the one with the greatest margin among its k nearest. Proposals are taken in descending
    order of their margin, except where one of the two sentences is in a pair already (LASER's mine_bitexts.py). A pair
    whose mean is not positive has no meaningful margin and is not proposed.
    """
    near_left, mean_left = _nearest(similarity, neighbours)
    near_right, mean_right = _nearest(similarity.T, neighbours)
    means = (mean_left[:, None] + mean_right) / 2
    margin = np.divide(similarity, means, out=np.full_like(similarity, -np.inf), where=means > 0)
    from_left = np.where(near_left, margin, -np.inf)
    from_right = np.where(near_right.T, margin, -np.inf)
    rows, columns = np.arange(similarity.shape[0]), np.arange(similarity.shape[1])
    proposed = np.concatenate(
        [np.stack([rows, from_left.argmax(axis=1)], axis=1), np.stack([from_right.argmax(axis=0), columns], axis=1)]
    )
    margins = np.concatenate([from_left.max(axis=1), from_right.max(axis=0)])
    taken: list[int] = []
    left_used, right_used = set[int](), set[int]()
    for place in np.argsort(-margins, kind="stable").tolist():
        i, j = proposed[place].tolist()
        if np.isfinite(margins[place]) and i not in left_used and j not in right_used:
            taken.append(place)
            left_used.add(i)
            right_used.add(j)
    return Mined(proposed[taken], margins[taken])


def best_f1(mined: Mined, translations: int) -> BestF1:
    """The greatest F1 that any threshold on the margin gives, as LASER's bucc.py does; (i, i) are the true pairs.

    The threshold is chosen on the pairs that are scored, so this is an upper bound on the F1 of a tuned threshold. No
    threshold separates pairs of equal margin, so these are taken together.
    """
    if not len(mined.pairs):
        return BestF1(0.0, 0.0)
    correct = np.cumsum(mined.pairs[:, 0] == mined.pairs[:, 1])
    f1 = 2 * correct / (np.arange(1, len(correct) + 1) + translations)
    f1[:-1][mined.margins[:-1] == mined.margins[1:]] = -1.0
    best = int(f1.argmax())
    return BestF1(float(f1[best]), float(mined.margins[best]))


def _nearest(similarity: Similarity, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Which columns are among the `count` most similar to each row, with all that tie for the last place; and the mean
    cosine of the `count`."""
    count = min(count, similarity.shape[1])
    top = np.partition(similarity, -count, axis=1)[:, -count:]
    return similarity >= top.min(axis=1, keepdims=True), top.mean(axis=1)
