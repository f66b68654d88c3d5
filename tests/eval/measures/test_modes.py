"""Modes of search and the split of the first result: equal to a dense reference that sorts every list."""

import numpy as np
import pytest

from hybrid_jax.eval.full_ranking import evaluate
from hybrid_jax.eval.measures import metrics
from hybrid_jax.eval.measures.catalogue import FIRST_RESULT, FULL_RANKING
from hybrid_jax.eval.measures.first_result import of_ranking
from hybrid_jax.eval.measures.macro import limits
from hybrid_jax.eval.measures.modes import full_ranking_modes
from hybrid_jax.eval.measures.parts import MODES
from hybrid_jax.eval.ranking import rank_candidates
from hybrid_jax.eval.tasks import Candidate, Query, RetrievalTask


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def uneven_task(rng: np.random.Generator, queries: int = 14, candidates: int = 60) -> RetrievalTask:
    """Languages of very different sizes, one of a single candidate; 1 to 9 answers in any of them."""
    names = ["de", "en", "en", "en", "en", "sw", "th"]
    languages = ["zu", *(names[place] for place in rng.integers(0, len(names), candidates - 1))]
    relevance = [
        (query, answer)
        for query in range(queries)
        for answer in rng.choice(candidates, size=rng.integers(1, 10), replace=False)
    ]
    return RetrievalTask(
        name="uneven",
        queries=tuple(Query(f"q{n}", names[n % len(names)], f"query {n}") for n in range(queries)),
        candidates=tuple(Candidate(f"c{n:02}", languages[n], (f"passage {n}",)) for n in range(candidates)),
        relevance=np.array(rng.permutation(relevance)),
        candidate_texts=("passage",),
    )


def round_robin(lists: dict[str, list[int]], better: dict[int, int]) -> list[int]:
    """The best of every list, best first, then the second of every list, and so on."""
    merged: list[int] = []
    for place in range(max(map(len, lists.values()))):
        merged += sorted((row[place] for row in lists.values() if place < len(row)), key=better.__getitem__)
    return merged


def by_sorting(task: RetrievalTask, scores: np.ndarray) -> dict[str, dict[str, list[float]]]:
    """The definition: for every query and language of its answers, the sorted list of each mode, then the mean."""
    languages = [row.language for row in task.candidates]
    values: dict[str, dict[str, list[float]]] = {mode: {name: [] for name in FULL_RANKING} for mode in MODES}
    for query in range(len(task.queries)):
        answers = {int(answer) for row, answer in task.relevance if row == query}
        ranking = sorted(range(len(languages)), key=lambda row: (scores[query, row], languages[row], row), reverse=True)
        better = {row: place for place, row in enumerate(ranking)}
        found: dict[str, dict[str, list[float]]] = {mode: {name: [] for name in FULL_RANKING} for mode in MODES}
        for language in sorted({languages[row] for row in answers}):
            wanted = {row for row in answers if languages[row] == language}
            pooled = [row for row in ranking if row in wanted or row not in answers]
            lists = {name: [row for row in pooled if languages[row] == name] for name in set(languages)}
            order = {
                "pooled": pooled,
                "language_oracle": lists[language],
                "balanced": round_robin(lists, better),
            }
            for mode, row in order.items():
                ranks = np.array([[place for place, name in enumerate(row, start=1) if name in wanted]])
                for name, metric in FULL_RANKING.items():
                    found[mode][name].append(metric.values(ranks)[0])
        for mode in MODES:
            for name in FULL_RANKING:
                values[mode][name].append(float(np.mean(found[mode][name])))
    return values


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("ties", [False, True])
def test_modes_equal_sorted_lists(seed: int, ties: bool):
    rng = np.random.default_rng(seed)
    task = uneven_task(rng)
    if ties:  # few directions, so that most scores are equal and the tie rule decides
        queries, candidates = (np.eye(4, dtype=np.float32)[rng.integers(0, 4, size)] for size in (14, 60))
    else:
        queries, candidates = unit(rng.standard_normal((14, 6))), unit(rng.standard_normal((60, 6)))
    ranking = rank_candidates(task, queries, candidates)
    found = full_ranking_modes(task, ranking.ranks)
    expected = by_sorting(task, queries.astype(np.float64) @ candidates.T.astype(np.float64))
    assert set(found) == set(MODES)
    for mode in MODES:
        for name in FULL_RANKING:
            np.testing.assert_allclose(found[mode][name], expected[mode][name], rtol=0, atol=1e-12, err_msg=mode)
    for name in FULL_RANKING:  # a smaller list of candidates cannot be worse
        assert (found["language_oracle"][name] >= found["pooled"][name] - 1e-12).all()
    assert any((found["balanced"][name] > found["pooled"][name] + 1e-9).any() for name in FULL_RANKING)


def test_a_model_that_ranks_by_language_first_loses_all_to_the_pool_and_nothing_to_the_oracle(
    make_task, knows_the_record
):
    """By hand: 20 records in 3 languages; an answer in another language comes after the query's own 19 others."""
    task = make_task(("de", "en", "th"), 20)
    result = evaluate(knows_the_record(task, meaning=1, language=3), task, "passage")
    value = {mode: {name: row.value for name, row in result.modes[mode].items()} for mode in MODES}
    # Own answer first; another language's after the 19 others of the query's language: rank 20.
    assert value["pooled"]["mrr"] == pytest.approx((1 + 2 / 20) / 3)
    assert value["language_oracle"]["mrr"] == 1
    # Balanced: the best of each language first. The own language scores most; without the answers in the two other
    # languages its first is an irrelevant one, then the answer. The third language's first scores less.
    assert value["balanced"]["mrr"] == pytest.approx((1 + 2 / 2) / 3)
    low, high = limits(result.modes["pooled"])["map"]
    assert low <= result.modes["pooled"]["map"].value <= high


def test_one_language_has_no_modes_and_no_split(make_task, knows_the_record):
    task = make_task(("en",), 5)
    result = evaluate(knows_the_record(task, meaning=1, language=1), task, "passage")
    assert result.modes == {}
    assert result.first_result == {}


@pytest.mark.parametrize("ties", [False, True])
def test_the_split_of_the_first_result_equals_sorting(ties: bool):
    rng = np.random.default_rng(5)
    task = uneven_task(rng, queries=150)
    queries, candidates = unit(rng.standard_normal((150, 4))), unit(rng.standard_normal((60, 4)))
    if ties:
        queries, candidates = (np.eye(4, dtype=np.float32)[rng.integers(0, 4, size)] for size in (150, 60))
    ranking = rank_candidates(task, queries, candidates)
    found = of_ranking(task, ranking)
    scores = queries.astype(np.float64) @ candidates.T.astype(np.float64)
    relevant = {(int(query), int(answer)) for query, answer in task.relevance}
    for query in range(150):
        first = max(range(60), key=lambda row: (scores[query, row], task.candidates[row].language, row))
        right = (query, first) in relevant
        own = task.candidates[first].language == task.queries[query].language
        expected = [right and own, right and not own, not right and own, not right and not own]
        assert [found[name][query] for name in FIRST_RESULT] == expected
    assert ties or {name for name in FIRST_RESULT if found[name].any()} == set(FIRST_RESULT)
    # The right ones are those of which an answer has rank 1.
    hits = metrics.success(metrics.rank_rows(task.relevance[:, 0], ranking.ranks.pooled), 1)
    np.testing.assert_array_equal(found["first_right_own"] + found["first_right_other"], hits)
