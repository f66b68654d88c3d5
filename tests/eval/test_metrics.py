"""Metrics: values worked out by hand, bounds, and trec_eval's own numbers on random runs full of ties."""

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hybrid_jax.eval import metrics
from hybrid_jax.eval.ranks import tie_order


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


def test_a_query_without_relevant_candidates_is_refused():
    for metric in (metrics.average_precision, metrics.reciprocal_rank, metrics.rank_distance):
        with pytest.raises(ValueError, match="row 1 has no relevant candidate"):
            metric(np.array([[1, 2], [0, 0]]))


def test_rank_rows_gathers_by_query():
    rows = metrics.rank_rows(np.array([5, 2, 5, 9, 5]), np.array([10, 20, 30, 40, 50]))
    np.testing.assert_array_equal(rows, [[20, 0, 0], [10, 30, 50], [40, 0, 0]])
    assert metrics.rank_rows(np.array([], dtype=int), np.array([], dtype=int)).shape == (0, 0)


@settings(max_examples=60, deadline=None)
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

    ours = {
        ir_measures.AP: metrics.average_precision(ranks),
        ir_measures.RR: metrics.reciprocal_rank(ranks),
        ir_measures.R @ 1: metrics.recall(ranks, 1),
        ir_measures.R @ 10: metrics.recall(ranks, 10),
        ir_measures.nDCG @ 10: metrics.ndcg(ranks, 10),
    }
    run = [ir_measures.ScoredDoc(f"q{q}", ids[c], float(scores[q, c])) for q in range(3) for c in range(count)]
    qrels = [ir_measures.Qrel(f"q{q}", ids[c], int(relevant[q, c])) for q in range(3) for c in range(count)]
    for value in ir_measures.pytrec_eval.iter_calc(list(ours), qrels, run):
        assert ours[value.measure][int(value.query_id[1:])] == pytest.approx(value.value, abs=1e-9), value
