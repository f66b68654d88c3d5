"""Runs of tests: the command that trains one as a process, and whether two ended equal."""

import fcntl
import json
import os
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from hybrid_jax.config import Config
from hybrid_jax.runs.checkpoint import restore
from hybrid_jax.runtime.mesh import make_mesh
from hybrid_jax.train.optim import make_optimizer
from hybrid_jax.train.state import abstract_state


def train_command(yaml: str, tmp_path: Path) -> list[str]:
    (tmp_path / "tiny.yaml").write_text(yaml, encoding="utf-8")
    arguments = ["--config", str(tmp_path / "tiny.yaml"), "--workdir", str(tmp_path / "run")]
    return [sys.executable, "-m", "hybrid_jax.train", *arguments]


def narrow_pipe(printed: str) -> tuple[int, int]:
    """The two ends of a pipe that holds the lines of about 50 steps of a run that prints the same as `printed`; then
    the run stands still. Linux only."""
    reading, writing = os.pipe()
    size = fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 32768)
    os.write(writing, b"-" * (size - len(printed.partition("step 51/")[0].encode())) + b"\n")
    return reading, writing


def log_of(run: Path) -> list[dict]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def assert_equal_runs(run: Path, other: Path, config: Config) -> None:
    """The same bits in parameters, moments and step, and the same log but for the time it took."""
    like = abstract_state(config.model, make_optimizer(config.optimizer, config.steps), make_mesh(config.mesh))
    (step, state), (other_step, other_state) = (
        restore(folder / "checkpoints", like, pytest.fail) for folder in (run, other)
    )
    assert step == other_step == config.steps
    assert len(jax.tree.leaves(state)) > 30
    for (path, one), two in zip(jax.tree_util.tree_leaves_with_path(state), jax.tree.leaves(other_state), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(two).tobytes(), jax.tree_util.keystr(path)
    assert timeless(log_of(run)) == timeless(log_of(other))


def timeless(log: list[dict]) -> list[dict]:
    """The lines of a log without the time that they took."""
    return [{**line, "pairs_per_second": None, "seconds": None, "crc32": None} for line in log]
