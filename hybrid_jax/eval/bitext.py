"""Bitext mining: how well embeddings find the translation of each sentence, by three published scores.

Similarities are exact (`scores.on_grid`), so equal vectors are equally similar; the smaller row wins a tie.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from hybrid_jax.eval.encode import Debiasing, Encoder, encode_distinct
from hybrid_jax.eval.measures import macro
from hybrid_jax.eval.measures.catalogue import BITEXT
from hybrid_jax.eval.measures.per_query import Table
from hybrid_jax.eval.report.schema import BitextPair, BitextResult
from hybrid_jax.eval.tasks.base import BitextTask
from hybrid_jax.eval.variants import CSLS
from hybrid_jax.eval.variants import NEIGHBOURS as CSLS_NEIGHBOURS
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


class Measured(NamedTuple):
    """What was measured of one bitext task."""

    result: BitextResult
    per_query: Table
    """Every sentence pair's values; the language is the pair of languages."""


def evaluate(encoder: Encoder, task: BitextTask, *, report: Callable[[int], None] = lambda _: None) -> BitextResult:
    """Scores all pairs of a task; see `measure`."""
    return measure(encoder, task, report=report)[""].result


def measure(
    encoder: Encoder,
    task: BitextTask,
    debias: Mapping[str, Debiasing] | None = None,
    *,
    csls: bool = False,
    report: Callable[[int], None] = lambda _: None,
) -> dict[str, Measured]:
    """Scores all pairs of a task: {"": the model itself, name of a debiasing: after it, "csls": by CSLS}.

    `report` is called with how many pairs are done. Both sides are encoded as queries: they are sentences of one kind,
    and the model cards of models with prompts (E5) give such texts the query's.
    """
    names = ("", *(debias or {}), *((CSLS,) if csls else ()))
    scored: dict[str, dict[str, Scored]] = {name: {} for name in names}
    previous_texts, left = None, np.zeros((0, 0), np.float32)
    for number, ((left_language, right_language), (texts, translations)) in enumerate(task.pairs.items(), start=1):
        if texts is not previous_texts:  # one language paired with many is encoded once
            previous_texts, left = texts, encode_distinct(encoder.encode_queries, texts)
        right = encode_distinct(encoder.encode_queries, translations)
        pair, similarity = f"{left_language}-{right_language}", similarities(left, right)
        scored[""][pair] = _score(similarity)
        for name, debiasing in (debias or {}).items():
            sides = ((left, left_language), (right, right_language))
            # As passages, since shift leaves queries as they are: it would change nothing.
            changed = (debiasing.passages(vectors, [language] * len(vectors)) for vectors, language in sides)
            scored[name][pair] = _score(similarities(*changed))
        if csls:
            scored[CSLS][pair] = _score(similarity, cross_domain(similarity))
        report(number)
    return {name: _measured(task, pairs) for name, pairs in scored.items()}


class Scored(NamedTuple):
    """The scores of one pair of languages, and those that are means over its sentences by sentence."""

    pair: BitextPair
    by_sentence: Mapping[str, Float[np.ndarray, " sentences"]]


def score(left: Float[np.ndarray, "rows dim"], right: Float[np.ndarray, "rows dim"]) -> BitextPair:
    """The scores of two sets of embeddings whose rows translate each other.

    "Forward" is from left to right. The metrics are `accuracy` in each direction and its mean, `weighted_f1` in each
    direction (mteb's main score), and `best_f1` of `mine`.
    """
    return _score(similarities(left, right)).pair


def _score(similarity: Similarity, nearness: Similarity | None = None) -> Scored:
    """With `nearness`, the most similar sentence is the one with the greatest nearness; the margin is a correction of
    its own and stays as it is."""
    near = similarity if nearness is None else nearness
    forward, backward = accuracy(near), accuracy(near.T)
    by_sentence = {
        "accuracy": (forward + backward) / 2,
        "accuracy_forward": forward,
        "accuracy_backward": backward,
        "weighted_f1_forward": weighted_f1(near),
        "weighted_f1_backward": weighted_f1(near.T),
    }
    margin = best_f1(mine(similarity), len(similarity))
    means = {name: float(values.mean()) for name, values in by_sentence.items()} | {"margin_f1": margin.f1}
    pair = BitextPair(sentences=len(similarity), margin_threshold=margin.threshold, **means)
    return Scored(pair, by_sentence)


def _measured(task: BitextTask, scored: Mapping[str, Scored]) -> Measured:
    """The means over the pairs of languages. A question is a line of parallel texts or, where each pair has sentences
    of its own, a left sentence, which several pairs may share."""
    number = {texts: str(place) for place, texts in enumerate(dict.fromkeys(tuple(s) for s, _ in task.pairs.values()))}
    ids, languages = list[str](), list[str]()
    for pair, (both, (texts, _)) in zip(scored, task.pairs.items(), strict=True):
        if task.lines:
            ids += [f"0:{line}" for line in task.lines[both]]  # as of one left text that all pairs share
        else:
            ids += [f"{number[tuple(texts)]}:{line}" for line in range(1, len(texts) + 1)]
        languages += [pair] * len(texts)
    values = {
        name: np.concatenate([each.by_sentence[name] for each in scored.values()])
        for name in next(iter(scored.values())).by_sentence
    }
    table = Table(dict(task.sources), tuple(ids), tuple(languages), further={"bitext": values})
    pairs = {pair: each.pair for pair, each in scored.items()}
    result = BitextResult(
        sentences=sum(pair.sentences for pair in pairs.values()),
        about=task.about,
        pairs=pairs,
        intervals=macro.limits(macro.estimates(table, values)),
        **{name: float(np.mean([pair[name] for pair in pairs.values()])) for name in BITEXT},
    )
    return Measured(result, table)


def cross_domain(similarity: Similarity, neighbours: int = CSLS_NEIGHBOURS) -> Similarity:
    """CSLS of every two sentences: 2 cos(x, y) - r(x) - r(y), r the mean cosine to the k nearest of the other side."""
    (_, left), (_, right) = _nearest(similarity, neighbours), _nearest(similarity.T, neighbours)
    return 2 * similarity - left[:, None] - right


def similarities(left: Float[np.ndarray, "left dim"], right: Float[np.ndarray, "right dim"]) -> Similarity:
    """The exact cosine of every pair (32 MB for 2,000 sentences). Raises ValueError unless all vectors have norm 1."""
    check_unit(left, "left")
    check_unit(right, "right")
    return on_grid(left) @ on_grid(right).T


def accuracy(similarity: Similarity) -> Float[np.ndarray, " left"]:
    """1 for a left sentence whose most similar right sentence is its translation, else 0 (XTREME's Tatoeba score)."""
    return (similarity.argmax(axis=1) == np.arange(len(similarity))).astype(np.float64)


def weighted_f1(similarity: Similarity) -> Float[np.ndarray, " left"]:
    """What each left sentence adds to scikit-learn's weighted F1, whose mean is mteb's main score.

    The most similar right sentence is the predicted label. Every label is true once, so its F1 is 2 / (1 + how often it
    is predicted) where its own sentence predicts it, and 0 elsewhere: an accuracy that is lower where one sentence is
    the nearest of many.
    """
    best = similarity.argmax(axis=1)
    predicted = np.bincount(best, minlength=similarity.shape[1])
    correct = best == np.arange(len(best))
    return np.where(correct, 2 / (1 + predicted[best]), 0.0)


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
