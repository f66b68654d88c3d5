"""A streamed corpus scores as trec_eval would score the whole of it, in bounded memory and for any block size."""

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from hybrid_jax.data.records import DataError
from hybrid_jax.embed.store_format import Recipe
from hybrid_jax.embed.store_writer import write_store
from hybrid_jax.eval import pool_search, pools
from hybrid_jax.eval.measures import metrics
from hybrid_jax.eval.measures.catalogue import POOLS
from hybrid_jax.eval.report.mode_tables import mode_table
from hybrid_jax.eval.report.schema import PoolResult
from hybrid_jax.eval.tasks import Candidate, Query, SearchTask


class OfText:
    """A direction for every text, drawn from the text itself; remembers how many passages it saw at once."""

    def __init__(self) -> None:
        self.at_once: list[int] = []

    def encode_queries(self, texts: Sequence[str]) -> np.ndarray:
        vectors = np.stack([np.random.default_rng(zlib.crc32(text.encode())).standard_normal(8) for text in texts])
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    def encode_passages(self, texts: Sequence[str]) -> np.ndarray:
        self.at_once.append(len(texts))
        return self.encode_queries(texts)


def task(count: int = 500, **changes) -> SearchTask:
    """12 queries in two languages; a fifth of the judged documents is relevant, in two grades."""

    def corpus() -> Iterator[Candidate]:
        return (Candidate(f"d{n}", "en", (f"passage {n}",)) for n in range(count))

    rng = np.random.default_rng(0)
    queries = tuple(Query(f"q{n}", "en" if n < 9 else "sw", f"query {n}?") for n in range(12))
    qrels = {
        query.id: {f"d{n}": max(0, int(rng.integers(-7, 3))) for n in rng.choice(count, size=count // 2, replace=False)}
        for query in queries
    }
    return SearchTask(**({"name": "made up", "queries": queries, "corpus": corpus, "qrels": qrels} | changes))


def expected(asked: SearchTask, encoder: OfText) -> dict[str, dict[str, float]]:
    """{language: {metric: mean}} from the scores of every pair, cut at the 100 best."""
    candidates = list(asked.corpus())
    right = encoder.encode_queries([candidate.texts[0] for candidate in candidates]).astype(np.float64)
    run = {}
    for query in asked.queries:
        scores = (right @ encoder.encode_queries([query.text])[0].astype(np.float64)).tolist()
        kept = [(row.id, score) for row, score in zip(candidates, scores, strict=True)]
        kept = [pair for pair in kept if not (asked.drop_same_id and pair[0] == query.id)]
        run[query.id] = sorted(kept, key=lambda pair: -pair[1])[:100]
    judged = metrics.judge(run, asked.qrels)
    values = {name: metrics.per_query(judged, metric.values) for name, metric in POOLS.items()}
    groups = {language: [q.id for q in asked.queries if q.language == language] for language in asked.languages}
    return {
        language: {name: float(np.mean([scores[query] for query in mine])) for name, scores in values.items()}
        for language, mine in groups.items()
    }


def figures(result: PoolResult) -> dict[str, dict[str, float]]:
    return {language: {name: row[name] for name in POOLS} for language, row in result.per_language.items()}


@pytest.mark.parametrize("at_once", [1000, 64])
def test_the_figures_are_those_of_the_whole_corpus(at_once: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pool_search, "CANDIDATES_AT_ONCE", at_once)
    asked, encoder, told = task(), OfText(), []
    result = pools.evaluate(encoder, asked, report=told.append)
    assert max(encoder.at_once) == min(at_once, 500)
    assert told == np.cumsum(encoder.at_once).tolist()
    wanted = expected(asked, OfText())
    assert set(wanted) == {"en", "sw"}
    for language, row in figures(result).items():
        assert row == pytest.approx(wanted[language], abs=1e-12)
        assert 0 < row["ndcg@10"] < 1
        assert 0 < row["recall@100"] < 1
    # The mean over languages, though one has three times as many queries.
    for name in POOLS:
        assert result[name] == pytest.approx((wanted["en"][name] + wanted["sw"][name]) / 2, abs=1e-12)
    facts = result.model_dump(include={"questions", "candidates", "languages", "relevant_missing"})
    assert facts == {"questions": 12, "candidates": 500, "languages": ["en", "sw"], "relevant_missing": 0}
    assert PoolResult.model_validate_json(result.model_dump_json()) == result


def test_a_store_is_searched_without_encoding_the_corpus(tmp_path: Path):
    asked, encoder = task(), OfText()
    recipe = Recipe(model={"name": "of text"}, rows_per_shard=128)
    store = write_store(tmp_path / "store", pools.documents(asked), encoder.encode_passages, recipe)
    seen = len(encoder.at_once)
    result = pools.evaluate(encoder, asked, store=store)
    assert len(encoder.at_once) == seen
    assert result == pools.evaluate(OfText(), asked)


def test_a_query_that_is_a_document_does_not_find_itself_where_asked():
    """As in BEIR; the place that it held goes to the next one."""
    documents = [Candidate("q0", "en", ("query 0?",)), *task(200).corpus()]
    qrels = {"q0": {"q0": 1, "d3": 1}}
    alone = {"queries": (Query("q0", "en", "query 0?"),), "corpus": lambda: iter(documents), "qrels": qrels}
    kept, dropped = task(**alone), task(**alone, drop_same_id=True)
    assert pools.evaluate(OfText(), kept)["mrr@10"] == 1.0
    result = pools.evaluate(OfText(), dropped)
    assert figures(result)["en"] == pytest.approx(expected(dropped, OfText())["en"], abs=1e-12)
    assert result["recall@100"] <= 0.5


def test_what_the_corpus_lacks_counts_as_not_found():
    asked = task(qrels={f"q{n}": {"d1": 1, "gone": 1, "never there": 0} for n in range(12)})
    result = pools.evaluate(OfText(), asked)
    assert result.relevant_missing == 1
    assert result["recall@100"] <= 0.5


def test_equal_scores_are_ordered_by_id_as_in_trec_eval():
    documents = [Candidate(name, "en", ("the same",)) for name in ("b", "c", "a")]
    for name, rank in (("c", 1), ("b", 2), ("a", 3)):
        asked = task(queries=(Query("q", "en", "?"),), corpus=lambda: iter(documents), qrels={"q": {name: 1}})
        assert pools.evaluate(OfText(), asked)["mrr@10"] == pytest.approx(1 / rank)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"size": 501}, "500 candidates, expected 501: a file is missing, cut short"),
        ({"corpus": lambda: iter(()), "size": None}, "0 candidates, expected some"),
        (
            {"corpus": lambda: iter([Candidate("d1", "en", ("x",))] * 2)},
            r"candidate 2: document id 'd1' occurs a second time \(first: task made up, candidate 1\)",
        ),
    ],
)
def test_a_corpus_that_is_not_the_official_one_is_refused(changes: dict, problem: str):
    with pytest.raises(DataError, match=problem):
        pools.evaluate(OfText(), task(**changes))


def test_pools_of_single_languages_make_one_result():
    swahili = task(queries=(Query("q0", "sw", "a?"),), qrels={"q0": {"d5": 1}}, sources={"dev.tsv": "1"})
    english = task(
        300,
        queries=(Query("q0", "en", "b?"), Query("q1", "en", "c?")),
        qrels={"q0": {"d5": 1}, "q1": {}},
        sources={"dev.tsv": "2"},
    )
    parts = {name: pools.measure(OfText(), each)[""] for name, each in (("sw", swahili), ("en", english))}
    results = [part.result for part in parts.values()]
    both, table = pools.together("both", parts, trained_on={"en"})
    assert table.data_sha256 == {"sw/dev.tsv": "1", "en/dev.tsv": "2"}  # `compare` looks at both
    assert table.ids == ("sw:q0", "en:q0", "en:q1")  # not translations of each other, though their ids are equal
    assert (both.questions, both.candidates, both.languages) == (3, 800, ["en", "sw"])
    assert both.groups["seen"]["unseen"].languages == ["sw"]
    for name in POOLS:
        assert both[name] == pytest.approx((results[0][name] + results[1][name]) / 2, abs=1e-15)
    with pytest.raises(ValueError, match=r"share the languages \['sw'\]"):
        pools.together("twice", {"a": parts["sw"], "b": parts["sw"]})


def test_a_mean_with_too_few_questions_in_a_language_has_no_interval():
    """Nine English questions, and one or five in Swahili; the documents are in both, so that there are modes."""

    def corpus() -> Iterator[Candidate]:
        return (Candidate(f"d{n}", "en" if n % 2 else "sw", (f"passage {n}",)) for n in range(300))

    for swahili in (5, 1):
        queries = tuple(Query(f"q{n}", "en" if n < 9 else "sw", f"query {n}?") for n in range(9 + swahili))
        asked = task(queries=queries, corpus=corpus, qrels={query.id: {"d5": 1, "d6": 2} for query in queries})
        result = pools.evaluate(OfText(), asked)
        estimates = [*result.first_result.values(), *(each for mode in result.modes.values() for each in mode.values())]
        assert len(estimates) == 4 + 3 * len(POOLS)
        assert [at.low is None for at in estimates] == [at.high is None for at in estimates]
        assert {at.low is None for at in estimates} == {swahili == 1}
        assert list(result.intervals) == ([] if swahili == 1 else list(POOLS))
        cells = mode_table([("model", result)]).rows[0].cells
        assert all(bool(cell.interval) == (swahili == 5) for cell in cells)
        assert cells[0].figure == f"{result.modes['pooled']['ndcg@10'].value:.4f}"
