"""The evaluation's command: a report with its provenance from nothing but a run's folder, and one-line errors."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hybrid_jax.eval import __main__ as cli
from hybrid_jax.runs.workdir import note_start

SETTINGS = {"monolingual", "cross_lingual", "multilingual"}


def test_a_run_is_evaluated_beside_the_untrained_model(tiny_run, tmp_path: Path):
    command = [sys.executable, "-m", "hybrid_jax.eval", "--ckpt", str(tiny_run.folder), "--tasks", "demo"]
    arguments = ["--untrained", "--out", str(tmp_path / "report"), "--title", "tiny & small"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    assert f"evaluating {tiny_run.folder}, step 80, on demo" in done.stdout
    written = ["per_query-untrained.npz", "per_query.npz", "report.html", "report.json", "report.md"]
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == written
    report = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert report["title"] == "tiny & small"
    found, untrained = report["tasks"]["demo"], report["others"]["untrained"]["demo"]
    for result in (found, untrained):
        assert set(result["map"]) == SETTINGS
        assert all(0 < value <= 1 for value in result["map"].values())
    assert found["map"] != untrained["map"]
    assert f"{found['map']['multilingual']:.4f}" in done.stdout
    facts = report["provenance"]
    assert (facts["step"], facts["dtype"]) == (80, "float32")
    assert facts["config"]["optimizer"]["learning_rate"] == 0.01
    assert set(facts["training_data"]) == {"tiny", "the tokenizer"}
    assert {"git_commit", "packages", "devices"} <= set(facts["trained_with"])
    assert {"evaluated_with", "tie_rule", "data_sha256"} <= set(facts)


def test_two_evaluations_are_compared(tiny_run, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: None)
    for name, step in (("early", tiny_run_steps(tiny_run)[0]), ("late", tiny_run_steps(tiny_run)[-1])):
        out = ["--step", str(step), "--out", str(tmp_path / name)]
        monkeypatch.setattr(sys, "argv", ["eval", "--ckpt", str(tiny_run.folder), "--tasks", "demo", *out])
        assert cli.main() == 0
    capsys.readouterr()
    asked = ["compare", str(tmp_path / "early"), str(tmp_path / "late"), "--metrics", "map"]
    monkeypatch.setattr(sys, "argv", ["eval", *asked])
    assert cli.main() == 0
    told = capsys.readouterr().out
    assert "late" in told
    assert any(verdict in told for verdict in ("better", "worse", "no evidence"))


def tiny_run_steps(tiny_run) -> list[int]:
    return sorted(int(path.name) for path in (tiny_run.folder / "checkpoints").iterdir() if path.name.isdecimal())


def test_a_beir_folder_is_searched(tiny_run, tmp_path: Path, monkeypatch, capsys):
    """Each query is one document's own text, so every model finds it first."""
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    texts = {"en": "What is the capital of France?", "de": "Wie heißt die Hauptstadt von Spanien?", "th": "เมืองหลวง"}
    corpus = [{"_id": f"d{n}", "title": "", "text": text, "lang": lang} for n, (lang, text) in enumerate(texts.items())]
    queries = [{"_id": f"q{n}", "text": text, "lang": lang} for n, (lang, text) in enumerate(texts.items())]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    judged = [f"q{n}\td{n}\t1" for n in range(3)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *judged]))
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: None)
    out = tmp_path / "out"
    monkeypatch.setattr(
        sys, "argv", ["eval", "--ckpt", str(tiny_run.folder), "--tasks", f"beir:{folder}", "--out", str(out)]
    )
    assert cli.main() == 0
    assert "nDCG@10" in capsys.readouterr().out
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["title"] == "run, step 80"
    found = report["searches"][f"beir:{folder.name}"]
    assert found["candidates"] == found["questions"] == 3
    assert set(found["per_language"]) == {"de", "en", "th"}
    assert 0 < found["ndcg@10"] <= 1
    assert f"{found['ndcg@10']:.4f}" in (out / "report.md").read_text(encoding="utf-8")
    assert f"{found['ndcg@10']:.4f}" in (out / "report.html").read_text(encoding="utf-8")


def test_a_published_model_is_evaluated_by_the_same_command(tmp_path: Path, monkeypatch, capsys):
    minilm = Path(__file__).parents[1] / "fixtures" / "pretrained" / "minilm"
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: None)
    asked = ["--ckpt", str(minilm), "--tasks", "demo", "--query-prompt", "q: ", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["eval", *asked])
    assert cli.main() == 0
    assert f"evaluating {minilm} on demo" in capsys.readouterr().out
    facts = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))["provenance"]
    assert facts["format"] == "sentence-transformers"
    assert facts["texts"]["query_prompt"] == "q: "
    assert len(facts["weights_sha256"]) == 64
    told = run_cli(monkeypatch, capsys, *asked, "--untrained")
    assert "is not a run" in told


def run_cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture, *arguments: str) -> str:
    """The error line of a command that fails."""
    monkeypatch.setattr(sys, "argv", ["eval", *arguments])
    monkeypatch.setattr(cli, "keep_freed_memory", lambda: None)  # it is for a whole process
    assert cli.main() == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


def test_mistakes_are_one_line(tiny_run, tmp_path: Path, monkeypatch, capsys):
    run = ["--ckpt", str(tiny_run.folder)]
    told = run_cli(monkeypatch, capsys, *run, "--tasks", "demo,nope")
    assert told.startswith("error: no task 'nope': choose from demo, xquad_r, mlqa_r, tydiqa, ")
    told = run_cli(monkeypatch, capsys, "--ckpt", str(tmp_path))
    assert "is not a run (no config.yaml and tokenizer/), nor a model's folder (no config.json)" in told
    told = run_cli(monkeypatch, capsys, *run, "--step", "33")
    assert "has no checkpoint of step 33; it has " in told
    told = run_cli(monkeypatch, capsys, *run, "--tasks", "xquad_r", "--data-dir", str(tmp_path / "nowhere"))
    assert str(tmp_path / "nowhere") in told


def test_a_run_that_was_changed_by_hand_is_refused(tiny_run, tmp_path: Path, monkeypatch, capsys):
    run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
    text = (run / "config.yaml").read_text(encoding="utf-8")
    (run / "config.yaml").write_text(text.replace("hidden_size: 16", "hidden_size: 32"), encoding="utf-8")
    assert "config.yaml is damaged (it is not what the run wrote)" in run_cli(monkeypatch, capsys, "--ckpt", str(run))
    note_start(run, {}, {})  # which takes the files as they are now for what the run wrote
    assert "holds another architecture" in run_cli(monkeypatch, capsys, "--ckpt", str(run))
    (run / "config.yaml").write_text(text[:30], encoding="utf-8")
    note_start(run, {}, {})
    assert "config.yaml: " in run_cli(monkeypatch, capsys, "--ckpt", str(run))
