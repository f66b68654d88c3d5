"""Modes of search, the split of the first result and CSLS on a streamed corpus: equal to a dense numpy reference."""

from collections.abc import Iterator
from pathlib import Path

import ir_measures
import numpy as np
import pytest

from hybrid_jax.embed.store_format import Recipe
from hybrid_jax.embed.store_writer import write_store
from hybrid_jax.eval import pool_search, pools
from hybrid_jax.eval.measures import pool_values
from hybrid_jax.eval.measures.catalogue import FIRST_RESULT, POOLS
from hybrid_jax.eval.measures.macro import limits
from hybrid_jax.eval.measures.parts import MODES
from hybrid_jax.eval.tasks import Candidate, Query, SearchTask
from hybrid_jax.eval.variants import csls

LANGUAGES = ("de", "en", "sw")
DIM = 6


class Numbered:
    """The vector of a text that ends in its number, drawn beforehand; few directions if `ties`."""

    def __init__(self, ties: bool) -> None:
        rng = np.random.default_rng(1)
        if ties:
            self.queries, self.passages = (np.eye(DIM, dtype=np.float32)[rng.integers(0, 3, n)] for n in (16, 400))
        else:
            self.queries, self.passages = (_unit(rng.standard_normal((n, DIM))) for n in (16, 400))

    def encode_queries(self, texts):
        return self.queries[[int(text.split()[-1]) for text in texts]]

    def encode_passages(self, texts):
        return self.passages[[int(text.split()[-1]) for text in texts]]


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def language_of(number: int) -> str:
    return "sw" if number % 40 == 0 else "de" if number % 3 == 0 else "en"


def task() -> SearchTask:
    """400 documents in three languages, ten of them in one; graded answers in some of them; one is missing."""

    def corpus() -> Iterator[Candidate]:
        return (Candidate(f"d{n:03}", language_of(n), (f"passage {n}",)) for n in range(400))

    rng = np.random.default_rng(0)
    queries = tuple(Query(f"q{n}", LANGUAGES[n % 3], f"query {n}") for n in range(16))
    qrels = {q.id: {f"d{n:03}": int(rng.integers(0, 4)) for n in rng.choice(400, 9, replace=False)} for q in queries}
    qrels["q3"]["gone"] = 1
    return SearchTask("made up", queries, corpus, qrels)


def dense(asked: SearchTask, scores: np.ndarray) -> dict[str, np.ndarray]:
    """Each mode's values per query by sorting whole rows and by trec_eval's own metrics; and the four-way split."""
    names = [candidate.id for candidate in asked.corpus()]
    languages = [candidate.language for candidate in asked.corpus()]
    measures = {"ndcg@10": ir_measures.nDCG @ 10, "recall@100": ir_measures.R @ 100, "mrr@10": ir_measures.RR}
    measures["map@100"] = ir_measures.AP @ 100
    values: dict[str, list[float]] = {f"{mode} {name}": [] for mode in MODES for name in POOLS}
    values |= {name: [] for name in FIRST_RESULT}
    for row, query in enumerate(asked.queries):
        ranking = sorted(range(400), key=lambda n: (np.float32(scores[row, n]), names[n]), reverse=True)
        place = {n: at for at, n in enumerate(ranking)}
        relevant = {name: grade for name, grade in asked.qrels[query.id].items() if grade > 0}
        language = {name: languages[names.index(name)] if name in names else query.language for name in relevant}
        right, own = names[ranking[0]] in relevant, languages[ranking[0]] == query.language
        for kind, value in zip(
            FIRST_RESULT, (right and own, right > own, own > right, not right and not own), strict=True
        ):
            values[kind].append(float(value))
        means: dict[str, list[float]] = {key: [] for key in values if key not in FIRST_RESULT}
        for wanted in set(language.values()):
            others = {name for name in relevant if language[name] != wanted}
            lists = {each: [n for n in ranking if languages[n] == each][:100] for each in LANGUAGES}
            left = {each: [n for n in row if names[n] not in others] for each, row in lists.items()}
            rounds = [[row[at] for row in left.values() if at < len(row)] for at in range(100)]
            kept = {n for row in left.values() for n in row}
            order = {
                "pooled": [n for n in ranking if n in kept][:100],
                "language_oracle": lists[wanted],
                "balanced": [n for each in rounds for n in sorted(each, key=place.__getitem__)][:100],
            }
            qrels = [ir_measures.Qrel("q", name, grade) for name, grade in relevant.items() if name not in others]
            for mode, row in order.items():
                run = [ir_measures.ScoredDoc("q", names[n], 1000.0 - at) for at, n in enumerate(row)]
                found = ir_measures.pytrec_eval.calc_aggregate(list(measures.values()), qrels, run) if run else {}
                found[ir_measures.RR] *= found[ir_measures.RR] >= 1 / 10
                for name, measure in measures.items():
                    means[f"{mode} {name}"].append(found.get(measure, 0.0))
        for key, each in means.items():
            values[key].append(float(np.mean(each)))
    return {key: np.array(each) for key, each in values.items()}


@pytest.mark.parametrize("ties", [False, True])
def test_modes_and_first_results_equal_sorting_whole_rows(ties: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked, encoder = task(), Numbered(ties)
    expected = dense(asked, encoder.queries.astype(np.float64) @ encoder.passages.T.astype(np.float64))
    monkeypatch.setattr(pool_search, "CANDIDATES_AT_ONCE", 64)
    result, table = pools.measure(encoder, asked)[""]
    for mode in MODES:
        for name in POOLS:
            wanted = expected[f"{mode} {name}"]
            if not ties:  # which of many equal ones are among the first 100 depends on the corpus' order
                np.testing.assert_allclose(table.part(mode)[name], wanted, rtol=0, atol=1e-9, err_msg=f"{mode} {name}")
                languages = np.array(table.languages)
                mean = np.mean([wanted[languages == language].mean() for language in LANGUAGES])
                estimate = result.modes[mode][name]
                assert estimate.value == pytest.approx(mean, abs=1e-9)
                low, high = limits(result.modes[mode])[name]
                assert low <= estimate.value <= high
                assert (table.part("language_oracle")[name] >= table.part("pooled")[name] - 1e-12).all()
    for name in FIRST_RESULT:
        if not ties:
            np.testing.assert_array_equal(table.part("search")[name], expected[name])
    assert np.sum([table.part("search")[name] for name in FIRST_RESULT], axis=0).tolist() == [1] * 16
    # A store is searched without its texts, and the languages are still those of the corpus.
    recipe = Recipe(model={"name": "numbered"}, rows_per_shard=128)
    store = write_store(tmp_path / "store", pools.documents(asked), encoder.encode_passages, recipe)
    assert pools.measure(encoder, asked, store=store)[""].result == result


def test_a_corpus_in_one_language_has_no_modes():
    asked = task()
    alone = SearchTask(
        "alone", asked.queries, lambda: (Candidate(c.id, "en", c.texts) for c in asked.corpus()), asked.qrels
    )
    result = pools.evaluate(Numbered(False), alone)
    assert result.modes == {}
    assert result.first_result == {}
    # One list or three, the best 100 of all are the same.
    several = pools.evaluate(Numbered(False), asked)
    assert {name: result[name] for name in POOLS} == {name: several[name] for name in POOLS}


def test_csls_equals_the_dense_formula():
    """2 cos - r_D(q) - r_Q(d) with the 10 nearest, by whole matrices; r_D(q) moves no candidate within a ranking."""
    asked, encoder = task(), Numbered(False)
    cosine = encoder.queries.astype(np.float64) @ encoder.passages.T.astype(np.float64)
    of_query = np.sort(cosine, axis=1)[:, -10:].mean(axis=1)
    of_candidate = np.sort(cosine, axis=0)[-10:].mean(axis=0)
    expected = dense(asked, 2 * cosine - of_query[:, None] - of_candidate)
    results = pools.measure(encoder, asked, {"csls": csls()})
    for mode in MODES:
        for name in POOLS:
            found = results["csls"].per_query.part(mode)[name]
            np.testing.assert_allclose(found, expected[f"{mode} {name}"], rtol=0, atol=1e-9)
    assert results["csls"].result["ndcg@10"] != results[""].result["ndcg@10"]
    changed = csls()(encoder.queries, [])
    scores = changed.queries.astype(np.float64) @ changed.passages(encoder.passages, []).T.astype(np.float64)
    np.testing.assert_allclose(scores * np.sqrt(10), 2 * cosine - of_candidate, atol=1e-6)


def test_answers_in_other_languages_take_no_place_among_the_first_100():
    """60 English answers, 45 more English documents, then the Swahili answer: without the 60 it is the 46th."""
    documents = [("en", f"e{n:02}") for n in range(105)] + [("sw", "answer"), ("sw", "last")]
    place = {name: n for n, (_, name) in enumerate(documents)}
    queries = (Query("q", "sw", "?"),)
    qrels = {"q": {"answer": 1} | {f"e{n:02}": 1 for n in range(60)}}
    asked = SearchTask("made up", queries, lambda: (Candidate(i, lang, (i,)) for lang, i in documents), qrels)
    scored = [(name, 1 - n / 200) for name, n in place.items()]
    lists = {
        lang: {"q": [row for row in scored if row[0] in {i for each, i in documents if each == lang}][:100]}
        for lang in ("en", "sw")
    }
    languages = {name: lang for lang, name in documents if name in qrels["q"]}
    table = pool_values.table(asked, {"q": scored[:100]}, lists, languages, 100)
    # Found among the English answers and among the Swahili: of each half, all are among the first 100.
    assert table.part("pooled")["recall@100"].tolist() == [1.0]
