"""Means over languages, pairs and groups of languages, medians and worst queries, by hand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from support.paragraphs import table, twice

from hybrid_jax.eval.full_ranking import evaluate
from hybrid_jax.eval.measures import macro
from hybrid_jax.eval.measures.catalogue import FULL_RANKING, POOLS, SETTINGS
from hybrid_jax.eval.measures.macro import Averages, pool_groups, ranked_groups
from hybrid_jax.eval.measures.panel import Measured
from hybrid_jax.eval.measures.per_query import Table
from hybrid_jax.eval.report.schema import LanguageScores, PairScores, PoolLanguage
from hybrid_jax.eval.tasks import Candidate, Query, RetrievalTask


def test_groups_of_languages_by_hand():
    """Within a group and between groups are means over ordered pairs of different languages, from the query's group."""
    maps = {"de": {"de": 0.9, "en": 0.6, "th": 0.2}, "en": {"de": 0.8, "en": 0.9, "th": 0.3}}
    maps["th"] = {"de": 0.1, "en": 0.4, "th": 0.7}
    pairs = {
        language: {
            other: PairScores(questions=1, translation_rank=1.0, **dict.fromkeys(FULL_RANKING, value))
            for other, value in row.items()
        }
        for language, row in maps.items()
    }
    own = {"de": 0.2, "en": 0.4, "th": 0.9}
    per_language = {
        language: LanguageScores.model_validate(
            {"questions": 1, "candidates": 1, "rank_distance": 10 * value}
            | {name: dict.fromkeys(SETTINGS, value) for name in FULL_RANKING}
        )
        for language, value in own.items()
    }
    found = ranked_groups(Averages({}, {}, per_language, pairs), {"en", "th"})
    values = {
        (kind, name): (group.languages, group.cross_within, group.cross_between, group.map["multilingual"])
        for kind, groups in found.items()
        for name, group in groups.items()
    }
    assert values == {
        ("script", "Latin"): (["de", "en"], pytest.approx(0.7), pytest.approx(0.25), pytest.approx(0.3)),
        ("script", "Thai"): (["th"], None, pytest.approx(0.25), pytest.approx(0.9)),
        ("family", "Germanic"): (["de", "en"], pytest.approx(0.7), pytest.approx(0.25), pytest.approx(0.3)),
        ("family", "Tai-Kadai"): (["th"], None, pytest.approx(0.25), pytest.approx(0.9)),
        ("seen", "seen"): (["en", "th"], pytest.approx(0.35), pytest.approx(0.45), pytest.approx(0.65)),
        ("seen", "unseen"): (["de"], None, pytest.approx(0.4), pytest.approx(0.2)),
    }
    assert found["seen"]["seen"].rank_distance == pytest.approx(6.5)
    pools = {language: PoolLanguage(questions=1, **dict.fromkeys(POOLS, value)) for language, value in own.items()}
    means = {name: group["ndcg@10"] for name, group in pool_groups(pools, {"en", "th"})["seen"].items()}
    assert means == {"seen": pytest.approx(0.65), "unseen": pytest.approx(0.2)}


class OneOrder:
    """Ranks the candidates of every query in the same order, the first text first."""

    def __init__(self, order: Sequence[str]) -> None:
        self.order = order

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        return np.tile(np.array([[1, 0]], np.float32), (len(texts), 1))

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        angles = 0.1 * np.array([self.order.index(text) for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def ten_in_one_order() -> tuple[RetrievalTask, OneOrder]:
    """Questions a, b and c in two languages, whose answers rank 1 and 2, 3 and 4, 5 and 10."""
    order = ["de a", "en a", "de b", "en b", "de c", "en w", "en x", "en y", "en z", "en c"]
    queries = [(language, name) for language in ("de", "en") for name in "abc"]
    task = RetrievalTask(
        name="ordered",
        queries=tuple(Query(name, language, f"{name}?") for language, name in queries),
        candidates=tuple(Candidate(text[3:], text[:2], (text,)) for text in order),
        relevance=np.array(
            [(q, c) for q, (_, name) in enumerate(queries) for c, text in enumerate(order) if text[3:] == name]
        ),
        candidate_texts=("passage",),
    )
    return task, OneOrder(order)


def test_medians_are_not_means():
    task, encoder = ten_in_one_order()
    result = evaluate(encoder, task, "passage")
    assert result["rank_distance"] == pytest.approx((1 + 1 + 5) / 3)
    assert result["rank_distance_median"] == 1
    assert result.per_language["en"]["rank_distance_median"] == 1
    # The answers in English are at ranks 2, 4 and 10 of the pool.
    assert result.pairs["de"]["en"].translation_rank == 4


def test_the_worst_query_of_each_language_is_shown_with_its_best_answer():
    task, encoder = ten_in_one_order()
    worst = evaluate(encoder, task, "passage").worst
    assert [(query.language, query.id, query.map) for query in worst] == [
        ("de", "c", pytest.approx((1 / 5 + 2 / 10) / 2)),
        ("en", "c", pytest.approx((1 / 5 + 2 / 10) / 2)),
    ]
    for query in worst:
        assert [(shown.rank, shown.text, shown.relevant) for shown in query.top] == [
            (1, "de a", False), (2, "en a", False), (3, "de b", False),
        ]  # fmt: skip
        assert (query.answer.rank, query.answer.text) == (5, "de c")


def test_a_report_draws_the_questions_of_a_paragraph_together():
    once = table(3)

    def ranges(of: Table) -> list[float | None]:
        values = {"map": of.multilingual["map"]}
        panel = macro.bias(of, {"map": Measured(values["map"])}, {})
        found = [end for by_setting in macro.intervals(of).values() for ends in by_setting.values() for end in ends]
        return [
            *found,
            panel["map"].low,
            panel["map"].high,
            *(macro.estimates(of, values)["map"].model_dump().values()),
        ]

    expected = ranges(once)
    assert len(expected) >= 10
    assert ranges(twice(once, once.ids)) == pytest.approx(expected, rel=1e-9)
    alone = twice(once, ())
    assert ranges(alone) != pytest.approx(expected, rel=0.01)
    few = replace(once, paragraphs=tuple(str(int(name) % 4) for name in once.ids))
    assert macro.intervals(few) == {}
    assert ranges(few)[:2] == [None, None]
