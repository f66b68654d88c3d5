"""A run on batches of several kinds is the same run when it is resumed or on other devices."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hybrid_jax.config import Config, parse_config
from hybrid_jax.data.schedule import MixtureConfig
from hybrid_jax.runs.keeping import CheckpointConfig
from hybrid_jax.runs.trained_on import read_trained_on
from hybrid_jax.runtime.mesh import MeshConfig
from hybrid_jax.train.loop import train
from hybrid_jax.train.loss import LossConfig

STEPS = 6


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory) -> tuple[Config, Path]:
    """Six steps of 2 monolingual and 6 cross-lingual pairs on two devices, with two checkpoints."""
    parts = {
        "steps": STEPS,
        "mixture": MixtureConfig(monolingual_fraction=0.25, mix="pairs"),
        "loss": LossConfig(positives="all"),
        "checkpoint": CheckpointConfig(every=3, best_metric="loss"),
        "heldout_every": 0,
    }
    config = parse_config(tiny_run.yaml).model_copy(update=parts)
    folder = tmp_path_factory.mktemp("mixed") / "run"
    train(config, folder)
    return config, folder


def _log(folder: Path, name: str) -> list:
    return [json.loads(line)[name] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_log_counts_the_pairs_of_each_kind(run: tuple[Config, Path]):
    counts = read_trained_on(run[1] / "metrics.jsonl", STEPS)
    assert counts is not None
    assert counts.logged == STEPS
    assert counts.pairs == {"monolingual": 2 * STEPS, "cross_lingual": 6 * STEPS}


def test_a_resumed_run_has_the_same_losses(run: tuple[Config, Path], tmp_path: Path):
    config, folder = run
    copy = Path(shutil.copytree(folder, tmp_path / "run"))
    shutil.rmtree(copy / "checkpoints" / str(STEPS))
    train(config, copy)
    assert [_log(copy, name) for name in ("rows", "loss")] == [_log(folder, name) for name in ("rows", "loss")]


def test_eight_devices_give_the_same_losses(run: tuple[Config, Path], tmp_path: Path):
    config, folder = run
    train(config.model_copy(update={"mesh": MeshConfig(data=8)}), tmp_path / "run")
    assert _log(tmp_path / "run", "rows") == _log(folder, "rows")
    # Rounding grows from step to step: only the first losses are compared.
    np.testing.assert_allclose(_log(tmp_path / "run", "loss")[:5], _log(folder, "loss")[:5], rtol=1e-5)
