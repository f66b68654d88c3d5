"""A process of a run that is killed, frozen or fails: the others end in time, and their last line says what to do."""

import os
import re
import signal
import sys
import time
from pathlib import Path

import pytest
from support.processes import two_processes
from support.runs import train_command

SECONDS = 30
"""From the loss of a process to the end of the others, at most."""


@pytest.mark.skipif(sys.platform != "linux", reason="our line is the last one where C code's signals can be handled")
@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    ("lost", "number"), [(0, signal.SIGKILL), (1, signal.SIGKILL), (0, signal.SIGSTOP), (1, signal.SIGSTOP)]
)
def test_the_others_end_and_name_it(tiny_run, tmp_path: Path, lost: int, number: signal.Signals):
    command = [*train_command(tiny_run.yaml, tmp_path), "--steps", "1000000", "--log_every", "1000000"]
    with two_processes([command, command]) as processes:
        until = time.monotonic() + 100
        while not (tmp_path / "run" / "checkpoints" / "20").is_dir():
            assert time.monotonic() < until
            assert all(process.poll() is None for process in processes), processes[0].communicate()
            time.sleep(0.1)
        time.sleep(3)  # the signs of life have been seen
        os.kill(processes[lost].pid, number)
        began = time.monotonic()
        said, _ = processes[1 - lost].communicate(timeout=100)
        assert time.monotonic() - began < SECONDS
        assert processes[1 - lost].returncode == 1, said
        if lost == 1:  # process 0 has the lock, and leaves none behind
            assert not (tmp_path / "run" / "lock").exists()
    last = said.splitlines()[-1]
    assert re.fullmatch(rf"error: process {lost} is gone: start all again; the last checkpoint is step \d+", last), said


@pytest.mark.timeout(150)
def test_the_others_end_when_one_fails_and_say_why(tiny_run, tmp_path: Path):
    command = train_command(tiny_run.yaml, tmp_path)
    missing = {"TINY_ROWS": str(tmp_path / "nowhere")}
    with two_processes([command, command], [{}, missing]) as processes:
        outputs = [process.communicate(timeout=60)[0].splitlines()[-1] for process in processes]
        assert [process.returncode for process in processes] == [1, 1]
    assert "nowhere" in outputs[1]
    assert outputs[0] == f"error: process 1 has ended ({outputs[1].removeprefix('error: ')}): start all again; " + (
        "there is no checkpoint yet"
    )


PREPARING = """
import time
from hybrid_jax.runtime.peers import Peers
from hybrid_jax.runtime.processes import start_distributed
from hybrid_jax.runtime.signals import Signals
start_distributed()
peers = Peers(lambda: None, lambda: print("left the workdir", flush=True))
Signals("type it again", peers.announce).listen()
peers.watch()
print("ready", flush=True)
time.sleep(100)  # reads data, say
"""


def test_all_end_as_stopped_when_one_is_stopped_before_the_first_step():
    """A launcher starts a run again whose processes all end with 75, as when Slurm tells it that time is short."""
    with two_processes([[sys.executable, "-c", PREPARING]] * 2) as processes:
        for process in processes:
            assert process.stdout is not None
            while process.stdout.readline() != "ready\n":
                assert process.poll() is None
        processes[1].send_signal(signal.SIGUSR1)
        lines = [process.communicate(timeout=60)[0].splitlines() for process in processes]
    said = [lines[0][-2], lines[1][-1]]
    assert [process.returncode for process in processes] == [75, 75], said
    assert said[1] == "stopped before a step; type it again"
    assert lines[0][-1] == "left the workdir"  # so that the next trainer finds no lock
    assert said[0] == "process 1 has ended (stopped before a step): start all again; there is no checkpoint yet"


SAVING = """
import sys, time
from pathlib import Path
import jax
from hybrid_jax.runtime.peers import Peers
from hybrid_jax.runtime.processes import start_distributed
start_distributed()
peers = Peers(lambda: 20)
peers.watch()
time.sleep(3)  # the signs of life have been seen
print("ready", flush=True)
with peers.explained():
    while not Path(sys.argv[1]).exists():
        time.sleep(0.1)
    try:
        raise RuntimeError("UNKNOWN: Gloo AllGather failed: Connection closed by peer")
    except RuntimeError as error:
        raise ValueError("cannot write a checkpoint: make room") from error
"""


def test_a_save_that_fails_for_a_lost_process_names_the_process(tmp_path: Path):
    killed = tmp_path / "killed"
    with two_processes([[sys.executable, "-c", SAVING, str(killed)]] * 2) as processes:
        for process in processes:
            assert process.stdout is not None
            while process.stdout.readline() != "ready\n":
                assert process.poll() is None
        processes[1].kill()
        killed.touch()
        said, _ = processes[0].communicate(timeout=60)
    assert processes[0].returncode == 1
    assert said.splitlines()[-1] == "error: process 1 is gone: start all again; the last checkpoint is step 20"
    assert "cannot write" not in said
