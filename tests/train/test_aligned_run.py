"""A run on aligned batches with several positives is the same run when it is resumed or on other devices."""

import io
import json
import shutil
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from support.runs import timeless

from hybrid_jax.config import Config, ConfigError, check, parse_config
from hybrid_jax.data.schedule import MixtureConfig
from hybrid_jax.runs.checkpoint import restore
from hybrid_jax.runs.keeping import CheckpointConfig
from hybrid_jax.runtime.mesh import MeshConfig, make_mesh
from hybrid_jax.train.loop import train
from hybrid_jax.train.loss import LossConfig
from hybrid_jax.train.optim import make_optimizer
from hybrid_jax.train.state import abstract_state

STEPS = 12
MIXTURE = MixtureConfig(monolingual_fraction=0.5, others="aligned", group_size=4)
"""The corpus has three languages: further records fill up groups of four, and devices cut them."""


class Run(NamedTuple):
    config: Config
    folder: Path
    printed: str


@pytest.fixture(scope="module")
def run(tiny_run, tmp_path_factory) -> Run:
    """Twelve steps on two devices, with held-out losses and two checkpoints, never interrupted."""
    parts = {
        "steps": STEPS,
        "mixture": MIXTURE,
        "loss": LossConfig(positives="all", directions="both", reverse_weight=0.4, kl_weight=0.2, parallel_weight=0.5),
        "checkpoint": CheckpointConfig(every=6, best_metric="loss"),
        "heldout_every": 6,
    }
    config = parse_config(tiny_run.yaml).model_copy(update=parts)
    folder = tmp_path_factory.mktemp("aligned") / "run"
    printed = io.StringIO()
    with redirect_stderr(printed), redirect_stdout(printed):
        train(config, folder)
    return Run(config, folder, printed.getvalue())


def _log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def _losses(folder: Path) -> list[float]:
    return [line["loss"] for line in _log(folder)]


def test_the_log_says_how_many_positives_a_query_had(run: Run):
    log = _log(run.folder)
    assert [line["kind"] for line in log] == ["monolingual", "aligned"] * 6
    for line in log:
        # Records of 3, 3 and 2 languages among 8 rows, where none shares a passage with another: 9 + 9 + 4 pairs.
        expected = 22 / 8 if line["kind"] == "aligned" else 1
        assert (line["positives"], line["masked"], line["negatives"]) == (expected, 0, 8 - expected)
        assert line["parallel"] == (line["kind"] == "aligned")
        assert (line["parallel_divergence"] > 0) == (line["kind"] == "aligned")
        assert line["reverse_kl"] > 0
    # 8 passages; half of the batches have 1 positive for each query, the others 22 / 8.
    assert "each query sees 6 negatives (0.0 masked on average) from 2 devices, and 1.9 positives" in run.printed
    assert "heldout_loss" in log[5]


def test_a_resumed_run_has_the_same_bits(run: Run, tmp_path: Path):
    copy = Path(shutil.copytree(run.folder, tmp_path / "run"))
    shutil.rmtree(copy / "checkpoints" / str(STEPS))
    train(run.config, copy)
    like = abstract_state(
        run.config.model, make_optimizer(run.config.optimizer, run.config.steps), make_mesh(run.config.mesh)
    )
    (step, state), (_, expected) = (restore(folder / "checkpoints", like, pytest.fail) for folder in (copy, run.folder))
    assert step == STEPS
    for one, other in zip(jax.tree.leaves(state), jax.tree.leaves(expected), strict=True):
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
    assert timeless(_log(copy)) == timeless(_log(run.folder))


def test_eight_devices_give_the_same_losses(run: Run, tmp_path: Path):
    train(run.config.model_copy(update={"mesh": MeshConfig(data=8), "heldout_every": 0}), tmp_path / "run")
    assert [line["rows"] for line in _log(tmp_path / "run")] == [line["rows"] for line in _log(run.folder)]
    # Rounding grows from step to step: only the first losses are compared.
    np.testing.assert_allclose(_losses(tmp_path / "run")[:5], _losses(run.folder)[:5], rtol=1e-5)


def test_one_positive_on_aligned_batches_is_said_to_learn_no_translations(run: Run, tmp_path: Path, capsys):
    train(run.config.model_copy(update={"steps": 4, "loss": LossConfig(), "heldout_every": 0}), tmp_path / "run")
    assert "with loss.positives one a query's translations are left out; all makes them positives" in (
        capsys.readouterr().out
    )
    assert "positives" not in _log(tmp_path / "run")[0]


def test_a_batch_of_broken_groups_is_refused_before_any_data_is_read(run: Run):
    with pytest.raises(ConfigError, match=r"batch_size 10 is not a multiple of mixture\.group_size 4"):
        check(run.config.model_copy(update={"batch_size": 10}))


def test_parallel_queries_are_refused_where_no_batch_has_them(run: Run):
    with pytest.raises(
        ConfigError, match=r"only aligned batches have a query and its translations: set mixture\.others"
    ):
        check(run.config.model_copy(update={"mixture": MixtureConfig()}))
