"""Seconds by phase: they add up, compilation is taken out of the others, and the summary tells them of a real run."""

import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from support.runs import log_of

from hybrid_jax.runs.lines import write_line
from hybrid_jax.runs.workdir import read_log
from hybrid_jax.train.__main__ import main
from hybrid_jax.train.goodput import PHASES, Goodput


def test_seconds_are_counted_by_what_the_main_thread_does():
    began = time.monotonic()
    with Goodput() as goodput:
        time.sleep(0.03)
        goodput.started(lost=5.0)
        for number in goodput.waiting(time.sleep(0.02) or n for n in (1, 2)):
            time.sleep(0.05 * number)
            with goodput.spent("save"):
                time.sleep(0.04)
        seconds = goodput.take()
        took = time.monotonic() - began
        assert goodput.take().get("step", 0.0) < 0.02
    assert seconds.pop("lost") == 5.0
    least = {"start": 0.03, "input": 0.04, "step": 0.15, "save": 0.08}
    assert set(seconds) == set(least)
    assert all(seconds[phase] >= least[phase] - 0.001 for phase in least)
    assert sum(seconds.values()) == pytest.approx(took, abs=0.01)


def test_compilation_is_a_phase_of_its_own():
    ones = jnp.ones((3, 5))
    with Goodput() as goodput:
        goodput.started(0.0)
        with goodput.spent("evaluate"):
            jax.jit(lambda x: jnp.sin(x) @ x.T + time.monotonic())(ones)  # never in the cache
        seconds = goodput.take()
    assert seconds["compile"] > seconds.get("evaluate", 0.0)


def test_a_block_that_raises_is_counted_too():
    with Goodput() as goodput:
        goodput.started(0.0)
        with suppress(KeyError), goodput.spent("save"):
            time.sleep(0.02)
            raise KeyError
        assert goodput.take()["save"] >= 0.02


def summary(monkeypatch: pytest.MonkeyPatch, run: Path) -> int:
    monkeypatch.setattr(sys, "argv", ["train", "summary", str(run)])
    return main()


def test_the_summary_of_a_run_says_where_its_time_went(
    tiny_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    log = log_of(tiny_run.folder)
    assert set(log[0]["seconds"]) >= {"start", "compile"}
    assert all("step" in line["seconds"] for line in log[1:])
    assert "evaluate" in log[10]["seconds"] or "evaluate" in log[9]["seconds"]
    assert summary(monkeypatch, tiny_run.folder) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{tiny_run.folder}: 80 steps in 1 start"
    total = sum(sum(line["seconds"].values()) for line in log)
    training = sum(line["seconds"].get("step", 0.0) for line in log)
    row = next(line.split() for line in lines if line.startswith("training "))
    assert row == ["training", f"{training:,.1f}", f"{training / total:.1%}"]
    assert all(any(line.startswith(name) for line in lines) for name in PHASES.values())
    assert lines[-1].startswith(f"goodput {training / total:.1%}; {80 * 8 / total:,.1f} pairs per second, ")

    run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
    records = [record for _, record in read_log(run / "metrics.jsonl")]
    untimed = "".join(write_line({**record, "seconds": {}}) for record in records[:3])
    (run / "metrics.jsonl").write_text(untimed, encoding="utf-8")
    assert summary(monkeypatch, run) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "its log has no times"


def test_the_summary_of_no_run_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    assert summary(monkeypatch, tmp_path) == 1
    assert capsys.readouterr().err == f"error: {tmp_path} is not a run (it has no config.yaml): give a run's workdir\n"
