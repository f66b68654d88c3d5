"""The export's command: a loadable folder and its card from nothing but a run's folder, and one-line errors."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from support.made_up_report import made_up_report

from hybrid_jax.embed.load import load
from hybrid_jax.eval.report.schema import Provenance
from hybrid_jax.export import __main__ as cli


def run_cli(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["export", *arguments])
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: None)  # it is for a whole process
    return cli.main()


def test_a_run_becomes_a_folder_that_gives_its_embeddings(tiny_run, tmp_path: Path, monkeypatch, capsys):
    out = tmp_path / "deep" / "out"
    assert run_cli(monkeypatch, "--ckpt", str(tiny_run.folder), "--out", str(out)) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out.splitlines()[0] == f"wrote {out} for sentence-transformers, float32; read back and checked"
    assert (
        "largest cosine distance to the original's embeddings: 0, computed in float32 (allowed: 1e-06)" in printed.out
    )
    texts = ["Haus Baum?", "", "ciudad " * 30]
    run, folder = load(tiny_run.folder), load(out)
    np.testing.assert_array_equal(folder.encode_queries(texts), run.encode_queries(texts))
    np.testing.assert_array_equal(folder.encode_passages(texts), run.encode_passages(texts))
    card = (out / "README.md").read_text(encoding="utf-8")
    assert "this is step 80 of 80" in card
    assert "No evaluation of it is known" in card


def test_the_folder_that_one_is_in_is_filled(tiny_run, tmp_path: Path, monkeypatch, capsys):
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(out)
    assert run_cli(monkeypatch, "--ckpt", str(tiny_run.folder), "--out", ".", "--push-to-hub", "a/b", "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "note: the folder that you are in was replaced: type `cd .`" in printed
    assert "  modules.json " in printed.split("would upload to a/b:")[1]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    expected, actual = (load(folder).encode_queries(["Haus?"]) for folder in (tiny_run.folder, out))
    np.testing.assert_array_equal(actual, expected)


def test_an_evaluation_of_another_step_stays_out_of_the_card(tiny_run, tmp_path: Path, monkeypatch, capsys):
    run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
    report = made_up_report({})
    stated = Provenance.model_validate({**report.provenance.model_dump(), "step": 20})
    (run / "eval").mkdir()
    (run / "eval" / "report.json").write_text(report.model_copy(update={"provenance": stated}).model_dump_json())
    arguments = ["--ckpt", str(run), "--out", str(tmp_path / "out")]
    assert run_cli(monkeypatch, *arguments, "--report", str(run / "eval" / "report.json")) == 1
    assert "report.json is of another model (step 20 instead of 80): name the report" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert run_cli(monkeypatch, *arguments) == 0
    assert "(step 20 instead of 80): the model card has no evaluation" in capsys.readouterr().err
    assert "No evaluation of it is known" in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")


def test_mistakes_are_one_line_and_leave_nothing(tiny_run, tmp_path: Path, monkeypatch, capsys):
    run = ["--ckpt", str(tiny_run.folder)]

    def told(*arguments: str) -> str:
        assert run_cli(monkeypatch, *arguments) == 1
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        return lines[0]

    out = ["--out", str(tmp_path / "out")]
    assert "share one tower here: leave --tower out" in told(*run, *out, "--tower", "query")
    assert "has no checkpoint of step 33" in told(*run, *out, "--step", "33")
    assert "no folder" in told("--ckpt", str(tmp_path / "nowhere"), *out)
    assert "nowhere.json: cannot be read" in told(*run, *out, "--report", str(tmp_path / "nowhere.json"))
    assert list(tmp_path.iterdir()) == []
    assert "exists and is not an empty folder" in told(*run, "--out", str(tiny_run.folder))
