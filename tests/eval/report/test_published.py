"""The figures of others are what the papers print, each has a source, and nothing else gets into the file."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from hybrid_jax.eval.measures.catalogue import HEADLINE
from hybrid_jax.eval.report.listings import SEARCH
from hybrid_jax.eval.report.published import Published, for_task, load, parse
from hybrid_jax.eval.tasks import TASKS

SETTINGS = {"Mo": "monolingual", "Cr": "cross_lingual", "Mul": "multilingual"}
TASK_NAMES = {"XQuAD-R": "xquad_r", "MLQA-R": "mlqa_r"}


def system(task: str, name: str) -> Published:
    [found] = [row for row in for_task(task) if row.system == name]
    return found


def of(metric: str, setting: str, row: Published) -> dict[str, float]:
    [values] = [
        values
        for name, settings in row.figures.items()
        if name == metric
        for key, values in settings.items()
        if key == setting
    ]
    return values


def test_every_figure_of_the_hybrid_paper_is_the_one_it_prints(real_data: Path):
    printed = json.loads((real_data / "paper_tables.json").read_text(encoding="utf-8"))
    compared = 0
    for title, rows in printed["tables"].items():
        _, encoder, data, kind = title.split(" ", 3)
        for column, name in enumerate(printed["columns"]):
            setting, arm = name.split(" ")
            metric = "map" if kind == "mAP" else "recall@10" if setting == "Mul" else "recall@1"
            found = of(
                metric, SETTINGS[setting], system(TASK_NAMES[data], f"{encoder}, {arm.replace('Hybrid', 'hybrid')}")
            )
            assert found == {language.replace("Mean", "mean"): row[column] for language, row in rows.items()}
            compared += len(rows)
    assert compared == 9 * 4 * (12 + 8)


@pytest.mark.parametrize("row", load(), ids=lambda row: f"{row.task} {row.system}")
def test_every_row_names_its_task_its_source_and_our_metrics(row: Published):
    assert row.task in TASKS
    assert row.source.title
    assert row.table
    assert set(row.figures) <= {*HEADLINE, *SEARCH}


@pytest.mark.parametrize("row", load(), ids=lambda row: f"{row.task} {row.system}")
def test_a_printed_mean_is_the_mean_of_the_printed_languages(row: Published):
    for metric, settings in row.figures.items():
        for values in settings.values():
            languages = [value for code, value in values.items() if code != "mean"]
            if languages:
                digits = 0.1 if metric == "rank_distance" else 1e-3 if row.source.title.startswith("BGE") else 1e-4
                # Both the mean and what it is a mean of are rounded.
                assert values["mean"] == pytest.approx(sum(languages) / len(languages), abs=1.001 * digits)


def test_a_task_has_a_table_of_means_and_of_languages():
    row = system("xquad_r", "LaBSE, hybrid")
    assert row.means["map"] == {"monolingual": 0.8167, "cross_lingual": 0.7672, "multilingual": 0.6817}
    assert row.means["rank_distance"] == {"multilingual": 221.1}
    assert row.of("th")["rank_distance"] == {"multilingual": 323.9}
    assert row.of("fr") == {}
    assert row.candidate_text is None
    assert "not stated" in (row.note or "").lower()
    mined = system("miracl", "mE5-large")
    assert mined.of("te") == {"ndcg@10": {"monolingual": 0.846}}


def test_a_key_and_its_candidate_text_choose_the_rows():
    everything = {row.system for row in for_task("xquad_r")}
    sentence = {row.system for row in for_task("xquad_r:sentence", "sentence")}
    assert {row.system for row in for_task("xquad_r", "sentence+paragraph")} == everything
    assert {"LaBSE, hybrid"} <= sentence < everything
    assert "mBERT, X-Y" in everything - sentence  # LAReQA encodes the paragraph with the sentence
    assert {row.task for row in for_task("miracl")} == {"miracl"}
    assert for_task("demo") == for_task("pooled:folder") == []


def text(**changes: Any) -> str:
    block = {"task": "xquad_r", "paper": "p", "table": "1", "systems": {"a": {"map": {"multilingual": 0.5}}}}
    return yaml.safe_dump({"papers": {"p": {"title": "t", "url": "https://x"}}, "results": [{**block, **changes}]})


def test_a_number_alone_is_a_mean():
    [row] = parse(text())
    assert row.figures == {"map": {"multilingual": {"mean": 0.5}}}
    assert (row.source.title, row.source.url) == ("t", "https://x")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"systems": {"a": {"mAP": {"multilingual": 0.5}}}}, r"systems\.a\.mAP.*Input should be 'map'"),
        ({"systems": {"a": {"map": {"mul": 0.5}}}}, r"systems\.a\.map\.mul.*Input should be 'monolingual'"),
        ({"systems": {"a": {"map": {"multilingual": 50}}}}, "'a' on xquad_r, map, multilingual: 50 is more than 1"),
        ({"systems": {"a": {"map": {"multilingual": {"de": 0.5}}}}}, "no mean"),
        ({"systems": {"a": {"map": {"multilingual": {"mean": 1, "xx": 0.5}}}}}, "'xx' is no language"),
        ({"systems": {"a": {}}}, "at least 1 item"),
        ({"systems": {}}, "at least 1 item"),
        ({"table": ""}, "table: String should have at least 1 character"),
        ({"paper": "q"}, "xquad_r names the paper 'q': add it to papers"),
        ({"ours": True}, "ours: Extra inputs are not permitted"),
    ],
)
def test_what_is_wrong_is_named_and_refused(changes: dict[str, Any], problem: str):
    with pytest.raises(ValueError, match=f"^published figures: .*{problem}"):
        parse(text(**changes))


def test_no_yaml_a_source_without_address_and_a_system_that_is_there_twice_are_refused():
    with pytest.raises(ValueError, match="no YAML"):
        parse("a: [")
    with pytest.raises(ValueError, match=r"papers\.p\.url"):
        parse(text().replace("https://x", "x"))
    twice = yaml.safe_load(text())
    twice["results"] *= 2
    with pytest.raises(ValueError, match="'a' on xquad_r is there twice"):
        parse(yaml.safe_dump(twice))
