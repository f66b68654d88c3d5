"""Bitext mining: how well embeddings find the translation of each sentence.

Knows: two sets of unit vectors whose rows translate each other, and the three published scores. Does not know: files
and languages (`tasks/bitext.py`), models.

Similarities are exact (`scores.on_grid`), so equal vectors are equally similar; the smaller row wins a tie.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from hybrid_jax.eval.full_ranking import Encoder, Result
from hybrid_jax.eval.tasks.base import BitextTask
from hybrid_jax.search.scores import check_unit, on_grid

NEIGHBOURS = 4
"""k of the margin, as in Artetxe & Schwenk 2019."""
PER_PAIR = ("sentences", "margin_threshold")
"""What of a pair's values has no meaningful mean."""

Similarity = Float64[np.ndarray, "left right"]


class Mined(NamedTuple):
    """Pairs (left row, right row), each row in one pair at most, the best first; and their margins."""

    pairs: Int[np.ndarray, "mined 2"]
    margins: Float[np.ndarray, " mined"]


class BestF1(NamedTuple):
    """F1 at its best threshold: pairs of that margin or a greater one are taken."""

    f1: float
    threshold: float


def evaluate(encoder: Encoder, task: BitextTask, *, report: Callable[[int], None] = lambda _: None) -> Result:
    """All pairs of a task, as plain JSON values; `report` is told how many are done.

    "sentences", "about"; "pairs": {"eng_Latn-deu_Latn": what `score` returns}; and its figures' means over the pairs.
    Both sides are encoded as queries: sentences are alike, and models with prompts ask for the query's where they are
    (E5's model card).
    """
    pairs: dict[str, Result] = {}
    left_texts, left = None, np.zeros((0, 0), np.float32)
    for (one, other), (texts, translations) in task.pairs.items():
        if texts is not left_texts:  # one language against many is encoded once
            left_texts, left = texts, _encode(encoder, texts)
        right = _encode(encoder, translations)
        pairs[f"{one}-{other}"] = {"sentences": len(texts), **score(left, right)}
        report(len(pairs))
    rows = list(pairs.values())
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name not in PER_PAIR}
    return {"sentences": sum(row["sentences"] for row in rows), "about": task.about, **means, "pairs": pairs}


def score(left: Float[np.ndarray, "rows dim"], right: Float[np.ndarray, "rows dim"]) -> dict[str, float]:
    """The scores of two sets of embeddings; row i of one translates row i of the other.

    "accuracy_forward", "accuracy_backward", "accuracy" (their mean): `accuracy` from left to right, and back;
    "weighted_f1_forward", "weighted_f1_backward": `weighted_f1`, mteb's main score of bitext mining;
    "margin_f1", "margin_threshold": `best_f1` of `mine`.
    """
    similarity = similarities(left, right)
    forward, backward = accuracy(similarity), accuracy(similarity.T)
    margin = best_f1(mine(similarity), len(left))
    return {
        "accuracy": (forward + backward) / 2,
        "accuracy_forward": forward,
        "accuracy_backward": backward,
        "weighted_f1_forward": weighted_f1(similarity),
        "weighted_f1_backward": weighted_f1(similarity.T),
        "margin_f1": margin.f1,
        "margin_threshold": margin.threshold,
    }


def similarities(left: Float[np.ndarray, "left dim"], right: Float[np.ndarray, "right dim"]) -> Similarity:
    """All cosines, exactly; the whole matrix, 32 MB for 2,000 sentences. Raises ValueError unless all have norm 1."""
    check_unit(left, "left")
    check_unit(right, "right")
    return on_grid(left) @ on_grid(right).T


def accuracy(similarity: Similarity) -> float:
    """Share of the left sentences whose most similar right sentence is their translation (XTREME's Tatoeba score)."""
    return float((similarity.argmax(axis=1) == np.arange(len(similarity))).mean())


def weighted_f1(similarity: Similarity) -> float:
    """scikit-learn's weighted F1 of the most similar right sentence as a label, mteb's main score.

    Every label is true once, so its F1 is 2 / (1 + how often it was predicted) where its own sentence predicts it, and
    0 elsewhere: accuracy, lowered where one sentence draws many.
    """
    best = similarity.argmax(axis=1)
    drawn = np.bincount(best, minlength=similarity.shape[1])
    right = best == np.arange(len(best))
    return float(np.where(right, 2 / (1 + drawn[best]), 0.0).mean())


def mine(similarity: Similarity, neighbours: int = NEIGHBOURS) -> Mined:
    """Pairs by ratio margin with the "max" strategy of Artetxe & Schwenk 2019 (arXiv 1811.01136, eq. 3 and section 4).

    margin(x, y) = cos(x, y) / (mean cos of x with its k nearest + mean cos of y with its k nearest) * 2. Every sentence
    of either side proposes, among its k nearest, the one of greatest margin; proposals are taken from the greatest
    margin on, unless one of their sentences is in a pair already (LASER's mine_bitexts.py). Where the mean is not
    positive a margin means nothing, and the pair is not proposed.
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
    """The greatest F1 that any threshold on the margin gives, as LASER's bucc.py does; rows i and i are the true pairs.

    The threshold is chosen on the pairs that are scored, so this is an upper bound and not a tuned system's figure.
    Pairs of equal margin are taken together, which no threshold can part.
    """
    if not len(mined.pairs):
        return BestF1(0.0, 0.0)
    correct = np.cumsum(mined.pairs[:, 0] == mined.pairs[:, 1])
    f1 = 2 * correct / (np.arange(1, len(correct) + 1) + translations)
    f1[:-1][mined.margins[:-1] == mined.margins[1:]] = -1.0
    best = int(f1.argmax())
    return BestF1(float(f1[best]), float(mined.margins[best]))


def _encode(encoder: Encoder, texts: Sequence[str]) -> Float[np.ndarray, "rows dim"]:
    """Each distinct sentence once, so that equal ones get equal vectors whatever batch they would have been in."""
    number = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    return np.asarray(encoder.encode_queries(list(number)))[[number[text] for text in texts]]


def _nearest(similarity: Similarity, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Which columns are among a row's `count` most similar (with all that tie for the last), and their mean cosine."""
    count = min(count, similarity.shape[1])
    top = np.partition(similarity, -count, axis=1)[:, -count:]
    return similarity >= top.min(axis=1, keepdims=True), top.mean(axis=1)
