"""Retrieval metrics: values worked out by hand, bounds, and trec_eval's values on random runs with many ties."""

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hybrid_jax.eval.measures import metrics
from hybrid_jax.search.scores import tie_order


def test_values_by_hand():
    ranks = np.array([[4, 1, 0], [3, 0, 0], [2, 3, 10]])
    np.testing.assert_allclose(
        metrics.average_precision(ranks), [(1 / 1 + 2 / 4) / 2, 1 / 3, (1 / 2 + 2 / 3 + 3 / 10) / 3]
    )
    np.testing.assert_allclose(metrics.recall(ranks, 3), [1 / 2, 1, 2 / 3])
    np.testing.assert_allclose(metrics.reciprocal_rank(ranks), [1, 1 / 3, 1 / 2])
    np.testing.assert_allclose(metrics.rank_distance(ranks), [3, 0, 8])
    best = 1 + 1 / np.log2(3)
    np.testing.assert_allclose(
        metrics.ndcg(ranks, 3), [1 / best, 1 / 2, (1 / np.log2(3) + 1 / 2) / (1 + 1 / np.log2(3) + 1 / 2)]
    )


def test_the_order_of_relevant_candidates_and_the_unused_places_do_not_matter():
    ranks = np.array([[7, 2, 30, 0]])
    shuffled = np.array([[0, 30, 0, 2, 7, 0]])
    for metric in (metrics.average_precision, metrics.reciprocal_rank, metrics.rank_distance):
        assert metric(ranks) == metric(shuffled)
    assert metrics.recall(ranks, 10) == metrics.recall(shuffled, 10)
    assert metrics.ndcg(ranks, 10) == metrics.ndcg(shuffled, 10)


def test_eleven_relevant_at_the_top_are_perfect_but_for_recall_at_10():
    ranks = np.arange(1, 12)[None]
    assert metrics.average_precision(ranks) == 1
    assert metrics.ndcg(ranks, 10) == pytest.approx(1)
    assert metrics.recall(ranks, 10) == pytest.approx(10 / 11)
    assert metrics.rank_distance(ranks) == 10


def test_a_query_without_relevant_candidates_is_an_error():
    for metric in (metrics.average_precision, metrics.reciprocal_rank, metrics.rank_distance):
        with pytest.raises(ValueError, match="row 1 has no relevant candidate"):
            metric(np.array([[1, 2], [0, 0]]))


def test_rank_rows_gathers_by_query():
    rows = metrics.rank_rows(np.array([5, 2, 5, 9, 5]), np.array([10, 20, 30, 40, 50]))
    np.testing.assert_array_equal(rows, [[20, 0, 0], [10, 30, 50], [40, 0, 0]])
    assert metrics.rank_rows(np.array([], dtype=int), np.array([], dtype=int)).shape == (0, 0)


@settings(max_examples=60)
@given(st.data())
def test_equal_to_trec_eval_on_runs_with_ties(data: st.DataObject):
    # Few distinct scores, so that most candidates are tied; ids of varying length, so that "9" and "10" sort as text.
    count = data.draw(st.integers(1, 40), label="candidates")
    scores = data.draw(arrays(np.float32, (3, count), elements=st.sampled_from([-1.0, 0.0, 0.25, 0.5])), label="scores")
    relevant = data.draw(arrays(bool, (3, count)), label="relevant")
    relevant[:, data.draw(st.integers(0, count - 1))] = True
    ids = [str(number) for number in range(count)]

    order = tie_order([""] * count, ids)
    ranks = np.zeros((3, count), dtype=int)
    for row in range(3):
        best_first = order[np.argsort(-scores[row, order], kind="stable")]
        places = np.empty(count, dtype=int)
        places[best_first] = np.arange(1, count + 1)
        ranks[row] = np.where(relevant[row], places, 0)

    computed = {
        ir_measures.AP: metrics.average_precision(ranks),
        ir_measures.RR: metrics.reciprocal_rank(ranks),
        ir_measures.R @ 1: metrics.recall(ranks, 1),
        ir_measures.R @ 10: metrics.recall(ranks, 10),
        ir_measures.nDCG @ 10: metrics.ndcg(ranks, 10),
    }
    run = [ir_measures.ScoredDoc(f"q{q}", ids[c], float(scores[q, c])) for q in range(3) for c in range(count)]
    qrels = [ir_measures.Qrel(f"q{q}", ids[c], int(relevant[q, c])) for q in range(3) for c in range(count)]
    for value in ir_measures.pytrec_eval.iter_calc(list(computed), qrels, run):
        assert computed[value.measure][int(value.query_id[1:])] == pytest.approx(value.value, abs=1e-9), value


Run = dict[str, list[tuple[str, float]]]
Qrels = dict[str, dict[str, int]]
TREC = {
    ir_measures.AP: lambda ranks, grades: metrics.average_precision(ranks),
    ir_measures.RR: lambda ranks, grades: metrics.reciprocal_rank(ranks),
    **{ir_measures.R @ k: lambda ranks, grades, k=k: metrics.recall(ranks, k) for k in (1, 5, 100)},
    **{ir_measures.P @ k: lambda ranks, grades, k=k: metrics.precision(ranks, k) for k in (1, 5, 100)},
    **{ir_measures.Success @ k: lambda ranks, grades, k=k: metrics.success(ranks, k) for k in (1, 5, 100)},
    **{ir_measures.nDCG @ k: lambda ranks, grades, k=k: metrics.ndcg(ranks, k, grades) for k in (1, 5, 100)},
}


def random_run(rng: np.random.Generator, name: str) -> tuple[Run, Qrels]:
    """A run and qrels with ties (some in float32 only), repeated candidates, missing queries and empty lists."""
    ids = [str(number) for number in rng.permutation(40)] + ["é", "z", "Ω", "𝛀"]
    scores = [-2.5, 0.0, 1.0, 1.0 + 1e-12, 1.5, 300.0, *rng.standard_normal(3)]
    run: Run = {}
    qrels: Qrels = {}
    for query in (f"{name} {number}" for number in range(4)):
        if rng.random() < 0.8:
            length = rng.choice([0, 1, 5, 60])
            run[query] = [(str(rng.choice(ids)), float(rng.choice(scores))) for _ in range(length)]
        if rng.random() < 0.8:
            graded = rng.choice(ids, rng.integers(1, 15), replace=False)
            qrels[query] = {str(candidate): int(rng.choice([0, 0, 1, 1, 2, 3])) for candidate in graded}
    return run, qrels


def test_equal_to_trec_eval_on_a_thousand_runs_with_ties_duplicates_and_missing_and_empty_rankings():
    rng = np.random.default_rng(0)
    runs, judgements = zip(*(random_run(rng, f"run{number}") for number in range(1000)), strict=True)
    # A single call to trec_eval for all runs, because every value belongs to one query.
    run: Run = {query: docs for each in runs for query, docs in each.items()}
    qrels: Qrels = {query: graded for each in judgements for query, graded in each.items()}
    docs = [ir_measures.ScoredDoc(query, name, score) for query in run for name, score in run[query]]
    judgements_of_all = [
        ir_measures.Qrel(query, name, grade) for query in qrels for name, grade in qrels[query].items()
    ]
    judged = metrics.judge(run, qrels)
    computed = {measure: metrics.per_query(judged, metric) for measure, metric in TREC.items()}
    for value in ir_measures.pytrec_eval.iter_calc(list(TREC), judgements_of_all, docs):
        assert computed[value.measure].pop(value.query_id) == pytest.approx(value.value, abs=1e-9), value
    assert not any(computed.values())  # ir-measures has a value for every query that we have


def test_how_a_run_is_read():
    run = {
        "ties": [("9", 1.0), ("10", 1.0), ("a", 2.0)],
        "float32": [("x", 1.0), ("w", 1.0 + 1e-12)],
        "twice": [("a", 3.0), ("b", 2.0), ("a", 1.0)],
        "empty": [],
        "unjudged": [("a", 1.0)],
    }
    qrels = {
        "ties": {"10": 1, "9": 2, "b": 1, "a": 0},
        "float32": {"w": 1},
        "twice": {"a": 1, "b": -1},
        "empty": {"a": 1},
        "missing": {"a": 1},
        "nothing relevant": {"a": 0},
    }
    judged = metrics.judge(run, qrels)
    assert judged.queries == tuple(qrels)
    np.testing.assert_array_equal(judged.ranks, [[3, 2, -1], [2, 0, 0], [2, 0, 0], [-1, 0, 0], [-1, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(judged.grades[0], [1, 2, 1])
    assert list(metrics.per_query(judged, lambda ranks, grades: metrics.reciprocal_rank(ranks)).values()) == [
        *(1 / 2, 1 / 2, 1 / 2, 0, 0, 0)
    ]


def test_cut_off_metrics_by_hand():
    ranks = np.array([[4, 1, 0], [12, metrics.NOT_RETRIEVED, 0]])
    np.testing.assert_allclose(metrics.reciprocal_rank(ranks, 10), [1, 0])
    np.testing.assert_allclose(metrics.reciprocal_rank(ranks), [1, 1 / 12])
    np.testing.assert_allclose(metrics.average_precision(ranks), [(1 + 2 / 4) / 2, (1 / 12) / 2])
    np.testing.assert_allclose(metrics.precision(ranks, 10), [2 / 10, 0])
    np.testing.assert_allclose(metrics.success(ranks, 3), [1, 0])
    np.testing.assert_allclose(metrics.recall(ranks, 12), [1, 1 / 2])
    graded = metrics.ndcg(ranks, 10, np.array([[3.0, 1.0, 0.0], [1.0, 2.0, 0.0]]))
    np.testing.assert_allclose(graded, [(1 + 3 / np.log2(5)) / (3 + 1 / np.log2(3)), 0])


def test_mrr_at_k_is_the_reciprocal_rank_unless_the_first_relevant_candidate_lies_beyond_k():
    ranks = np.array([[3, 8], [4, 9], [metrics.NOT_RETRIEVED, metrics.NOT_RETRIEVED]])
    np.testing.assert_array_equal(metrics.reciprocal_rank(ranks, 3), [1 / 3, 0, 0])


def test_ranks_in_a_search_result():
    top = np.array([[5, 0, 2], [1, 5, -1], [-1, -1, -1]])
    relevance = np.array([[1, 5], [0, 2], [0, 7], [2, 5], [0, 5], [1, 2]])
    ranks = metrics.ranks_in_top(top, relevance)
    np.testing.assert_array_equal(ranks, [2, 3, -1, -1, 1, -1])
    np.testing.assert_array_equal(metrics.rank_rows(relevance[:, 0], ranks), [[3, -1, 1], [2, -1, 0], [-1, 0, 0]])
    with pytest.raises(ValueError, match="row 1 of the search result holds candidate 4 twice"):
        metrics.ranks_in_top(np.array([[4, 3], [4, 4]]), relevance)


@given(st.integers(0, 2**32 - 1))
def test_ranks_in_a_search_result_equal_looking_them_up(seed: int):
    rng = np.random.default_rng(seed)
    top = np.array([rng.permutation(30)[:12] for _ in range(6)])
    top[np.arange(12) >= rng.integers(0, 13, (6, 1))] = -1
    relevance = np.argwhere(rng.random((6, 30)) < 0.3)
    rng.shuffle(relevance)
    expected = [[*top[query].tolist(), candidate].index(candidate) + 1 for query, candidate in relevance.tolist()]
    ranks = metrics.ranks_in_top(top, relevance)
    np.testing.assert_array_equal(np.where(ranks == metrics.NOT_RETRIEVED, 13, ranks), expected)
