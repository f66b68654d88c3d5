"""Modes of search in a pool of several languages: is an answer missed by its meaning, or outranked by other languages?

A query is scored once for each language that holds answers to it. Its answers in other languages are then neither right
nor wrong: they are taken out of the ranking. So the three modes look for the same answers, in other lists:

* pooled: the candidates of all languages, ranked by score.
* language_oracle: the candidates of the answers' language alone, as if somebody had told which language to search in.
* balanced: the best of every language by score, then the second of every language by score, and so on; the first k L
  places hold k of each of L languages. This is reciprocal rank fusion of the languages' own lists.

Where a query has answers in one language only, "pooled" is the plain search. The oracle is never worse than the pooled
search: what it gains are failures to rank languages together, what it still misses are failures to match. From
arXiv 2507.07543, which searches with a language oracle, and with equal numbers of passages from two languages; the
order within the balanced list, and what becomes of answers in other languages, are ours.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hybrid_jax.eval.measures import metrics
from hybrid_jax.eval.measures.catalogue import FULL_RANKING
from hybrid_jax.eval.measures.parts import Mode, Part
from hybrid_jax.eval.tasks import RetrievalTask
from hybrid_jax.search.scores import Ranks

PairRanks = Int[np.ndarray, " pairs"]
ByMode = Mapping[Part, Mapping[str, Float[np.ndarray, " queries"]]]
"""{mode: {metric: a value per query}}."""


class _Answers(NamedTuple):
    """The relevant pairs of a task: query row, language of the answer as a number, and candidates by language."""

    query: PairRanks
    language: PairRanks
    candidates: Int[np.ndarray, " languages"]


def full_ranking_modes(task: RetrievalTask, ranks: Ranks) -> ByMode:
    """Every query's value of the `FULL_RANKING` metrics in each mode: the mean over the languages of its answers.

    Empty for a task whose candidates are all in one language, in which the modes are the same.
    """
    names = sorted({row.language for row in task.candidates})
    if len(names) < 2:
        return {}
    number = {name: place for place, name in enumerate(names)}
    languages = np.array([number[row.language] for row in task.candidates])
    query, answer = task.relevance.T
    answers = _Answers(query, languages[answer], np.bincount(languages, minlength=len(names)))
    group = query * len(names) + answers.language
    return {
        mode: {name: _by_query(group, len(names), metric.values, rank) for name, metric in FULL_RANKING.items()}
        for mode, rank in _mode_ranks(answers, ranks).items()
    }


def _mode_ranks(answers: _Answers, ranks: Ranks) -> Mapping[Mode, PairRanks]:
    """The rank of every relevant pair in each mode, without the query's answers in other languages."""
    pairs, own = np.arange(len(answers.query)), answers.language
    answers_above, answers_in = _answers_by_language(answers, ranks.pooled)
    above = ranks.above - answers_above
    above[pairs, own] = ranks.above[pairs, own]
    sizes = answers.candidates - answers_in[answers.query]
    place = ranks.in_language[:, None]
    # Of another language, all candidates that are better in their own list come first, and the equally placed one if it
    # scores more.
    before = np.minimum(place - 1, sizes) + (above >= place)
    before[pairs, own] = above[pairs, own]
    return {
        "pooled": 1 + above.sum(axis=1, dtype=np.int64),
        "language_oracle": ranks.in_language,
        "balanced": 1 + before.sum(axis=1, dtype=np.int64),
    }


def _answers_by_language(
    answers: _Answers, pooled: PairRanks
) -> tuple[Int[np.ndarray, "pairs languages"], Int[np.ndarray, "queries languages"]]:
    """How many of the query's answers in each language rank before each pair, and how many each query has."""
    count = len(answers.candidates)
    totals = np.zeros((int(answers.query.max(initial=-1)) + 1, count), np.int64)
    np.add.at(totals, (answers.query, answers.language), 1)
    order = np.lexsort((pooled, answers.query))
    one_hot = np.eye(count, dtype=np.int64)[answers.language[order]]
    before = np.cumsum(one_hot, axis=0) - one_hot  # of all queries up to here
    before -= (np.cumsum(totals, axis=0) - totals)[answers.query[order]]
    above = np.empty_like(before)
    above[order] = before
    return above, totals


def _by_query(
    group: PairRanks, languages: int, score: Callable[[metrics.RankRows], metrics.PerQuery], ranks: PairRanks
) -> Float[np.ndarray, " queries"]:
    """The mean over the languages of each query's answers; every query has answers."""
    values = score(metrics.rank_rows(group, ranks))
    query = np.unique(group) // languages
    return np.bincount(query, values) / np.bincount(query)
