"""Runs that are told to stop, as real processes: nothing is lost, nothing good is called damaged, and they do end."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.runs import assert_equal_runs, narrow_pipe, train_command

from hybrid_jax.config import Config, parse_config
from hybrid_jax.runs.checkpoint import steps
from hybrid_jax.runtime.leave import STOPPED
from hybrid_jax.runtime.signals import Signals
from hybrid_jax.train.loop import train

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sets the size of a pipe, which only Linux does")


@pytest.fixture(scope="module")
def config(tiny_run) -> Config:
    return parse_config(tiny_run.yaml)


@contextmanager
def stalled(
    command: list[str], printed: str, log: Path, at_least: int
) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """The process, and the end of a pipe that is full of its lines: it stands still after `at_least` steps or more."""
    reading, writing = narrow_pipe(printed)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=writing)
    os.close(writing)
    try:
        until, before, now = time.monotonic() + 150, -1, 0
        while now < at_least or now != before:
            assert process.poll() is None, os.read(reading, 4096)
            assert time.monotonic() < until
            time.sleep(0.3)
            before, now = now, log.read_bytes().count(b"\n") if log.exists() else 0
        yield process, reading
    finally:
        process.kill()
        process.wait()
        os.close(reading)


def read_all(reading: int) -> str:
    said = b""
    while more := os.read(reading, 65536):
        said += more
    return said.decode()


FINISHED = """
import time
from hybrid_jax.runtime.signals import Signals
signals = Signals()
signals.listen()
with signals.while_stepping():
    print("stepping", flush=True)
    while not signals.stop_after(1):
        time.sleep(0.05)
signals.finished(75)
print("saved", flush=True)
time.sleep(100)  # waits for the other processes
"""


def test_a_process_that_has_saved_ends_as_such_however_often_it_is_told():
    """As under srun --kill-on-bad-exit, which sends SIGTERM to the others when the first has ended with 75."""
    with subprocess.Popen([sys.executable, "-c", FINISHED], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line, number in (("stepping\n", signal.SIGUSR1), ("saved\n", signal.SIGTERM)):
            assert process.stdout.readline() == line
            process.send_signal(number)
        assert process.wait(30) == STOPPED


def test_a_signal_saves_the_next_step_and_the_run_goes_on_from_it(tiny_run, config: Config, tmp_path: Path):
    run = tmp_path / "run"
    command = train_command(tiny_run.yaml, tmp_path)
    with stalled(command, tiny_run.printed, run / "metrics.jsonl", 45) as (process, reading):
        for number in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT):  # within a second: one notice
            process.send_signal(number)
        time.sleep(0.2)
        said = read_all(reading)
        assert process.wait(60) == STOPPED, said
    saved = max(steps(run / "checkpoints"))
    assert 45 <= saved < config.steps
    assert f"told to stop: saving step {saved} " in said
    assert (run / "metrics.jsonl").read_text().count("\n") == saved
    assert not (run / "lock").exists()
    # It may not be the best, unless it was due anyway.
    metrics = json.loads((run / "checkpoints" / str(saved) / "metrics" / "metrics").read_bytes())
    assert ("loss" in metrics) == ("heldout_loss" in metrics) == (saved % config.checkpoint.every == 0)

    assert train(config, run)
    assert_equal_runs(run, tiny_run.folder, config)


class ToldAtStepThree(Signals):
    def stop_after(self, step: int) -> bool:
        return step == 3


def test_a_checkpoint_that_a_signal_caused_is_never_the_best(config: Config, tmp_path: Path):
    checkpoint = config.checkpoint.model_copy(update={"every": 2, "best_metric": "loss"})
    run = tmp_path / "run"
    assert not train(config.model_copy(update={"steps": 6, "checkpoint": checkpoint}), run, signals=ToldAtStepThree())
    metrics = {
        step: json.loads((run / "checkpoints" / str(step) / "metrics" / "metrics").read_bytes()) for step in (2, 3)
    }
    assert {"loss", "accuracy"} <= metrics[2].keys()
    assert not {"loss", "accuracy"} & metrics[3].keys()  # nor under another best_metric, after a resume
    assert "grad_norm" in metrics[3]


def test_a_step_that_does_not_end_in_time_is_left_without_a_checkpoint():
    code = FINISHED.replace("signals = ", "import hybrid_jax.runtime.signals as module\nmodule.GRACE = 0.5\nsignals = ")
    code = code.replace("while not signals.stop_after(1):", "while True:")
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as it:
        assert it.stdout is not None
        assert it.stdout.readline() == "stepping\n"
        it.send_signal(signal.SIGTERM)
        _, said = it.communicate(timeout=30)
    assert it.returncode == 128 + signal.SIGTERM
    assert "stopped without it" in said


def test_a_second_signal_ends_the_run_at_once(tiny_run, config: Config, tmp_path: Path):
    run = tmp_path / "run"
    command = train_command(tiny_run.yaml, tmp_path)
    with stalled(command, tiny_run.printed, run / "metrics.jsonl", 45) as (process, _):
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):  # it stands still, in the midst of a step
            process.wait(1.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 128 + signal.SIGINT
    assert max(steps(run / "checkpoints")) == 40
    assert not (run / "lock").exists()


@pytest.mark.parametrize("delay", [0.0, 0.25])
def test_a_signal_while_restoring_leaves_the_checkpoints_as_they_are(
    tiny_run, config: Config, tmp_path: Path, delay: float
):
    run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
    before = sorted(path for path in (run / "checkpoints").rglob("*") if path.is_file())
    command = train_command(tiny_run.yaml, tmp_path)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        begun = (run / "run.json").stat().st_mtime_ns
        while (run / "run.json").stat().st_mtime_ns == begun:  # this start is noted there just before
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[0]
    finally:
        process.kill()
    assert process.returncode in (STOPPED, 0), said
    assert "damaged" not in said
    assert sorted(path for path in (run / "checkpoints").rglob("*") if path.is_file()) == before
