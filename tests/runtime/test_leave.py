"""A program ends with the status of its `main`, whatever its threads are doing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

BUSY = """
import atexit, socket, sys, threading, time
import jax
from jax._src import distributed
from hybrid_jax.runtime.leave import leave

with socket.socket() as probe:
    probe.bind(("localhost", 0))
    port = probe.getsockname()[1]
jax.distributed.initialize(f"localhost:{port}", 1, 0)
client = distributed.global_state.client

def send():
    while True:
        client.key_value_set("name", "value", allow_overwrite=True)

for _ in range(8):
    threading.Thread(target=send, daemon=True).start()
atexit.register(lambda: sys.stdout.write("at the end"))
sys.stdout.write("before, ")
time.sleep(0.3)
leave(0)
"""
"""With sys.exit(0) in place of leave(0), this ended with status 134 in three of three attempts."""


def run(program: str, **redirections) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [sys.executable, "-c", program], env=environment, text=True, check=False, timeout=120, **redirections
    )


def test_a_program_that_succeeds_ends_so_while_threads_are_in_c_code():
    done = run(BUSY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (0, "before, at the end"), done.stderr


@pytest.mark.parametrize("status", [0, 3, 75])
def test_the_status_and_what_was_printed_last(status: int):
    program = f"from hybrid_jax.runtime.leave import leave; print('x', end=''); leave({status})"
    done = run(program, stdout=subprocess.PIPE)
    assert (done.returncode, done.stdout) == (status, "x")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="writes to a device that is always full")
def test_lines_that_cannot_be_written_are_a_failure():
    with Path("/dev/full").open("w") as full:
        done = run("from hybrid_jax.runtime.leave import leave; print('x', end=''); leave(0)", stdout=full)
    assert done.returncode == 1
