"""Leases: one worker at a time has a run; the run of a dead one is taken over, once, and a late sleeper leaves it."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from hybrid_jax.runs.lease import STALE, LostError, clock, failed_since, spent, take

WORKERS = 8
HOLD = """
import sys, time
from pathlib import Path
from hybrid_jax.runs.lease import take
lease = take(Path(sys.argv[1]), "run")
assert lease is not None
print("taken", flush=True)
time.sleep(60)
"""


def winners(folder: Path, name: str) -> int:
    """How many of WORKERS that try at the same moment get the run."""
    barrier = Barrier(WORKERS)

    def attempt(_: int) -> bool:
        barrier.wait()
        return take(folder, name) is not None

    with ThreadPoolExecutor(WORKERS) as pool:
        return sum(pool.map(attempt, range(WORKERS)))


def silent(path: Path, seconds: float) -> None:
    """Makes a lease as old."""
    then = time.time() - seconds
    os.utime(path, (then, then))


def age(path: Path, seconds: float) -> None:
    """Makes a lease as old, and of another machine, where process ids mean nothing."""
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "machine": "elsewhere"}))
    silent(path, seconds)


def test_of_many_workers_one_gets_a_run(tmp_path: Path):
    for n in range(20):
        assert winners(tmp_path, f"run-{n}") == 1


def test_of_many_workers_one_takes_a_stale_run_over(tmp_path: Path):
    for n in range(20):
        assert take(tmp_path, f"run-{n}") is not None
        age(tmp_path / f"run-{n}.1.json", STALE + 5)
        assert winners(tmp_path, f"run-{n}") == 1
        assert (tmp_path / f"run-{n}.2.json").exists()


def test_a_run_is_held_while_its_worker_of_another_machine_shows_that_it_lives(tmp_path: Path):
    assert take(tmp_path, "run") is not None
    age(tmp_path / "run.1.json", STALE - 10)
    assert take(tmp_path, "run") is None
    age(tmp_path / "run.1.json", STALE + 5)
    assert take(tmp_path, "run") is not None


def test_a_worker_that_lives_here_keeps_its_run_even_if_it_is_silent(tmp_path: Path):
    assert take(tmp_path, "run") is not None
    silent(tmp_path / "run.1.json", 2 * STALE)
    assert take(tmp_path, "run") is None


def test_the_run_of_a_worker_that_was_killed_here_is_free_at_once(tmp_path: Path):
    worker = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "taken\n"
        assert take(tmp_path, "run") is None
        worker.send_signal(signal.SIGKILL)
        until = time.monotonic() + 10
        while (lease := take(tmp_path, "run")) is None and time.monotonic() < until:  # nobody has asked for its status
            time.sleep(0.05)
        assert lease is not None
    finally:
        worker.kill()
        worker.communicate()
    assert take(tmp_path, "run") is None


def rewrite(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_a_process_that_has_a_dead_workers_number_does_not_hold_its_run(tmp_path: Path):
    assert take(tmp_path, "run") is not None
    assert take(tmp_path, "run") is None
    rewrite(tmp_path / "run.1.json", started="1")  # the process of this number started at another time
    assert take(tmp_path, "run") is not None


def test_a_child_that_outlives_its_worker_holds_the_run_until_the_lease_is_stale(tmp_path: Path):
    assert take(tmp_path, "run") is not None
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    rewrite(tmp_path / "run.1.json", pid=ended.pid, child=os.getpid())
    assert take(tmp_path, "run") is None
    silent(tmp_path / "run.1.json", STALE + 5)
    assert take(tmp_path, "run") is not None


def test_a_worker_that_was_taken_for_dead_leaves_the_run(tmp_path: Path):
    sleeper = take(tmp_path, "run")
    assert sleeper is not None
    sleeper.beat(None, {"train": 3.0}, now=True)
    age(tmp_path / "run.1.json", STALE + 5)
    other = take(tmp_path, "run")
    assert other is not None
    with pytest.raises(LostError, match="another worker has taken run over"):
        sleeper.beat(None, {"train": 4.0}, now=True)
    other.beat(None, {"train": 1.0}, now=True)
    assert take(tmp_path, "run") is None


def test_an_empty_lease_is_held_until_it_is_stale(tmp_path: Path):
    (tmp_path / "run.1.json").touch()  # its worker was killed between creating and writing it, or is about to
    assert take(tmp_path, "run") is None
    silent(tmp_path / "run.1.json", STALE + 5)
    assert take(tmp_path, "run") is not None


def test_a_released_run_is_free_and_the_seconds_of_all_its_workers_are_added(tmp_path: Path):
    for seconds, how in ((3.0, "stopped"), (4.0, "failed")):
        lease = take(tmp_path, "run")
        assert lease is not None
        lease.release(how, {"train": seconds})
    last = take(tmp_path, "run")
    assert last is not None
    assert spent(tmp_path, "run") == {"train": 7.0}
    last.release("done", {"train": 1.0, "eval": 2.0})
    assert spent(tmp_path, "run") == {}  # a run whose folder was deleted begins anew


def test_a_failure_counts_for_those_who_were_there(tmp_path: Path):
    before = clock(tmp_path)
    lease = take(tmp_path, "run")
    assert lease is not None
    assert not failed_since(tmp_path, "run", before)
    lease.release("failed", {})
    assert failed_since(tmp_path, "run", before)
    assert not failed_since(tmp_path, "run", clock(tmp_path) + 1)


def test_runs_whose_names_begin_alike_have_leases_of_their_own(tmp_path: Path):
    names = ["alpha=0.seed-1", "alpha=0.5.seed-1", "alpha=0.seed-11", "alpha=0.seed-1.1"]
    assert all(take(tmp_path, name) is not None for name in names)
    assert all(take(tmp_path, name) is None for name in names)
