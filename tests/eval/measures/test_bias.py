"""Bias metrics: cases worked out by hand, the definitions as slow loops, and three calibration models."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import comb
from scipy.stats import chi2, kruskal

from hybrid_jax.eval.measures import bias, embedding_space, metrics
from hybrid_jax.search.ranks import rank_relevant
from hybrid_jax.search.scores import tie_order

# Languages 1 = de, 2 = en, 3 = fr. A German question (ranks de 2, en 1, fr 7), and an English one without French.
ANSWERS = bias.Answers(np.array([[2, 1, 7], [4, 2, 0]]), np.array([[1, 2, 3], [1, 2, 0]]), np.array([1, 2]))


def test_values_by_hand():
    np.testing.assert_allclose(metrics.worst_rank(ANSWERS.ranks), [7, 4])
    np.testing.assert_allclose(bias.log_rank_distance(ANSWERS.ranks), [np.log2(7), 1])
    np.testing.assert_allclose(bias.complete(ANSWERS.ranks, 4), [0, 1])
    np.testing.assert_allclose(bias.language_preference(ANSWERS), [0, 1])
    np.testing.assert_allclose(bias.target_recall(ANSWERS, 3), [1 / 2, 0])
    np.testing.assert_allclose(bias.relevant_share(ANSWERS), [1 / 3, 1 / 2])
    shown = np.array([[2, 1, 2, 1], [2, 2, 0, 0]])  # the second ranking has two candidates only
    np.testing.assert_allclose(bias.same_language_share(shown, ANSWERS.query_languages), [1 / 2, 1])
    # Only the query's language counts: the German and the English answer are at rank 2, and ideally at rank 1.
    np.testing.assert_allclose(bias.language_ndcg(ANSWERS, 10, other_gain=0.0), 1 / np.log2([3, 3]))
    # Ideal: the answer in the query's language first, then the others at half the gain.
    ideal = 1 + 0.5 / np.log2(3) + 0.5 / np.log2(4)
    gained = 1 / np.log2(3) + 0.5 / 1 + 0.5 / np.log2(8)
    np.testing.assert_allclose(bias.language_ndcg(ANSWERS, 10, other_gain=0.5)[0], gained / ideal)


def test_removal_by_hand():
    dropped = bias.removal(ANSWERS)
    full = (1 + 2 / 2 + 3 / 7) / 3
    without_de, without_en, without_fr = (1 + 2 / 6) / 2, (1 + 2 / 6) / 2, (1 + 2 / 2) / 2
    np.testing.assert_allclose(dropped.same, [full - without_de, (1 / 2 + 2 / 4) / 2 - 1 / 3])
    np.testing.assert_allclose(dropped.cross, [full - (without_en + without_fr) / 2, (1 / 2 + 2 / 4) / 2 - 1 / 2])
    lone = bias.lone_answer(ANSWERS)  # ranks without the other answers: de 1, en 1, fr 5; and de 3, en 2
    np.testing.assert_allclose(lone.same, [1, 1 / 2])
    np.testing.assert_allclose(lone.cross, [(1 + 1 / 5) / 2, 1 / 3])


def test_a_model_that_finds_only_its_own_language_loses_what_the_docstring_says():
    deep = 10**12
    only = bias.Answers(np.array([[1, deep, deep + 1, deep + 2]]), np.array([[1, 2, 3, 4]]), np.array([1]))
    dropped, lone = bias.removal(only), bias.lone_answer(only)
    np.testing.assert_allclose(dropped.same - dropped.cross, 1 / 3, atol=1e-11)
    np.testing.assert_allclose(lone.same - lone.cross, 1, atol=1e-11)


def test_queries_without_a_value_are_nan():
    alone = bias.Answers(np.array([[3, 0], [5, 0]]), np.array([[1, 0], [2, 0]]), np.array([1, 1]))  # own, foreign
    np.testing.assert_array_equal(bias.language_preference(alone), [np.nan, np.nan])
    np.testing.assert_array_equal(bias.target_recall(alone, 5), [np.nan, 1])
    np.testing.assert_array_equal(bias.language_ndcg(alone, 5, other_gain=0.0), [1 / 2, np.nan])
    np.testing.assert_array_equal(np.concatenate(bias.removal(alone)), [np.nan] * 4)
    np.testing.assert_allclose(np.concatenate(bias.lone_answer(alone)), [1 / 3, np.nan, np.nan, 1 / 5])
    np.testing.assert_array_equal(bias.equal_rank_probability(alone, 5), [np.nan, np.nan])
    np.testing.assert_array_equal(bias.same_language_share(np.zeros((1, 3), int), np.array([1])), [np.nan])


def test_metrics_at_k_accept_a_cut_off_ranking_and_the_others_reject_it():
    cut = bias.Answers(
        np.where(ANSWERS.ranks > 3, metrics.NOT_RETRIEVED, ANSWERS.ranks), ANSWERS.languages, ANSWERS.query_languages
    )
    np.testing.assert_array_equal(bias.complete(cut.ranks, 3), bias.complete(ANSWERS.ranks, 3))
    np.testing.assert_array_equal(bias.target_recall(cut, 3), bias.target_recall(ANSWERS, 3))
    np.testing.assert_array_equal(bias.language_preference(cut), bias.language_preference(ANSWERS))
    np.testing.assert_array_equal(bias.equal_rank_probability(cut, 3), bias.equal_rank_probability(ANSWERS, 3))
    nothing = bias.Answers(np.array([[-1, -1]]), np.array([[1, 2]]), np.array([1]))
    np.testing.assert_array_equal(bias.language_preference(nothing), [np.nan])
    np.testing.assert_array_equal(bias.equal_rank_probability(nothing, 3), [1])
    for metric in (metrics.rank_distance, metrics.worst_rank, bias.log_rank_distance):
        with pytest.raises(
            ValueError, match=r"row 0 has a relevant candidate without a rank: .* needs the full ranking"
        ):
            metric(cut.ranks)
    with pytest.raises(ValueError, match="needs the full ranking"):
        bias.removal(cut)


def test_answers_gathers_pairs_in_any_order_and_skips_queries_without_pairs():
    answers = bias.answers(np.array([2, 0, 2]), np.array([9, 4, 1]), np.array([3, 1, 2]), np.array([1, 1, 2]))
    np.testing.assert_array_equal(answers.ranks, [[4, 0], [9, 1]])
    np.testing.assert_array_equal(answers.languages, [[1, 0], [3, 2]])
    np.testing.assert_array_equal(answers.query_languages, [1, 2])
    with pytest.raises(ValueError, match="language number 0: count languages from 1"):
        bias.answers(np.array([0]), np.array([1]), np.array([0]), np.array([1]))


@st.composite
def random_answers(draw) -> bias.Answers:
    """Up to 12 queries with up to 7 relevant candidates among 40, several in one language, not all languages."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows, width = draw(st.integers(1, 12)), draw(st.integers(1, 7))
    ranks = np.array([rng.permutation(40)[:width] + 1 for _ in range(rows)])
    ranks[:, 1:][rng.random((rows, width - 1)) < 0.3] = 0
    languages = np.where(ranks > 0, rng.integers(1, 5, ranks.shape), 0)
    return bias.Answers(ranks, languages, rng.integers(1, 5, rows))


def slow_average_precision(ranks: list[int]) -> float:
    return float(np.mean([sum(above <= rank for above in ranks) / rank for rank in ranks]))


def without(ranks: list[int], removed: int) -> list[int]:
    return [rank - (rank > removed) for rank in ranks if rank != removed]


def mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan


@settings(max_examples=60)
@given(random_answers(), st.integers(1, 45))
def test_equal_to_the_definitions_as_slow_loops(answers: bias.Answers, k: int):
    expected: dict[str, list[float]] = {name: [] for name in ("lpr", "tlr", "complete", "log", "share", "peer", "lang")}
    expected |= {name: [] for name in ("removal same", "removal cross", "lone same", "lone cross")}
    for row, languages, query_language in zip(
        answers.ranks.tolist(), answers.languages.tolist(), answers.query_languages.tolist(), strict=True
    ):
        pairs = [(rank, language) for rank, language in zip(row, languages, strict=True) if rank]
        ranks = [rank for rank, _ in pairs]
        own = [rank for rank, language in pairs if language == query_language]
        foreign = [rank for rank, language in pairs if language != query_language]
        expected["lpr"].append(float(min(own) < min(foreign)) if own and foreign else math.nan)
        expected["tlr"].append(mean([float(rank <= k) for rank in foreign]))
        expected["complete"].append(float(max(ranks) <= k))
        expected["log"].append(math.log2(max(ranks)) - math.log2(min(ranks)))
        expected["share"].append(len(own) / len(pairs))
        full = slow_average_precision(ranks)
        drop = {rank: full - slow_average_precision(without(ranks, rank)) for rank in ranks if len(ranks) > 1}
        expected["removal same"].append(mean([drop[rank] for rank in own if rank in drop]))
        expected["removal cross"].append(mean([drop[rank] for rank in foreign if rank in drop]))
        lone = {rank: 1 / (rank - sum(above < rank for above in ranks)) for rank in ranks}
        expected["lone same"].append(mean([lone[rank] for rank in own]))
        expected["lone cross"].append(mean([lone[rank] for rank in foreign]))
        gains = {rank: 1.0 if language == query_language else 0.25 for rank, language in pairs}
        ideal = sum(gain / math.log2(i + 2) for i, gain in enumerate(sorted(gains.values(), reverse=True)[:k]))
        expected["lang"].append(sum(gain / math.log2(r + 1) for r, gain in gains.items() if r <= k) / ideal)
        groups = [
            [min(rank, k + 1) for rank, language in pairs if language == group]
            for group in sorted(set(languages) - {0})
        ]
        if len(groups) < 2:
            expected["peer"].append(math.nan)
        elif min(ranks) > k:
            expected["peer"].append(1)
        else:
            expected["peer"].append(float(kruskal(*groups).pvalue))
    actual = {
        "lpr": bias.language_preference(answers),
        "tlr": bias.target_recall(answers, k),
        "complete": bias.complete(answers.ranks, k),
        "log": bias.log_rank_distance(answers.ranks),
        "share": bias.relevant_share(answers),
        "peer": bias.equal_rank_probability(answers, k),
        "lang": bias.language_ndcg(answers, k, other_gain=0.25),
        "removal same": bias.removal(answers).same,
        "removal cross": bias.removal(answers).cross,
        "lone same": bias.lone_answer(answers).same,
        "lone cross": bias.lone_answer(answers).cross,
    }
    for name, values in expected.items():
        np.testing.assert_allclose(actual[name], values, rtol=1e-9, atol=1e-12, err_msg=name)


L, N = 4, 300
P = L * N


class Model:
    """A calibration model: its vectors, and its ranking of the pooled corpus in the formats that metrics take."""

    def __init__(self, kind: str):
        rng = np.random.default_rng(7)
        language, passage = np.repeat(np.arange(L), N), np.tile(np.arange(N), L)
        shape = (P, 48)
        if kind == "random":
            queries, candidates = rng.standard_normal(shape), rng.standard_normal(shape)
        elif kind == "oracle":
            queries = candidates = rng.standard_normal((N, 48))[passage]
        else:
            queries = candidates = np.eye(L)[language]
        self.queries, self.candidates = (
            (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32) for rows in (queries, candidates)
        )
        names, ids = [f"l{number}" for number in language], [f"{number:03}" for number in passage]
        self.language, self.passage = language + 1, passage
        relevance = np.argwhere(passage[:, None] == passage[None])
        self.ranks = rank_relevant(self.queries, self.candidates, relevance, names, ids).pooled
        self.answers = bias.answers(relevance[:, 0], self.ranks, self.language[relevance[:, 1]], self.language)
        order = tie_order(names, ids)
        scores = np.round(self.queries.astype(np.float64) @ self.candidates[order].astype(np.float64).T, 9)
        self.order = order[np.argsort(-scores, axis=1, kind="stable")]

    def top(self, k: int) -> np.ndarray:
        return self.order[:, :k]


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    return {kind: Model(kind) for kind in ("random", "oracle", "language only")}


def expect(values: np.ndarray, expected: float) -> None:
    """Asserts that the mean is as expected, within four standard errors, and exactly where values do not vary."""
    margin = 4 * values.std() / math.sqrt(len(values)) + 1e-9
    assert abs(values.mean() - expected) <= margin, (values.mean(), expected, margin)


def discount(n: int) -> float:
    return float((1 / np.log2(np.arange(1, n + 1) + 1)).sum())


def test_random_embeddings_give_the_expectations_of_chance(models: dict[str, Model]):
    model, k = models["random"], 20
    answers, ranks = model.answers, model.answers.ranks
    harmonic = (1 / np.arange(1, P + 1)).sum()
    expect(metrics.average_precision(ranks), float(harmonic + (L - 1) / (P - 1) * (P - harmonic)) / P)
    expect(metrics.rank_distance(ranks), (P + 1) * (L - 1) / (L + 1))
    place = np.arange(1, P + 1)
    as_last, as_first = comb(place - 1, L - 1) / comb(P, L), comb(P - place, L - 1) / comb(P, L)
    expect(bias.log_rank_distance(ranks), float(((as_last - as_first) * np.log2(place)).sum()))
    expect(metrics.worst_rank(ranks), (P + 1) * L / (L + 1))
    expect(bias.complete(ranks, P // 2), float(comb(P // 2, L) / comb(P, L)))  # at k = 20 it is one in ten million
    expect(bias.language_preference(answers), 1 / L)
    expect(bias.language_ndcg(answers, k, other_gain=0.0), discount(k) / P)
    expect(bias.target_recall(answers, k), k / P)
    expect(bias.same_language_share(model.language[model.top(L)], model.language), 1 / L)
    for sides in (bias.removal(answers), bias.lone_answer(answers)):
        expect(sides.same - sides.cross, 0)
    constant = chi2.sf(L - 1, L - 1)
    retrieved = ranks.min(axis=1) <= k
    np.testing.assert_allclose(bias.equal_rank_probability(answers, k), np.where(retrieved, constant, 1))
    agreement = embedding_space.rank_correlation(model.queries, model.candidates, model.top(k), model.passage)
    assert agreement.mean() == pytest.approx(-3 * k**2 / (4 * k**2 - 1), abs=0.05)  # lists share 0.3 of 20 candidates
    share = k / P
    hubs = embedding_space.hubness(model.top(k), P)
    binomial = (1 - 2 * share) / math.sqrt(P * share * (1 - share))
    assert hubs.skewness == pytest.approx(binomial, abs=4 * math.sqrt(6 / P))  # the error of a skewness of P counts
    assert hubs.top_percent_share > 0.01
    accuracy = embedding_space.language_probe(model.candidates, model.language, model.passage)
    assert accuracy == pytest.approx(1 / L, abs=4 * math.sqrt(1 / L * (1 - 1 / L) / (P / 5)))


def test_an_oracle_is_at_the_unbiased_end_of_every_metric(models: dict[str, Model]):
    model, k = models["oracle"], 20
    answers, ranks = model.answers, model.answers.ranks
    assert (metrics.average_precision(ranks) == 1).all()
    assert (metrics.rank_distance(ranks) == L - 1).all()
    assert (bias.log_rank_distance(ranks) == math.log2(L)).all()
    assert (metrics.worst_rank(ranks) == L).all()
    assert (bias.complete(ranks, L) == 1).all()
    # The tie rule favours one language: a query's value depends on its language, but the mean over all does not.
    assert bias.language_preference(answers).mean() == 1 / L
    assert bias.language_ndcg(answers, k, other_gain=0.0).mean() == pytest.approx(discount(L) / L)
    assert (bias.target_recall(answers, L) == 1).all()
    np.testing.assert_allclose(bias.same_language_share(model.language[model.top(L)], model.language), 1 / L)
    for sides in (bias.removal(answers), bias.lone_answer(answers)):
        np.testing.assert_allclose(sides.same - sides.cross, 0, atol=1e-15)
    np.testing.assert_allclose(bias.equal_rank_probability(answers, k), chi2.sf(L - 1, L - 1))
    np.testing.assert_allclose(
        embedding_space.rank_correlation(model.queries, model.candidates, model.top(k), model.passage), 1
    )
    hubs = embedding_space.hubness(model.top(L), P)
    assert hubs == (0, pytest.approx(0.01))
    assert embedding_space.language_probe(model.candidates, model.language, model.passage) == pytest.approx(1 / L)


def test_language_alone_is_at_the_biased_end_of_every_metric(models: dict[str, Model]):
    model, k = models["language only"], 20
    answers, ranks = model.answers, model.answers.ranks
    place = np.arange(1, N + 1)
    assert (metrics.rank_distance(ranks) == P - N).all()
    assert bias.log_rank_distance(ranks).mean() == pytest.approx(np.log2((P - N + place) / place).mean())
    assert metrics.worst_rank(ranks).mean() == P - N + (N + 1) / 2
    assert (bias.complete(ranks, k) == 0).all()
    assert (bias.language_preference(answers) == 1).all()
    assert bias.language_ndcg(answers, k, other_gain=0.0).mean() == pytest.approx(discount(k) / N)
    assert (bias.target_recall(answers, k) == 0).all()
    assert (bias.same_language_share(model.language[model.top(k)], model.language) == 1).all()
    for sides in (bias.removal(answers), bias.lone_answer(answers)):
        assert (sides.same - sides.cross).mean() > 0
    constant = chi2.sf(L - 1, L - 1)
    np.testing.assert_allclose(bias.equal_rank_probability(answers, k), np.where(ranks.min(axis=1) <= k, constant, 1))
    np.testing.assert_allclose(
        embedding_space.rank_correlation(model.queries, model.candidates, model.top(k), model.passage), -1
    )
    share = k / N
    hubs = embedding_space.hubness(model.top(k), P)
    assert hubs.skewness == pytest.approx((1 - 2 * share) / math.sqrt(share * (1 - share)))
    assert hubs.top_percent_share == pytest.approx(0.01 / share)
    assert embedding_space.language_probe(model.candidates, model.language, model.passage) == 1
