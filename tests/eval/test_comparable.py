"""Which figures are compared, by default and on request, and how many tests that makes."""

import numpy as np

from hybrid_jax.eval.compare import compare
from hybrid_jax.eval.comparison import Comparison
from hybrid_jax.eval.measures import stats
from hybrid_jax.eval.measures.per_query import Table

QUESTIONS = 40


def searched(seed: int) -> Table:
    """A searched pool with first results, and the pool in one index."""
    values = np.random.default_rng(seed).uniform(0, 1, QUESTIONS)
    search, pooled = {"ndcg@10": values, "first_right_own": values}, {"ndcg@10": values}
    return Table(
        {}, tuple(map(str, range(QUESTIONS))), ("en",) * QUESTIONS, further={"search": search, "pooled": pooled}
    )


def figures(result: Comparison) -> list[tuple[str, str]]:
    return [(row.metric, row.setting) for row in result.tasks["x"].rows]


def test_modes_and_first_results_are_compared_on_request_alone():
    systems = {"A": [{"x": searched(0)}], "B": [{"x": searched(1)}]}
    assert figures(compare(systems)) == [("ndcg@10", "search")]
    assert figures(compare(systems, metrics=["first_right_own"])) == [("first_right_own", "search")]
    assert figures(compare(systems, parts=["pooled"])) == [("ndcg@10", "pooled")]


def ranked(seed: int, gain: float = 0.0) -> Table:
    """Four figures of one language, in which `gain` is better."""
    noise = 0.02 * np.random.default_rng(seed).standard_normal(QUESTIONS)
    values = np.linspace(0.2, 0.8, QUESTIONS) + gain + noise
    across = np.stack([np.full(QUESTIONS, np.nan), values], axis=1)
    return Table(
        data_sha256={},
        ids=tuple(map(str, range(QUESTIONS))),
        languages=("en",) * QUESTIONS,
        candidate_languages=("en", "de"),
        monolingual={"map": values},
        cross_lingual={"map": across},
        multilingual={"map": values, "rank_distance": 100 * (1 - values)},
    )


def test_many_systems_do_not_put_a_verdict_out_of_reach(monkeypatch):
    """Six systems in four figures are 24 tests: of 400 swaps for the figures alone the least p would be 24 / 401."""
    monkeypatch.setattr(stats, "SWAPS", 1)
    others = {str(n): [{"x": ranked(n, 0.1)}] for n in range(1, 7)}
    result = compare({"A": [{"x": ranked(0)}], **others})
    assert len(figures(result)) == 4
    assert {row.against_baseline[name].verdict for row in result.tasks["x"].rows for name in others} == {"better"}
