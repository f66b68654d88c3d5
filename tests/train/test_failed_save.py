"""A save that cannot begin or end ends the process, and its last line says why; and saves leave nothing open."""

import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import jax.numpy as jnp
import pytest

from hybrid_jax.config import parse_config
from hybrid_jax.runs.checkpoint import Checkpoints, steps
from hybrid_jax.runs.keeping import CheckpointConfig
from hybrid_jax.runs.workdir import WorkdirError
from hybrid_jax.train.hooks import Hooks
from hybrid_jax.train.loop import train

SECONDS = 30
"""More than a failed save may take until the process has ended; on a quiet machine it takes about one."""


@pytest.mark.parametrize("instead", ["a file", "a folder that cannot be written", "nothing"])
def test_a_save_that_cannot_begin_ends_the_process_and_its_last_line_says_why(tiny_run, tmp_path: Path, instead: str):
    (tmp_path / "tiny.yaml").write_text(tiny_run.yaml, encoding="utf-8")
    run = tmp_path / "run"
    checkpoints = run / "checkpoints"
    command = [sys.executable, "-m", "hybrid_jax.train", "--config", str(tmp_path / "tiny.yaml"), "--workdir", str(run)]
    overrides = ["--steps", "100000", "--checkpoint.every", "5", "--checkpoint.best_metric", "loss"]
    process = subprocess.Popen([*command, *overrides], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    try:
        until = time.monotonic() + 100
        while not (checkpoints / "5").is_dir() and time.monotonic() < until:
            time.sleep(0.05)
        checkpoints.rename(tmp_path / "aside")
        if instead == "a file":
            checkpoints.write_text("x")
        elif instead != "nothing":
            checkpoints.symlink_to("/proc")  # where not even root can make a folder
        _, said = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 1, said
    # The last thing said is what ended the process. Threads of a save that was on its way may have said more before.
    error = said[said.rindex("error: ") :]
    assert error.count("\n") == 1, said
    assert error.endswith("\n"), said
    assert str(checkpoints) in error
    assert "the same command resumes the run" in error
    assert not (run / "lock").exists()


def test_a_run_whose_workdir_was_taken_over_ends_before_its_next_save(tiny_run, tmp_path: Path):
    config = parse_config(tiny_run.yaml)
    config = config.model_copy(
        update={"steps": 6, "checkpoint": config.checkpoint.model_copy(update={"every": 2, "best_metric": "loss"})}
    )
    lock = tmp_path / "run" / "lock"

    def taken_over(record: Mapping[str, Any]) -> None:
        if record["step"] == 2:
            (lock / "trainer.2.json").write_text((lock / "trainer.1.json").read_text())

    with pytest.raises(WorkdirError, match="has taken it over"):
        train(config, tmp_path / "run", hooks=Hooks(on_step=taken_over))
    assert steps(tmp_path / "run" / "checkpoints") == [2]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts open files and threads as Linux shows them")
@pytest.mark.parametrize("kind", ["fd", "task"])
def test_saves_leave_no_files_open_and_no_threads(tmp_path: Path, kind: str):
    counts = []
    with Checkpoints(tmp_path, CheckpointConfig(keep=1), 0) as checkpoints:
        for step in range(1, 31):
            checkpoints.save(step, {"numbers": jnp.arange(64.0)}, {"loss": 1.0})
            counts.append(sum(1 for _ in Path("/proc/self", kind).iterdir()))
    # The first saves start pools of threads that all use, and a count catches more or fewer of the files and threads of
    # a save on its way. The least of the last ten counts is below most of those before, unless each save leaves some.
    assert min(counts[-10:]) <= median(counts[5:15]) + 4, counts
