"""Runs that are also evaluated after debiasing are arms of their own: on the page, in its tables and its tests."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.made_up_sweep import made_up_sweep

from hybrid_jax.ablate.__main__ import main
from hybrid_jax.ablate.folder import Run, read_plan
from hybrid_jax.ablate.page import write_page
from hybrid_jax.ablate.phases import commands
from hybrid_jax.ablate.request import RequestError, request
from hybrid_jax.ablate.results import read_sweep
from hybrid_jax.ablate.search import make_plan
from hybrid_jax.ablate.statistics import analyse
from hybrid_jax.eval.measures import stats

MUL = ("multilingual", "map")
DEBIAS: dict[str, Any] = {"debias": ["center", "lsar"], "debias_text": ["$FOLDER/bitext.jsonl.gz"]}


def test_debiased_arms_are_tested_beside_their_own(tmp_path: Path):
    sweep = made_up_sweep(tmp_path / "s", {"alpha=0": 0.3, "alpha=1": 3.0}, range(3), **DEBIAS)
    page = write_page(sweep).read_text(encoding="utf-8")
    with (sweep / "page" / "table.csv").open(encoding="utf-8") as file:
        rows = {
            (row["arm"], row["metric"]): row
            for row in csv.DictReader(file)
            if (row["metric"], row["setting"]) in {("map", "multilingual"), ("rank_distance", "multilingual")}
        }
    assert {arm for arm, _ in rows} == {f"alpha={a}{m}" for a in (0, 1) for m in ("", "+center", "+lsar")}
    for method in ("center", "lsar"):
        reports = [sweep / "runs" / "alpha=1" / f"seed-{seed}" / "eval" / "report.json" for seed in range(3)]
        found = [json.loads(path.read_text())["others"][method]["records"] for path in reports]
        mean = sum(report["map"]["multilingual"] for report in found) / 3
        row = rows[f"alpha=1+{method}", "map"]
        assert float(row["mean"]) == pytest.approx(mean)
        assert (row["baseline"], row["seeds"]) == ("alpha=0", "3")
        with (sweep / "page" / "runs.csv").open(encoding="utf-8") as file:
            of_runs = [line for line in csv.DictReader(file) if line["arm"] == f"alpha=1+{method}"]
        for setting in ("monolingual", "cross_lingual", "multilingual"):
            listed = [line["value"] for line in of_runs if (line["metric"], line["setting"]) == ("map", setting)]
            assert list(map(float, listed)) == [report["map"][setting] for report in found]
        listed = [float(line["value"]) for line in of_runs if line["metric"] == "rank_distance"]
        assert listed == [report["rank_distance"] for report in found]
        # What debiasing is for: the weight of the language is gone, and the records stand out.
        assert float(row["mean"]) > 1.3 * float(rows["alpha=1", "map"]["mean"])
    # The same runs, before and after: seed by seed. Other arms are other runs.
    read = read_sweep(sweep)
    values = {arm: np.stack([run.tables["records"].by_question(*MUL) for run in read.runs[arm]]) for arm in read.runs}
    for arm, matched in (("alpha=0+lsar", True), ("alpha=1+lsar", False)):
        expected = stats.difference(values[arm], values["alpha=0"], matched=matched)
        assert float(rows[arm, "map"]["p"]) == pytest.approx(expected.p)
        assert expected.p != stats.difference(values[arm], values["alpha=0"], matched=not matched).p
    assert "2 arms × 3 seeds" in page
    assert "its vectors after lsar, fitted on $FOLDER/bitext.jsonl.gz" in page
    assert page.count("<tr><th>alpha=1</th><td>3</td>") == 3  # means, bias and cost, which has no debiased arms
    assert page.count("<tr><th>alpha=1+lsar</th><td>3</td>") == 2


def test_a_run_is_evaluated_by_the_ordinary_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FOLDER", str(tmp_path))
    (tmp_path / "bitext.jsonl.gz").touch()
    plan = read_plan(made_up_sweep(tmp_path / "s", {"a": 0.1, "b": 0.2}, (0,), **DEBIAS))
    assert plan is not None
    words = commands(Run("a", 0, tmp_path), plan, None)["eval"]
    assert words[-4:] == ["--debias", "center,lsar", "--debias-text", f"{tmp_path}/bitext.jsonl.gz"]


def test_methods_without_a_text_are_refused():
    with pytest.raises(RequestError, match=r"debias and debias_text .* go together"):
        request({"debias": ["lsar"]}, "sweep.yaml")


def test_a_text_that_is_missing_is_said_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    words = [
        "--config",
        "configs/demo.yaml",
        "--arms",
        "x-y",
        "--debias",
        "lsar",
        "--debias-text",
        str(tmp_path / "no.jsonl"),
    ]
    monkeypatch.setattr("sys.argv", ["ablate", *words, "--workdir", str(tmp_path / "s")])
    assert main() == 1
    assert f"error: {tmp_path}/no.jsonl: no such file" in capsys.readouterr().err
    assert not list((tmp_path / "s").rglob("train.log"))


def test_an_unfinished_evaluation_has_no_debiased_arm_yet(tmp_path: Path):
    sweep = made_up_sweep(tmp_path / "s", {"a": 0.1, "b": 0.2}, (0,), **DEBIAS)
    (sweep / "runs" / "b" / "seed-0" / "eval" / "per_query-lsar.npz").unlink()
    assert list(read_sweep(sweep).runs) == ["a", "a+center", "a+lsar", "b", "b+center"]


def test_a_search_has_no_debiasing():
    asked = {"config": "configs/demo.yaml", "search": 2, "ranges": {"optimizer.learning_rate": "1e-5:1e-3:log"}}
    with pytest.raises(RequestError, match=r"--search has no grid, .* or debiasing"):
        make_plan(request({**asked, **DEBIAS}, "sweep.yaml"), "command")


def test_debiased_runs_are_matched_where_all_seeds_are_there(tmp_path: Path):
    folder = made_up_sweep(tmp_path / "s", {"a": 0.1}, (0, 1, 2), **DEBIAS)
    (folder / "runs" / "a" / "seed-1" / "eval" / "per_query-center.npz").unlink()
    read = read_sweep(folder)
    assert [run.seed for run in read.runs["a+center"]] == [0, 2]
    found = analyse(read).of_task("records", "headline")[0].test("a+center", ("map", "multilingual"))
    assert found is not None
    values = {
        arm: np.stack([run.tables["records"].by_question(*MUL) for run in read.runs[arm]]) for arm in ("a", "a+center")
    }
    assert found.difference.p == pytest.approx(stats.difference(values["a+center"], values["a"]).p)
