"""A BEIR folder scores as pytrec_eval scores its dense run, ties included: in tables, in report.json, as printed."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import pytrec_eval

from hybrid_jax.embed.load import load
from hybrid_jax.eval import __main__ as cli
from hybrid_jax.eval import pools
from hybrid_jax.eval.tasks import beir

CANDIDATES, QUERIES, LANGUAGES = 400, 15, ("de", "en", "sw")
CUTOFFS = (1, 10, 100)
TREC = {"ndcg": "ndcg_cut", "recall": "recall", "map": "map_cut"}
Run = Mapping[str, Mapping[str, float]]
Qrels = Mapping[str, Mapping[str, int]]


class Drawn:
    """The vector of a text that ends in its number; with `equal`, so many candidates in a row share a vector."""

    def __init__(self, equal: int = 1, dim: int = 6) -> None:
        rng = np.random.default_rng(1)
        rows = rng.standard_normal((QUERIES + CANDIDATES, dim))
        unit = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        self.queries, passages = unit[:QUERIES], unit[QUERIES:]
        self.passages = passages[np.arange(CANDIDATES) // equal]

    def encode_queries(self, texts):
        return self.queries[[int(text.split()[-1]) for text in texts]]

    def encode_passages(self, texts):
        return self.passages[[int(text.split()[-1]) for text in texts]]


def judgments(scores: np.ndarray) -> dict[str, dict[str, int]]:
    """Nine graded judgments a query, of grades 0 to 3; q3's relevant candidates are its last two, q4 has none."""
    rng = np.random.default_rng(0)
    qrels = {
        f"q{q}": {f"d{n}": int(rng.integers(0, 4)) for n in rng.choice(CANDIDATES, 9, replace=False)}
        for q in range(QUERIES)
    }
    last = np.argsort(scores[3])[:2]
    return {**qrels, "q3": {f"d{n}": 2 for n in last}, "q4": dict.fromkeys(qrels["q4"], 0)}


def write_beir(folder: Path, qrels: Qrels, texts: Mapping[str, str]) -> Path:
    """Queries in three languages; `texts` has every query and candidate by id."""
    (folder / "qrels").mkdir(parents=True)
    for name, kind in (("corpus", "d"), ("queries", "q")):
        rows = [
            {"_id": key, "text": text, "lang": LANGUAGES[int(key[1:]) % 3]}
            for key, text in texts.items()
            if key[0] == kind
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    judged = [f"{query}\t{name}\t{grade}" for query, graded in qrels.items() for name, grade in graded.items()]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]), encoding="utf-8")
    return folder


def dense_run(queries: np.ndarray, passages: np.ndarray) -> dict[str, dict[str, float]]:
    """Every score of every query, by one product in float64."""
    scores = queries.astype(np.float64) @ passages.T.astype(np.float64)
    return {f"q{q}": {f"d{n}": float(score) for n, score in enumerate(row)} for q, row in enumerate(scores)}


def by_pytrec_eval(run: Run, qrels: Qrels) -> dict[str, dict[str, float]]:
    """{our name of a measure: {query: value}} at `CUTOFFS`; MRR@k is the reciprocal rank where it is at least 1/k."""
    asked = {f"{trec}.{k}" for trec in TREC.values() for k in CUTOFFS}
    evaluated = pytrec_eval.RelevanceEvaluator(qrels, {*asked, "recip_rank"}).evaluate(run)
    values = {
        f"{name}@{k}": {query: row[f"{trec}_{k}"] for query, row in evaluated.items()}
        for name, trec in TREC.items()
        for k in CUTOFFS
    }
    for k in CUTOFFS:
        ranks = {query: row["recip_rank"] for query, row in evaluated.items()}
        values[f"mrr@{k}"] = {query: value if value >= 1 / k else 0.0 for query, value in ranks.items()}
    return values


def mean_of_languages(values: Mapping[str, float]) -> float:
    """The mean over query languages of the mean over a language's queries, as reports state it."""
    return float(np.mean([np.mean([v for q, v in values.items() if int(q[1:]) % 3 == n]) for n in range(3)]))


@pytest.mark.parametrize("equal", [1, 4], ids=["no ties", "ties of four"])
def test_values_of_each_query_are_pytrec_evals(equal: int, tmp_path: Path):
    """Ties of four leave whole groups among the first 100, so that trec_eval's rule (greater id first) decides all."""
    encoder = Drawn(equal)
    run = dense_run(encoder.queries, encoder.passages)
    qrels = judgments(encoder.queries @ encoder.passages.T)
    texts = {f"d{n}": f"passage {n}" for n in range(CANDIDATES)} | {f"q{n}": f"query {n}" for n in range(QUERIES)}
    measured = pools.measure(encoder, beir(write_beir(tmp_path / "made", qrels, texts)), cutoffs=CUTOFFS)[""]
    expected = by_pytrec_eval(run, qrels)
    table = measured.per_query
    for name, wanted in expected.items():
        actual = dict(zip(table.ids, table.part("search")[name].tolist(), strict=True))
        assert actual == pytest.approx(wanted, abs=1e-9), name
        assert measured.result.cutoffs[name].value == pytest.approx(mean_of_languages(wanted), abs=1e-9)
    assert {values[query] for values in expected.values() for query in ("q3", "q4")} == {0.0}
    for name in ("ndcg@10", "mrr@10", "recall@100", "map@100"):
        assert measured.result[name] == pytest.approx(mean_of_languages(expected[name]), abs=1e-9)


def test_ties_across_place_100_go_by_the_corpus_and_not_as_in_trec_eval(tmp_path: Path):
    """Of 150 equal scores the first 100 of the corpus are kept. Among these the greater id ranks first."""

    class Equal:
        def encode_queries(self, texts):
            return np.tile(np.array([1, 0], np.float32), (len(texts), 1))

        encode_passages = encode_queries

    texts = {f"d{n:03}": "passage" for n in range(150)} | {"q0": "query", "q1": "query"}
    qrels = {"q0": {"d099": 1}, "q1": {"d149": 1}}
    folder = write_beir(tmp_path / "equal", qrels, texts)
    table = pools.measure(Equal(), beir(folder), cutoffs=CUTOFFS)[""].per_query
    assert table.part("search")["mrr@100"].tolist() == [1, 0]
    run = {query: {name: 1.0 for name in texts if name[0] == "d"} for query in qrels}
    assert by_pytrec_eval(run, qrels)["mrr@100"] == pytest.approx({"q0": 1 / 51, "q1": 1})


def test_what_the_command_prints_and_writes_is_pytrec_evals(tiny_run, tmp_path: Path, monkeypatch, capsys):
    rng = np.random.default_rng(2)
    words = ["Haus", "Baum", "Fluss", "Stadt", "house", "tree", "river", "town", "casa", "árbol", "río", "ciudad"]
    texts = {f"d{n}": " ".join([*rng.choice(words, 3), str(n)]) for n in range(60)}
    texts |= {f"q{n}": " ".join(rng.choice(words, 2)) + "?" for n in range(QUERIES)}
    encoder = load(tiny_run.folder)
    queries = encoder.encode_queries([text for key, text in texts.items() if key[0] == "q"])
    passages = encoder.encode_passages([text for key, text in texts.items() if key[0] == "d"])
    qrels = {f"q{q}": {f"d{n}": int(rng.integers(0, 4)) for n in rng.choice(60, 6)} for q in range(QUERIES)}
    folder = write_beir(tmp_path / "made", qrels, texts)
    expected = {
        name: mean_of_languages(values) for name, values in by_pytrec_eval(dense_run(queries, passages), qrels).items()
    }
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: None)  # it is for a whole process
    asked = ["--ckpt", str(tiny_run.folder), "--tasks", f"beir:{folder}", "--cutoffs", "1,10,100"]
    monkeypatch.setattr(sys, "argv", ["eval", *asked, "--out", str(tmp_path / "out")])
    assert cli.main() == 0
    printed = capsys.readouterr().out
    for name in ("ndcg@10", "mrr@10", "recall@100"):
        assert f"{expected[name]:.4f}" in printed, name
    result = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["searches"]["beir:made"]
    for name, value in expected.items():
        assert result["cutoffs"][name]["value"] == pytest.approx(value, abs=1e-9), name
        assert f"{value:.4f}" in (tmp_path / "out" / "report.md").read_text(encoding="utf-8"), name
