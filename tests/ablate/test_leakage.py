"""A sweep whose evaluation is in its training data is refused before any run, unless it is asked for."""

import json
import signal
import sys
from pathlib import Path

import pytest

from hybrid_jax.ablate.__main__ import main
from hybrid_jax.ablate.folder import SweepError, read_plan
from hybrid_jax.ablate.leakage import require_clean


def lines(path: Path, *rows: object) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def leaked(tmp_path: Path) -> list[str]:
    """The options of a sweep of two arms, of which the second alone trains on the evaluation."""
    pool = tmp_path / "pool"
    (pool / "qrels").mkdir(parents=True)
    lines(pool / "corpus.jsonl", {"_id": "d", "text": "The river is long."})
    lines(pool / "queries.jsonl", {"_id": "q", "text": "How long is it?"})
    (pool / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    for name, text in (("clean", "The tree is old."), ("leaked", "the River is long")):
        lines(tmp_path / f"{name}.jsonl", {"id": "1", "lang": "en", "query": "What?", "passage": text})
    config = tmp_path / "config.yaml"
    config.write_text(f"data: {{datasets: [{{name: own, path: {tmp_path}/clean.jsonl, kinds: [monolingual]}}]}}\n")
    grid = f"data.datasets.0.path={tmp_path}/clean.jsonl,{tmp_path}/leaked.jsonl"
    return [
        "--config",
        str(config),
        "--grid",
        grid,
        "--tasks",
        f"demo,beir:{pool}",
        "--workdir",
        str(tmp_path / "sweep"),
    ]


def ablate(monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr(sys, "argv", ["ablate", *options])
    monkeypatch.setattr(signal, "signal", lambda number, handler: None)
    return main()


@pytest.mark.timeout(120)
def test_a_leaked_evaluation_is_refused_once_and_for_all_unless_allowed(
    leaked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    sweep = tmp_path / "sweep"
    assert ablate(monkeypatch, *leaked) == 1
    found = "leakage: 1 normalised of the 2 evaluation texts in training"
    [error] = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: {found}")
    assert "--allow-leakage" in error
    assert not list(sweep.rglob("train.log"))
    plan = read_plan(sweep)
    assert plan is not None
    checked = (sweep / "leakage.json").stat().st_mtime_ns
    with pytest.raises(SweepError, match=found):
        require_clean(sweep, plan, None, allow=False)
    line = require_clean(sweep, plan, None, allow=True)
    assert line is not None
    assert line.startswith(found)
    assert (sweep / "leakage.json").stat().st_mtime_ns == checked
    assert require_clean(sweep, plan.model_copy(update={"tasks": ["demo"]}), None, allow=False) is None


@pytest.mark.timeout(120)
def test_a_check_that_fails_stops_the_sweep_with_its_error(
    leaked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "leaked.jsonl").unlink()
    assert ablate(monkeypatch, *leaked, "--allow-leakage") == 1
    [error] = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: the leakage check failed, see {tmp_path}/sweep/leakage.log: error: ")
    assert "leaked.jsonl: no such file" in error
