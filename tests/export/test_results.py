"""What a model card shows of an evaluation: of this very model alone, and only the tables that have rows."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from support.cards import cells, written
from support.made_up_report import made_up_report

from hybrid_jax.embed.encoder import TextEncoder
from hybrid_jax.embed.identity import model_identity
from hybrid_jax.embed.load import load
from hybrid_jax.eval.full_ranking import run
from hybrid_jax.eval.measures.catalogue import POOLS
from hybrid_jax.eval.report.build import build_report
from hybrid_jax.eval.report.schema import Report
from hybrid_jax.eval.tasks import Candidate, Query, RetrievalTask
from hybrid_jax.export.results import Results, difference, read_results
from hybrid_jax.export.settings import ExportError
from hybrid_jax.runs.trained_on import read_trained_on

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pretrained"


@pytest.fixture(scope="module")
def encoder(tiny_run) -> TextEncoder:
    return load(tiny_run.folder)


@pytest.fixture(scope="module")
def report(encoder: TextEncoder) -> Report:
    """What `python -m hybrid_jax.eval` writes of a task with four candidates."""
    names = [("de", "Haus Baum"), ("en", "house tree"), ("fr", "maison arbre"), ("en", "river town")]
    task = RetrievalTask(
        name="small|task",
        queries=tuple(Query(str(row // 3), *name) for row, name in enumerate(names)),
        candidates=tuple(Candidate(str(row // 3), name[0], (name[1],)) for row, name in enumerate(names)),
        relevance=np.array([(row, column) for row in range(4) for column in range(4) if row // 3 == column // 3]),
        candidate_texts=("passage",),
        about="Made by hand",
    )
    return build_report("tiny", run(encoder, [task]), encoder.origin.stated())


def test_an_evaluation_of_this_model_is_shown(encoder: TextEncoder, report: Report, tmp_path: Path, tiny_run):
    path = tmp_path / "report.json"
    path.write_text(report.model_dump_json())
    results = read_results(path)
    assert difference(results, encoder.origin) is None
    assert difference(results, encoder.origin.model_copy(update={"step": 20})) == "step 80 instead of 20"
    cut = load(tiny_run.folder, max_length=8).origin
    assert difference(results, cut) == "other prompts or length limits"
    card = written(encoder, results=results, trained_on=read_trained_on(tiny_run.folder / "metrics.jsonl", 80))
    means = report.tasks["small|task"].means("map")
    [shown] = [row for row in cells(card, "task") if row[1] == "mAP"]
    assert shown == [
        r"small\|task",
        "mAP",
        *(f"{means[s]:.4f}" for s in ("monolingual", "cross_lingual", "multilingual")),
    ]
    bias = {row[1]: row for row in cells(card[card.index("### Language bias") :], "task")}
    assert set(bias) == {"all", "de", "en", "fr"}
    assert bias["de"][2] == f"{report.tasks['small|task'].per_language['de']['rank_distance']:.1f}"
    assert "Evaluated without training data in: fr." in card
    assert "No evaluation" not in card


def test_searched_pools_and_bitext_are_shown_without_the_tables_of_full_rankings(encoder: TextEncoder, tiny_run):
    """As `eval --tasks beir:FOLDER` and `--tasks tatoeba` write them."""
    whole = made_up_report({"tatoeba": ["fra-eng", "zh-Hant-en"]})
    report = whole.model_copy(update={"tasks": {}})
    trained_on = read_trained_on(tiny_run.folder / "metrics.jsonl", 80)
    card = written(encoder, results=Results(report), trained_on=trained_on)
    pools = {row[0]: row[1:] for row in cells(card, "searched")}
    assert set(pools) == {"miracl", r"miracl\_hn", "beir:/data/scifact"}
    scifact = report.searches["beir:/data/scifact"]
    assert pools["beir:/data/scifact"] == [f"{scifact[name]:.4f}" for name in POOLS]
    (tatoeba,) = cells(card, "bitext")
    assert tatoeba[:2] == ["tatoeba", f"{report.bitext['tatoeba']['accuracy']:.4f}"]
    assert "- beir:/data/scifact: made up; 9 questions, 10 candidates\n" in card
    assert "- miracl: made up; 9 questions, 10 candidates; means over 18 query languages\n" in card
    assert "- tatoeba: made up; 9 sentence pairs; means over 2 pairs of languages" in card
    assert "| Mo. |" not in card
    assert "Language bias" not in card
    (unseen,) = re.findall(r"Evaluated without training data in: (.*)\.", card)
    assert {"fra", "zh-Hant", "sw"} <= set(unseen.split(", "))
    assert not {"en", "eng", "de", "es"} & set(unseen.split(", "))
    full = written(encoder, results=Results(whole), trained_on=trained_on)
    assert "### Language bias" in full
    assert {row[0] for row in cells(full, "task")} >= {"xquad"}


def test_an_evaluation_with_another_pooling_is_not_of_this_model(encoder: TextEncoder, report: Report, tmp_path: Path):
    mean, cls = (load(FIXTURES / "bert", pooling=pooling).origin for pooling in ("mean", "cls"))
    assert model_identity(mean) != model_identity(cls)
    path = tmp_path / "report.json"
    values = report.json_value()
    others = {name: fact for name, fact in values["provenance"].items() if name not in encoder.origin.stated()}
    path.write_text(json.dumps(values | {"provenance": others | mean.stated()}))
    assert difference(read_results(path), mean) is None
    assert difference(read_results(path), cls) == "pooling mean instead of cls"


def test_a_file_that_is_no_report_is_refused(report: Report, tmp_path: Path):
    path = tmp_path / "report.json"
    with pytest.raises(ExportError, match="cannot be read"):
        read_results(path)
    for content, problem in (
        ({**report.json_value(), "schema_version": 1}, "schema_version"),
        ({}, "title"),
        ("{", "the file"),
    ):
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        with pytest.raises(ExportError, match=rf"no report that this version reads \({problem}: .*hybrid_jax.eval"):
            read_results(path)
