"""Searched pools and mined bitext in a sweep: tested as tasks that are ranked in full, on its page and in tables."""

import csv
from dataclasses import replace
from io import StringIO
from typing import Literal

import pytest
from support.made_up_sweep import made_up_sweep

from hybrid_jax.ablate.findings import not_supported, supported
from hybrid_jax.ablate.other_tasks import others
from hybrid_jax.ablate.page import write_page
from hybrid_jax.ablate.results import Evaluated, Sweep, read_sweep
from hybrid_jax.ablate.statistics import Statistics, analyse
from hybrid_jax.eval.compare import compare
from hybrid_jax.eval.measures.catalogue import BITEXT, POOLS

ARMS = {"a": 0.1, "b": 2.5}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    return read_sweep(made_up_sweep(tmp_path_factory.mktemp("s") / "others", ARMS, (0, 1, 2), others=True))


@pytest.fixture(scope="module")
def statistics(sweep: Sweep) -> Statistics:
    return analyse(sweep)


@pytest.mark.parametrize(("task", "kind", "metric"), [("pool", "search", "ndcg@10"), ("mined", "bitext", "accuracy")])
def test_the_means_are_the_reports_and_the_tests_are_compares(
    sweep: Sweep, statistics: Statistics, task: str, kind: Literal["search", "bitext"], metric: str
):
    for arm, runs in sweep.runs.items():
        reported = [(run.report.searches if kind == "search" else run.report.bitext)[task][metric] for run in runs]
        estimate = statistics.estimates[task, arm, (metric, kind)]
        assert estimate.estimate == pytest.approx(sum(reported) / 3, rel=1e-12)
        assert estimate.low < estimate.estimate < estimate.high
    [table] = statistics.of_task(task, kind)
    metrics = [name for name in (POOLS if kind == "search" else BITEXT) if name != "margin_f1"]
    assert [test.figure for test in table.tests] == [(name, kind) for name in metrics]
    compared = compare({arm: [run.tables for run in runs] for arm, runs in sweep.runs.items()}, [task], metrics)
    expected = {row.metric: row.against_baseline["b"] for row in compared.tasks[task].rows}
    assert {test.figure[0]: test.difference for test in table.tests} == expected


def test_a_real_difference_is_said_and_what_has_no_values_of_single_queries_shows_its_seeds(
    sweep: Sweep, statistics: Statistics
):
    found = supported(sweep, statistics, {"records": ()})
    assert any(line.startswith("pool, nDCG@10: worse than a: b by −") for line in found)
    untested = " ".join(not_supported(sweep, statistics, {"records": ()}))
    assert "4 tables" in untested  # the pool's, the bitext's, and two of the task that is ranked in full
    pool, bitext = others(sweep, statistics)
    assert (pool.key, pool.facts, bitext.key, bitext.facts) == ("pool", "A made-up pool", "mined", "A made-up bitext")
    cells = dict(zip(bitext.header, bitext.rows["b"], strict=True))
    assert " – " in cells["accuracy"][1]
    assert ", " in cells["margin F1"][1]


def test_page_and_tables_have_them(sweep: Sweep):
    page = write_page(sweep.folder)
    rows = {
        name: list(csv.DictReader(StringIO((page.parent / name).read_text()))) for name in ("table.csv", "runs.csv")
    }
    for task, metric, part in (("pool", "recall@100", "search"), ("mined", "accuracy", "bitext")):
        key = {"task": task, "metric": metric, "setting": part}
        assert [row["baseline"] for row in rows["table.csv"] if row.items() >= key.items()] == ["", "a"]
        values = [row["value"] for row in rows["runs.csv"] if row.items() >= key.items()]
        reported = [run.report.searches if part == "search" else run.report.bitext for run in sweep.runs["a"]]
        assert [float(value) for value in values[:3]] == [scores[task][metric] for scores in reported]
        assert len(values) == 6
    text = page.read_text(encoding="utf-8")
    assert text.count("Difference from a") == 4
    latex = (page.parent / "table.tex").read_text(encoding="utf-8")
    assert latex.count("\\begin{tabular}") == 3


def test_few_sentences_give_no_verdict_and_the_page_says_so(sweep: Sweep):
    def cut(run: Evaluated) -> Evaluated:
        table = run.tables["mined"]
        further = {"bitext": {name: values[:4] for name, values in table.part("bitext").items()}}
        few = replace(table, ids=table.ids[:4], languages=table.languages[:4], further=further)
        return replace(run, tables={**run.tables, "mined": few})

    some = replace(sweep, runs={arm: tuple(map(cut, runs)) for arm, runs in sweep.runs.items()})
    untested = not_supported(some, analyse(some), {"records": ()})
    sentence = "figures of a language or pair with fewer than 5 questions or paragraphs have no verdict, and their"
    assert [line for line in untested if sentence in line] == [f"mined: {sentence} intervals are too narrow."]


def test_a_task_that_a_run_lacks_is_left_out(sweep: Sweep):
    *rest, last = sweep.runs["b"]
    lacking = {name: table for name, table in last.tables.items() if name != "pool"}
    runs = {**sweep.runs, "b": (*rest, replace(last, tables=lacking))}
    some = replace(sweep, runs=runs)
    assert some.other_tasks == ("mined",)
    assert some.tasks_of_some == ("pool",)
