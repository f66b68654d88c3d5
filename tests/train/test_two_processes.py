"""Two processes with two devices each, started by the launch script, compute what one process does.

Starting them is what takes the time, so one pair of processes serves both tests: each runs the training command, and
then a single step on a batch with false negatives and hard negatives.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest

from hybrid_jax.config import parse_config
from hybrid_jax.model.dual_encoder import ModelConfig
from hybrid_jax.runtime.mesh import MeshConfig, make_mesh, put_batch
from hybrid_jax.train.encode import make_encode
from hybrid_jax.train.loop import train
from hybrid_jax.train.loss import LossConfig
from hybrid_jax.train.objective import make_objective
from hybrid_jax.train.optim import OptimizerConfig, make_optimizer, make_schedule
from hybrid_jax.train.state import create_state
from hybrid_jax.train.step import make_train_step

LAUNCH = Path(__file__).resolve().parents[2] / "launch" / "local_multiprocess.sh"
STEPS = 20
"""Of the run: up to the end of the warm-up, its learning rates are those of the longer run that it is compared with."""
OPTIMIZER = OptimizerConfig(learning_rate=0.01, warmup_steps=0)

# What the launch script takes for Python: `-m hybrid_jax.train …` becomes this file's `worker`.
INTERPRETER = """#!/usr/bin/env bash
if [[ "$1" == -m && "$2" == hybrid_jax.train ]]; then shift 2; set -- "{file}" "$@"; fi
exec "{python}" "$@"
"""


def one_step(config: ModelConfig, rows: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A step over 4 devices, of which this process has all or some: metrics, and gradients (as Adam's first moment)."""
    mesh = make_mesh(MeshConfig(data=4))
    optimizer, schedule = make_optimizer(OPTIMIZER, 1), make_schedule(OPTIMIZER, 1)
    encode, objective = make_encode(config, mesh), make_objective(LossConfig(), mesh.size)
    step = make_train_step(encode, objective, optimizer, schedule, 0, mesh)
    state, metrics = step(create_state(config, optimizer, 0, mesh), put_batch(mesh, rows))
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state.optimizer)}
    moments = {name: leaf for name, leaf in leaves.items() if ".mu" in name}
    return {name: np.asarray(leaf) for name, leaf in {**moments, **metrics}.items()}


def worker(folder: Path) -> None:
    """What each process runs: the training command, then the step on its own half of the rows."""
    from hybrid_jax.train.__main__ import main

    assert main() == 0
    assert (jax.process_count(), jax.local_device_count(), jax.device_count()) == (2, 2, 4)
    config = ModelConfig.model_validate_json((folder / "model.json").read_text())
    with np.load(folder / "rows.npz") as rows:
        half = {name: np.split(array, 2)[jax.process_index()] for name, array in rows.items()}
    np.savez(folder / f"step{jax.process_index()}.npz", allow_pickle=False, **one_step(config, half))


class Launched(NamedTuple):
    folder: Path
    """The run in run/, and what each process's step gave in step0.npz and step1.npz."""
    printed: str
    printed_by_second: str


@pytest.fixture(scope="module")
def launched(
    tiny_run, model_config: ModelConfig, rows: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> Launched:
    folder = tmp_path_factory.mktemp("two_processes")
    (folder / "tiny.yaml").write_text(tiny_run.yaml, encoding="utf-8")
    (folder / "model.json").write_text(model_config.model_dump_json())
    np.savez(folder / "rows.npz", allow_pickle=False, **rows)
    interpreter = folder / "python"
    interpreter.write_text(INTERPRETER.format(file=__file__, python=sys.executable))
    interpreter.chmod(0o755)
    environment = {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0",
        "PYTHON": str(interpreter),
        "LOGS": str(folder / "logs"),
        "WORKER_FOLDER": str(folder),
    }
    arguments = ["--config", str(folder / "tiny.yaml"), "--workdir", str(folder / "run")]
    done = subprocess.run(
        [str(LAUNCH), "2", *arguments, "--mesh.data", "4", "--steps", str(STEPS)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    second = (folder / "logs" / "process_1.log").read_text()
    assert done.returncode == 0, done.stderr + second
    return Launched(folder, done.stderr, second)


@pytest.mark.timeout(300)
def test_a_step_gives_the_metrics_and_gradients_of_one_process(launched: Launched, model_config: ModelConfig, rows):
    expected = one_step(model_config, rows)
    largest = max(np.abs(value).max() for name, value in expected.items() if ".mu" in name)
    for number in range(2):
        with np.load(launched.folder / f"step{number}.npz") as result:
            assert set(result) == set(expected)
            for name, value in expected.items():
                # Gradients are compared relative to the largest of them all: some are 0 but for rounding.
                absolute, relative = (2e-6 * largest, 0) if ".mu" in name else (0, 1e-5)
                np.testing.assert_allclose(result[name], value, rtol=relative, atol=absolute, err_msg=name)


@pytest.mark.timeout(300)
def test_a_run_has_the_batches_losses_and_checkpoints_of_one_process(launched: Launched, tiny_run, capsys):
    assert f"step {STEPS}/{STEPS}" in launched.printed
    assert "step " not in launched.printed_by_second

    run = launched.folder / "run"
    expected, actual = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (tiny_run.folder, run)
    )
    batches = [[(line["step"], line["rows"]) for line in lines] for lines in (expected, actual)]
    assert batches[1] == batches[0][:STEPS]
    # Rounding grows from step to step: only the first losses are compared.
    losses = [[line["loss"] for line in lines[:5]] for lines in (expected, actual)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)

    train(
        parse_config(tiny_run.yaml).model_copy(update={"steps": STEPS}), run
    )  # one process reads what two have written
    assert f"{run} is complete: {STEPS} of {STEPS} steps" in capsys.readouterr().out


if __name__ == "__main__":
    worker(Path(os.environ["WORKER_FOLDER"]))
