"""The command as a person meets it: a progress bar on a terminal, a stop that says how to go on, one-line errors."""

import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from hybrid_jax.runtime.leave import STOPPED
from hybrid_jax.train.__main__ import main

COMMAND = [sys.executable, "-m", "hybrid_jax.train"]


def test_a_terminal_shows_progress_and_a_stopped_run_says_how_to_go_on(tiny_run, tmp_path: Path):
    (tmp_path / "tiny.yaml").write_text(tiny_run.yaml, encoding="utf-8")
    run = tmp_path / "run"
    controller, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (40, 120))
    # A checkpoint at every step: slow enough to be stopped on its way.
    overrides = ["--log_every", "1000", "--checkpoint.every", "1", "--checkpoint.best_metric", "loss"]
    process = subprocess.Popen(
        [*COMMAND, "--config", str(tmp_path / "tiny.yaml"), "--workdir", str(run), *overrides],
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown, stopped, until = "", False, time.monotonic() + 150
    try:
        while time.monotonic() < until:
            try:
                shown += os.read(controller, 1000).decode(errors="replace")
            except OSError:  # the process has ended
                break
            if not stopped and re.search(r"step \d+/80 .*pairs/s", shown):
                process.send_signal(signal.SIGTERM)
                stopped = True
        assert process.wait(30) == STOPPED, shown
    finally:
        process.kill()
        process.wait()
        os.close(controller)
    assert "each query sees 7 negatives" in shown
    assert re.search(
        r"%\|.*\| step \d+/80 +loss mono \d\.\d+.*  accuracy mono \d\.\d+.*  peak .* GiB  \d+ pairs/s +\d+:\d\d left",
        shown,
    )
    assert "\r" in shown
    said = rf"stopped after \d+ of 80 steps, all of them saved; the same command resumes {re.escape(str(run))}"
    assert re.search(said, shown)


def test_a_mistake_in_the_config_is_one_line_and_leaves_nothing(
    tiny_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
):
    (tmp_path / "tiny.yaml").write_text(tiny_run.yaml + "stepz: 3\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", "--config", "tiny.yaml", "--workdir", "run"])
    status, printed = main(), capsys.readouterr()
    assert (status, printed.out) == (1, "")
    assert re.fullmatch(r"error: tiny\.yaml: unknown field stepz: did you mean steps.*\n", printed.err)
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]
