"""One trainer per workdir: another is refused at once, a dead one replaced, a lost folder noticed before a save."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hybrid_jax.runs.lease import STALE
from hybrid_jax.runs.lock import one_trainer
from hybrid_jax.runs.workdir import MARK, WorkdirError, check_not_lost, claim

HOLD = """
import sys, time
from pathlib import Path
from hybrid_jax.runs.lock import one_trainer
with one_trainer(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def of_another_machine(lease: Path, silent: float) -> None:
    """Makes a lease one of another machine, whose holder was last seen so many seconds ago."""
    lease.write_text(json.dumps({**json.loads(lease.read_text()), "machine": "elsewhere", "host": "node-7"}))
    then = time.time() - silent
    os.utime(lease, (then, then))


def test_a_second_trainer_is_refused_in_one_line_that_says_who_and_what_to_do(tmp_path: Path):
    run = tmp_path / "run"
    with one_trainer(run) as lock:
        for _ in range(3):
            with pytest.raises(WorkdirError) as refused, one_trainer(run):
                pass
            assert re.fullmatch(
                rf"process {os.getpid()} on \S+ \(since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC\) is training in {run}: "
                rf"wait for its end or stop it \(kill {os.getpid()}\), or use another --workdir",
                str(refused.value),
            )
        lock.check()
        claim(run, "seed: 1", lambda text: [])  # a workdir with a lock and nothing else is a new one
    with one_trainer(run):
        pass
    assert sorted(path.name for path in run.iterdir()) == ["config.yaml"]


def test_nothing_is_left_of_a_workdir_where_nothing_was_written(tmp_path: Path):
    with pytest.raises(ZeroDivisionError), one_trainer(tmp_path / "a" / "run"):
        raise ZeroDivisionError
    assert not (tmp_path / "a" / "run").exists()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(WorkdirError, match=r"notes.txt is not a folder: choose another --workdir"):
        one_trainer(tmp_path / "notes.txt").__enter__()


def test_of_many_trainers_one_gets_the_workdir_also_after_a_dead_one(tmp_path: Path):
    start, checked = threading.Barrier(8, timeout=10), threading.Barrier(8, timeout=10)

    def attempt(run: Path) -> bool:
        start.wait()
        try:
            with one_trainer(run) as lock:
                checked.wait()
                lock.check()
            return True
        except WorkdirError:
            checked.wait()
            return False

    with ThreadPoolExecutor(8) as pool:
        for n in range(20):
            run = tmp_path / str(n)
            (run / "lock").mkdir(parents=True)
            if n % 2:
                (run / "lock" / "trainer.3.json").touch()  # of one that was killed between creating and writing it
                os.utime(run / "lock" / "trainer.3.json", (0, 0))
            assert sum(pool.map(attempt, [run] * 8)) == 1
            assert not list((run / "lock").glob("trainer.*"))


def test_the_workdir_of_a_trainer_that_was_killed_here_is_free_at_once(tmp_path: Path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(WorkdirError, match=rf"process {holder.pid} on .* is training in"):
            one_trainer(tmp_path).__enter__()
        holder.send_signal(signal.SIGSTOP)  # a frozen one lives
        with pytest.raises(WorkdirError, match=rf"process {holder.pid} on .* is training in"):
            one_trainer(tmp_path).__enter__()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with one_trainer(tmp_path) as lock:
            lock.check()
    finally:
        holder.kill()
        holder.communicate()
    assert list(tmp_path.iterdir()) == []


def test_a_trainer_of_another_machine_has_the_workdir_until_it_is_silent_too_long(tmp_path: Path):
    lease = tmp_path / "lock" / "trainer.1.json"
    with one_trainer(tmp_path) as sleeper:
        of_another_machine(lease, STALE - 20)
        with pytest.raises(WorkdirError, match=rf"on node-7 .*if it is dead, its lock .* ends {STALE:.0f} s after it"):
            one_trainer(tmp_path).__enter__()
        of_another_machine(lease, STALE + 20)
        with one_trainer(tmp_path) as lock:
            lock.check()
            with pytest.raises(WorkdirError):  # the one that was taken for dead
                sleeper.check()


def test_a_trainer_that_was_taken_for_dead_learns_who_has_its_workdir(tmp_path: Path):
    with one_trainer(tmp_path) as sleeper:
        sleeper.check()
        (tmp_path / "lock" / "trainer.2.json").write_text((tmp_path / "lock" / "trainer.1.json").read_text())
        with pytest.raises(WorkdirError, match=rf"process {os.getpid()} on .* has taken it over, .*let the other go"):
            sleeper.check()


def test_it_is_noticed_that_the_workdir_was_deleted_or_replaced_and_it_is_not_created_again(tmp_path: Path):
    run = tmp_path / "run"
    with one_trainer(run) as lock:
        shutil.rmtree(run)
        lock.renew()
        with pytest.raises(WorkdirError, match=r"run was deleted or replaced while this process was training in it"):
            lock.check()
        assert not run.exists()
        with one_trainer(run) as other:
            with pytest.raises(WorkdirError, match=r"run was deleted or replaced"):
                lock.check()
            lock.release()  # nor does it take the other's lock away
            other.check()


def test_a_sign_of_life_renews_the_lease(tmp_path: Path):
    with one_trainer(tmp_path) as lock:
        lease = tmp_path / "lock" / "trainer.1.json"
        os.utime(lease, (0, 0))
        lock.renew()
        assert time.time() - lease.stat().st_mtime < STALE / 2
        lock.check()


def test_a_log_with_steps_whose_checkpoints_are_gone_is_a_question(tmp_path: Path):
    log, checkpoints = tmp_path / "metrics.jsonl", tmp_path / "checkpoints"
    check_not_lost(tmp_path, 20)
    log.write_text('{"step": 0}\n')
    with pytest.raises(WorkdirError, match=r"checkpoints is gone, but .*metrics.jsonl has 1 steps: is a disk not mou"):
        check_not_lost(tmp_path, 20)
    checkpoints.mkdir()  # where a disk is mounted, as a rule
    with pytest.raises(WorkdirError, match=r"checkpoints has no checkpoint, but .* 1 steps: is a disk not mounted"):
        check_not_lost(tmp_path, 20)
    (checkpoints / MARK).write_text("the run's")
    for steps in (1, 40):  # killed before its first checkpoint, or before the first one was complete
        log.write_text('{"step": 0}\n' * steps)
        check_not_lost(tmp_path, 20)
    log.write_text('{"step": 0}\n' * 41)
    with pytest.raises(WorkdirError, match=r"has no checkpoint, but .* 41 steps: .* or remove .* to begin again at"):
        check_not_lost(tmp_path, 20)
