"""mteb-shaped results: which figure stands where under which name, from a report whose figures are all different.

That mteb itself reads the files is shown in tests/parity/test_mteb_results.py.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from babel.core import get_global
from support.made_up_report import made_up_report

from hybrid_jax.eval.full_ranking import run
from hybrid_jax.eval.report.build import build_report
from hybrid_jax.eval.report.mteb_results import ISO_639_3, write
from hybrid_jax.eval.report.schema import Provenance, Report

BITEXT = {
    "flores": ["eng_Latn-deu_Latn", "eng_Latn-zho_Hans"],
    "ntrex": ["eng-deu", "eng-zho-CN", "eng-fra-CA", "eng-srp-Latn", "eng-kor"],
    "tatoeba": ["fra-eng"],
}


@pytest.fixture
def report() -> Report:
    return made_up_report(BITEXT)


def read(folder: Path) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.rglob("*.json")}


def rows(found: dict[str, Any], task: str, split: str) -> dict[str, dict[str, Any]]:
    return {row["hf_subset"]: row for row in found[task]["scores"][split]}


def test_what_mteb_has_stands_under_mtebs_names(report, tmp_path):
    assert {path.stem for path in write(tmp_path, report)} == set(read(tmp_path))
    found = read(tmp_path)
    xquad = report.tasks["xquad"].per_language["zh"]
    assert rows(found, "XQuADRetrieval", "validation")["zh"] == {
        "main_score": xquad["ndcg@10"]["monolingual"],
        "ndcg_at_10": xquad["ndcg@10"]["monolingual"],
        "recall_at_1": xquad["recall@1"]["monolingual"],
        "recall_at_10": xquad["recall@10"]["monolingual"],
        "map_at_1000": xquad["map"]["monolingual"],  # 240 candidates: nothing is beyond the 1000th
        "mrr_at_1000": xquad["mrr"]["monolingual"],
        "hf_subset": "zh",
        "languages": ["zho-Hans"],
    }
    # mteb's "deu-ara" are Arabic questions on German paragraphs.
    for split, ours in (("validation", "dev"), ("test", "test")):
        pair = rows(found, "MLQARetrieval", split)["deu-ara"]
        assert pair["ndcg_at_10"] == report.tasks[f"mlqa_{ours}_ar"].pairs["ar"]["de"]["ndcg@10"]
        assert pair["languages"] == ["deu-Latn", "ara-Arab"]
        assert len(found["MLQARetrieval"]["scores"][split]) == 49
        assert not {name for name in pair if name.startswith(("map", "mrr"))}  # a pool of unknown size
    for key, task in (("miracl", "MIRACLRetrieval"), ("miracl_hn", "MIRACLRetrievalHardNegatives")):
        swahili = report.searches[key].per_language["sw"]
        row = rows(found, task, "dev")["sw"]
        names = ("ndcg_at_10", "recall_at_100", "map_at_100", "mrr_at_10", "main_score")
        assert [row[name] for name in names] == [
            swahili[name] for name in ("ndcg@10", "recall@100", "map@100", "mrr@10", "ndcg@10")
        ]


def test_a_pair_is_divided_between_its_languages(tmp_path):
    write(tmp_path, made_up_report({"bitext:news": ["zh-Hant-en", "en-pt-PT"]}))
    [task] = [name for name, content in read(tmp_path).items() if "news" in name and "scores" in content]
    [split] = read(tmp_path)[task]["scores"]
    found = {subset: row["languages"] for subset, row in rows(read(tmp_path), task, split).items()}
    assert found == {
        "zh-Hant-en": ["zho-Hant", "eng-Latn"],
        "en-zh-Hant": ["eng-Latn", "zho-Hant"],
        "en-pt-PT": ["eng-Latn", "por-Latn"],
        "pt-PT-en": ["por-Latn", "eng-Latn"],
    }


def test_bitext_has_both_directions_where_mteb_has_them(report, tmp_path):
    write(tmp_path, report)
    found = read(tmp_path)
    german = report.bitext["flores"].pairs["eng_Latn-deu_Latn"]
    flores = rows(found, "FloresBitextMining", "devtest")
    for subset, direction in (("eng_Latn-deu_Latn", "forward"), ("deu_Latn-eng_Latn", "backward")):
        row = flores[subset]
        assert row["main_score"] == row["f1"] == german[f"weighted_f1_{direction}"]
        assert row["accuracy"] == row["recall"] == german[f"accuracy_{direction}"]
        assert "margin_f1" not in row
    assert flores["deu_Latn-eng_Latn"]["languages"] == ["deu-Latn", "eng-Latn"]
    # A Canadian French that mteb lacks is left out; scripts are named where NTREX's files do not.
    assert list(rows(found, "NTREXBitextMining", "test")) == [
        *("eng_Latn-deu_Latn", "deu_Latn-eng_Latn", "eng_Latn-zho_Hans", "zho_Hans-eng_Latn"),
        *("eng_Latn-srp_Latn", "srp_Latn-eng_Latn", "eng_Latn-kor_Hang", "kor_Hang-eng_Latn"),
    ]
    assert list(rows(found, "Tatoeba", "test")) == ["fra-eng"]


def test_every_task_is_written_whole_under_our_name(report, tmp_path):
    write(tmp_path, report)
    found = read(tmp_path)
    result = report.tasks["xquad_r"]
    task = "hybrid_jax.xquad_r"
    assert list(found[task]["scores"]) == ["monolingual", "cross_lingual", "multilingual"]
    assert list(rows(found, task, "cross_lingual")) == ["de-en", "en-de"]
    german = result.per_language["de"]
    assert rows(found, task, "multilingual")["de"] == {
        "main_score": german["map"]["multilingual"],
        "map": german["map"]["multilingual"],
        "mrr": german["mrr"]["multilingual"],
        "ndcg_at_10": german["ndcg@10"]["multilingual"],
        "recall_at_1": german["recall@1"]["multilingual"],
        "recall_at_10": german["recall@10"]["multilingual"],
        "rank_distance": german["rank_distance"],
        "hf_subset": "de",
        "languages": ["deu-Latn"],
    }
    assert "rank_distance" not in rows(found, task, "monolingual")["de"]
    pair = rows(found, task, "cross_lingual")["en-de"]
    assert (pair["map"], pair["languages"]) == (result.pairs["en"]["de"]["map"], ["eng-Latn", "deu-Latn"])
    assert rows(found, "hybrid_jax.beir-data-scifact", "test")["en"]["main_score"] > 0
    assert "hybrid_jax.xquad" in found
    assert "hybrid_jax.miracl" not in found  # all of it is mteb's


def test_the_mean_of_a_split_is_the_macro_mean_of_the_report(make_task, knows_the_record, tmp_path):
    task = make_task(("de", "en", "th"), 8)
    report = build_report("title", run(knows_the_record(task, 1, 2), [task]), {"folder": "m", "step": 1})
    write(tmp_path, report)
    found = read(tmp_path)
    for setting, mean in report.tasks["parallel"].means("map").items():
        scores = found["hybrid_jax.parallel"]["scores"][setting]
        assert np.mean([row["main_score"] for row in scores]) == pytest.approx(mean, abs=1e-12)
    assert found["hybrid_jax.parallel"]["dataset_revision"].startswith("sha256:")


def stating(report: Report, **facts: Any) -> Report:
    """The report with other provenance."""
    provenance = Provenance.model_validate({**report.provenance.model_dump(), **facts})
    return report.model_copy(update={"provenance": provenance})


def test_the_folder_names_the_model_and_its_revision(report, tmp_path):
    paths = write(tmp_path, report)
    (place,) = {path.parent for path in paths}
    meta = read(tmp_path)["model_meta"]
    assert meta["name"] == "hybrid_jax/my run"
    assert place == tmp_path / "results" / "hybrid_jax__my_run" / meta["revision"]
    # Another evaluation of the same model is beside it, another step of the run is not.
    other = {"evaluated_with": {"git_commit": "def"}, "debias": {"lsar": {"rank": 3}}}
    assert write(tmp_path, stating(report, **other))[0].parent == place
    assert write(tmp_path, stating(report, step=41))[0].parent != place


def test_the_data_is_named_by_its_hash(report, tmp_path):
    write(tmp_path / "a", report)
    hashes = {**report.provenance.data_sha256, "mlqa_dev_ar": {"mlqa_dev_ar.json": "1" * 64}}
    write(tmp_path / "b", stating(report, data_sha256=hashes))
    before, after = ({name: row.get("dataset_revision") for name, row in read(tmp_path / at).items()} for at in "ab")
    assert {name for name in before if before[name] != after[name]} == {"MLQARetrieval", "hybrid_jax.mlqa_dev_ar"}
    assert before["MIRACLRetrieval"] == "unknown"  # the report does not say


def test_somebodys_folder_of_a_benchmarks_name_is_not_that_benchmark(report, tmp_path):
    passages = report.tasks["xquad"].model_copy(update={"candidate_text": "passage"})
    write(tmp_path, report.model_copy(update={"tasks": {"xquad": passages}}))
    assert "XQuADRetrieval" not in read(tmp_path)
    assert "hybrid_jax.xquad" in read(tmp_path)


def test_the_table_of_languages_is_cldrs():
    aliases = get_global("language_aliases")
    assert {three: aliases.get(three) for three in ISO_639_3.values()} == {b: a for a, b in ISO_639_3.items()}
    assert len(ISO_639_3) == 181


def test_map_and_mrr_are_mtebs_where_it_ranks_the_whole_pool(report, tmp_path):
    """mteb ranks 1,000 candidates: of a larger pool it measures something else."""
    xquad = report.tasks["xquad"]
    sizes = {"zh": 1000, "de": 1001}
    languages = {
        code: row.model_copy(update={"candidates": sizes.get(code, 240)}) for code, row in xquad.per_language.items()
    }
    tasks = {"xquad": xquad.model_copy(update={"per_language": languages})}
    write(tmp_path, report.model_copy(update={"tasks": tasks}))
    found = rows(read(tmp_path), "XQuADRetrieval", "validation")
    depth = {code: {name for name in found[code] if name.endswith("_at_1000")} for code in sizes}
    assert depth == {"zh": {"map_at_1000", "mrr_at_1000"}, "de": set()}
