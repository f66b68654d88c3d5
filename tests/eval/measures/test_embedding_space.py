"""Measures of embeddings: cases worked out by hand, and the definitions as slow loops (models: test_bias.py)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import skew, spearmanr

from hybrid_jax.eval.measures import embedding_space


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_rank_correlation_by_hand():
    candidates = np.eye(4, dtype=np.float32)
    # Two translations of question 7 share one of their two candidates; the two of question 9 have the same vector.
    queries = unit(np.array([[4, 3, 2, 0], [0, 4, 3, 2], [1, 2, 3, 4], [1, 2, 3, 4]]))
    top = np.array([[0, 1], [1, 2], [3, 2], [3, 2]])
    # On candidates 0, 1, 2 the first question's scores rank 3 2 1 and 1 3 2: 1 - 6 (4 + 1 + 1) / (3 * 8).
    actual = embedding_space.rank_correlation(queries, candidates, top, np.array([7, 7, 9, 9]))
    np.testing.assert_allclose(actual, [-0.5, 1], atol=1e-12)


def test_rank_correlation_is_nan_without_a_pair_that_has_one():
    candidates = np.eye(3, dtype=np.float32)
    queries = np.eye(3, dtype=np.float32)
    alone = embedding_space.rank_correlation(queries[:1], candidates, np.array([[0, 1]]), np.array([4]))
    same = embedding_space.rank_correlation(queries[[2, 2]], candidates, np.array([[0, 1], [0, 1]]), np.array([4, 4]))
    assert np.isnan(alone).all()
    assert np.isnan(same).all()  # both score 0 for candidates 0 and 1


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_rank_correlation_equals_spearman_over_every_pair(seed: int, k: int):
    rng = np.random.default_rng(seed)
    question = np.repeat([3, 1, 8], [4, 2, 3])
    order = rng.permutation(len(question))
    queries, candidates = unit(rng.standard_normal((9, 5))), unit(rng.standard_normal((12, 5)))
    candidates[7:] = candidates[:5]  # ties
    scores = np.round(queries.astype(float) @ candidates.T.astype(float), 6)
    top = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    top[rng.random(top.shape) < 0.2] = -1  # rankings of different lengths
    expected = []
    for number in (1, 3, 8):
        rows, values = np.flatnonzero(question == number), []
        for i, a in enumerate(rows):
            for b in rows[i + 1 :]:
                both = sorted((set(top[a]) | set(top[b])) - {-1})
                if len(both) > 1 and min(np.ptp(scores[a, both]), np.ptp(scores[b, both])) > 0:
                    values.append(spearmanr(scores[a, both], scores[b, both])[0])
        expected.append(np.mean(values) if values else np.nan)
    actual = embedding_space.rank_correlation(queries[order], candidates, top[order], question[order])
    np.testing.assert_allclose(actual, expected, atol=1e-9)


def test_hubness_by_hand():
    actual = embedding_space.hubness(np.array([[0, 1], [0, 2], [0, -1]]), candidates=4)
    counts = np.array([3, 1, 1, 0])
    assert actual.skewness == pytest.approx(skew(counts))
    assert actual.top_percent_share == pytest.approx(3 / 5)  # one candidate is the first 1 % of four, rounded up


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 99, 100, 101, 250]))
def test_hubness_equals_its_definition(seed: int, candidates: int):
    rng = np.random.default_rng(seed)
    top = np.minimum(rng.geometric(0.02, (30, 5)) - 1, candidates - 1)
    counts = [int((top == row).sum()) for row in range(candidates)]
    actual = embedding_space.hubness(top, candidates)
    assert actual.top_percent_share == pytest.approx(sum(sorted(counts)[-int(np.ceil(candidates / 100)) :]) / top.size)
    assert actual.skewness == pytest.approx(skew(counts) if len(set(counts)) > 1 else 0)


def test_the_probe_detects_a_language_direction_and_gives_chance_without_one():
    rng = np.random.default_rng(0)
    languages, parallel = np.repeat([5, 6, 9], 200), np.tile(np.arange(200), 3)
    content = rng.standard_normal((200, 16))[parallel]
    direction = rng.standard_normal((3, 16))[np.repeat([0, 1, 2], 200)]
    assert embedding_space.language_probe(unit(content + 3 * direction), languages, parallel) == 1
    assert embedding_space.language_probe(unit(content), languages, parallel) == pytest.approx(1 / 3)
    assert embedding_space.language_probe(np.ones((600, 4), np.float32), languages, parallel) == pytest.approx(1 / 3)


def test_chance_is_one_over_the_number_of_languages_however_uneven_they_are():
    rng = np.random.default_rng(1)
    languages = np.repeat([1, 2, 3], [4000, 600, 400])
    accuracy = embedding_space.language_probe(unit(rng.standard_normal((5000, 8))), languages, np.arange(5000))
    # The mean of three shares of about 800, 120 and 80 trials.
    error = np.sqrt(2 / 9 * (1 / 800 + 1 / 120 + 1 / 80)) / 3
    assert accuracy == pytest.approx(1 / 3, abs=4 * error)


def test_more_rows_of_a_language_do_not_change_the_accuracy():
    rng = np.random.default_rng(5)
    languages, parallel = np.repeat([1, 2, 3], 150), np.tile(np.arange(150), 3)
    embeddings = unit(rng.standard_normal((450, 8)))
    embeddings[np.arange(450), languages] += 0.2
    repeated = np.repeat(np.arange(450), np.where(languages == 2, 6, 1))
    accuracy = embedding_space.language_probe(embeddings, languages, parallel)
    assert 0.4 < accuracy < 0.9
    assert accuracy == pytest.approx(
        embedding_space.language_probe(embeddings[repeated], languages[repeated], parallel[repeated])
    )


def test_the_order_of_the_rows_does_not_change_the_accuracy():
    rng = np.random.default_rng(2)
    embeddings = unit(rng.standard_normal((300, 6)))
    languages, parallel = np.tile([1, 2, 3], 100), np.repeat(np.arange(100), 3)
    embeddings[languages == 1, 0] += 0.5
    moved = rng.permutation(300)
    first = embedding_space.language_probe(embeddings, languages, parallel)
    assert first == embedding_space.language_probe(embeddings, languages, parallel)
    assert first == pytest.approx(embedding_space.language_probe(embeddings[moved], languages[moved], parallel[moved]))


def test_translations_are_never_on_both_sides():
    parallel = np.random.default_rng(3).integers(0, 50, 400)
    test = embedding_space.held_out(parallel, test_fraction=0.2, seed=1)
    assert not set(parallel[test]) & set(parallel[~test])
    assert len(set(parallel[test])) == 10
    assert (test != embedding_space.held_out(parallel, test_fraction=0.2, seed=2)).any()


def test_a_language_missing_on_one_side_is_an_error():
    languages = np.ones(10, int)
    languages[np.flatnonzero(~embedding_space.held_out(np.arange(10), test_fraction=0.2, seed=0))[0]] = 2
    with pytest.raises(ValueError, match="language 2 has no rows for testing among 10 parallel sets: leave"):
        embedding_space.language_probe(np.eye(10), languages, np.arange(10))
