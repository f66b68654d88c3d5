"""The program that injects faults: a few trials from end to end, and that what goes badly is seen, kept and counted."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.arena import ROOT, Arena
from chaos.lives import _not_resumed, bad_words, store
from chaos.plan import ORDER, quick, whole
from chaos.results import Outcome, Results, table


@pytest.mark.skipif(sys.platform != "linux", reason="the faults are those of Linux")
@pytest.mark.timeout(600)
def test_a_few_faults_leave_no_trace_and_are_not_injected_twice(tmp_path: Path):
    command = [sys.executable, "-m", "chaos", "--quick", "--out", str(tmp_path), "--workers", "3"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    environment = {name: value for name, value in environment.items() if name != "XLA_FLAGS"}
    tables = []
    for _ in range(2):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        tables.append(done.stdout[done.stdout.index("\ncommit ") :])
        kept = (tmp_path / "results.jsonl").read_bytes()
        assert kept.count(b"\n") == len(quick())
    assert tables[0] == tables[1]
    assert tables[0].splitlines()[-1].split()[:3] == ["all", "5", "5/5"]

    # The judge tells a run or a store from another one.
    arena = Arena(tmp_path)
    run, embedded = arena.reference(), arena.result("embed")
    assert arena.difference(run, run) is None
    changed = Path(shutil.copytree(run, tmp_path / "changed"))
    lines = (changed / "metrics.jsonl").read_text().splitlines(keepends=True)
    (changed / "metrics.jsonl").write_text("".join([*lines[:50], *lines[51:]]))
    assert arena.difference(changed, run) is not None
    shutil.copy(run / "metrics.jsonl", changed)
    shutil.rmtree(changed / "checkpoints" / "120")
    assert arena.difference(changed, run) is not None
    other = Path(shutil.copytree(embedded, tmp_path / "store"))
    assert store(other) == store(embedded)
    vectors = bytearray((other / "00000.npy").read_bytes())
    vectors[-1] ^= 1
    (other / "00000.npy").write_bytes(vectors)
    assert store(other) != store(embedded)


class Said:
    """What a process has said."""

    def __init__(self, text: str):
        self.said = lambda: text


def test_lost_steps_and_bad_words_are_seen():
    assert _not_resumed(Said("resuming runs/a at step 40\n"), 60) == 20  # pyright: ignore[reportArgumentType]
    assert _not_resumed(Said("resuming runs/a at step 60\n"), 60) == 0  # pyright: ignore[reportArgumentType]
    assert _not_resumed(Said("step 1/120  loss 2.0\n"), 60) == 60  # pyright: ignore[reportArgumentType]
    assert _not_resumed(Said("killed before it says anything"), 60) == 0  # pyright: ignore[reportArgumentType]
    assert bad_words(Said("Traceback (most recent call last)"))  # pyright: ignore[reportArgumentType]
    assert bad_words(Said("stopped before a step")) == []  # pyright: ignore[reportArgumentType]


def test_results_are_kept_for_their_commit_and_seed_and_a_cut_line_is_done_again(tmp_path: Path):
    path = tmp_path / "results.jsonl"
    Results(path, "abc", 0).add("kill-0", [Outcome("kill -9: step", "at step 3", equal=True, seconds=0.5)])
    with path.open("a") as file:
        file.write('{"commit": "abc", "se')
    again = Results(path, "abc", 0)
    again.add("kill-1", [Outcome("kill -9: save", "at step 10", equal=False, lost=2)])
    assert [outcome.bad for outcome in Results(path, "abc", 0).outcomes()] == [False, True]
    assert [len(Results(path, commit, seed).units) for commit, seed in (("abd", 0), ("abc", 1))] == [0, 0]
    lines = table(Results(path, "abc", 0).outcomes(), ORDER)
    assert [line.split()[:3] for line in lines[1:3]] == [["kill", "-9:", "step"], ["kill", "-9:", "save"]]
    assert lines[-1].split() == ["all", "2", "1/2", "2", "0", "0", "0", "0.5", "s"]


def test_the_plan_has_the_faults_in_their_numbers():
    units = whole()
    assert len({unit.name for unit in units}) == len(units)

    def trials(*names: str) -> int:
        return sum(unit.trials for unit in units if unit.name.startswith(names))

    assert trials("kill-") == 100
    assert trials("term-") == 40
    assert trials("bytes-") == 60
    assert (trials("full-"), trials("lost-"), trials("frozen-"), trials("resized-")) == (10, 10, 3, 10)
    assert (trials("disagree-"), trials("two-trainers-"), trials("saves")) == (10, 5, 1)
    assert trials("stopped-") >= 5
