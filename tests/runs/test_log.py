"""The log: every step once, whatever was logged before; numbers a strict reader takes; silence on other processes."""

import json
import math
import re
import sys
from pathlib import Path

import pytest

from hybrid_jax.data.schedule import KINDS
from hybrid_jax.runs.log import RunLog
from hybrid_jax.runs.window import SHORT


def log_steps(folder: Path, first: int, last: int, primary: bool = True, every: int = 1, **fields) -> None:
    with RunLog(folder, first, 10, every, primary) as log:
        for step in range(first, last):
            log.record(step, 8, {"loss": 1.0 / (step + 1), "accuracy": 0.5, "kind": "monolingual", **fields})


def lines(folder: Path) -> list[dict]:
    text = (folder / "metrics.jsonl").read_text()
    return [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]


def test_a_resumed_run_has_every_step_once(tmp_path: Path):
    log_steps(tmp_path, 0, 7)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 7, "loss": 0.')
    log_steps(tmp_path, 4, 10)
    assert [line["step"] for line in lines(tmp_path)] == list(range(10))
    assert [line["pairs_per_second"] is None for line in lines(tmp_path)] == [step in (0, 4) for step in range(10)]


def test_a_line_is_in_the_file_as_soon_as_it_is_logged(tmp_path: Path):
    with RunLog(tmp_path, 0, 10, 10, True) as log:
        for step in range(3):  # none of which but the first is printed
            log.record(step, 8, {"loss": 1.0, "accuracy": 0.5, "kind": "monolingual"})
            assert [line["step"] for line in lines(tmp_path)] == list(range(step + 1))


def test_a_log_that_is_kept_is_closed_and_goes_on(tmp_path: Path):
    with RunLog(tmp_path, 0, 10, 10, True) as log:
        for step in range(3):
            log.record(step, 8, {"loss": 1.0, "accuracy": 0.5, "kind": "monolingual"})
            before = log._file
            log.keep()
            assert before.closed
    assert [line["step"] for line in lines(tmp_path)] == [0, 1, 2]
    with RunLog(tmp_path / "none", 0, 10, 10, primary=False) as log:
        log.keep()


def test_what_is_no_number_is_null(tmp_path: Path):
    log_steps(tmp_path, 0, 1, grad_norm=math.inf, temperature=math.nan)
    (line,) = lines(tmp_path)
    assert (line["grad_norm"], line["temperature"], line["loss"]) == (None, None, 1.0)


def test_plain_lines_as_often_as_asked(tmp_path: Path, capsys):
    log_steps(tmp_path, 0, 10, every=4)
    printed = capsys.readouterr().err
    assert [line.split()[1] for line in printed.splitlines()] == ["1/10", "5/10", "9/10", "10/10"]
    assert "\r" not in printed


def test_an_early_line_says_how_long_a_run_with_rare_lines_will_take(tmp_path: Path, capsys):
    with RunLog(tmp_path, 5, 60, 50, True) as log:
        for step in range(5, 60):
            log.record(step, 8, {"loss": 1.0, "accuracy": 0.5, "kind": "monolingual"})
    early, *others = capsys.readouterr().err.splitlines()
    assert early.startswith("step 15/60 ")  # the tenth of this start
    assert re.search(r" pairs/s  \d+:\d\d left$", early)
    assert [line.split()[1] for line in others] == ["51/60", "60/60"]


def test_a_line_shows_the_means_by_kind_since_the_last_line(tmp_path: Path, capsys):
    kinds = ["cross_lingual", "monolingual", "monolingual", "cross_lingual", "monolingual"]
    with RunLog(tmp_path, 0, 10, 4, True, pool=80) as log:
        for step, kind in enumerate(kinds):
            log.record(step, 8, {"loss": float(step), "accuracy": step / 10, "kind": kind})
    first, second = capsys.readouterr().err.splitlines()
    assert re.match(r"step 1/10  loss cross 0\.0000  accuracy cross 0\.000  epochs 0\.10  peak \d+\.\d GiB$", first)
    means = r"loss mono 2\.3333 · cross 3\.0000  accuracy mono 0\.233 · cross 0\.300  epochs 0\.50"
    assert re.match(rf"step 5/10  {means}  peak \d+\.\d GiB  \d+ pairs/s  \d+:\d\d left$", second)


def test_every_kind_of_batch_has_a_short_name():
    assert list(SHORT) == list(KINDS)


def test_other_processes_write_nothing(tmp_path: Path, capsys):
    log_steps(tmp_path, 0, 2, primary=False)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == ""


def test_a_wanted_service_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # what an import finds where it is not installed
    with pytest.raises(ValueError, match=r"wandb_project is 'p'.*pip install 'hybrid_jax\[wandb\]'"):
        RunLog(tmp_path, 0, 10, 10, True, "p")
