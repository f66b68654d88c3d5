"""Two processes with two devices each compute what one process does, in chunks of packed rows: loss and gradients."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from support.packing import packed

from hybrid_jax.data.batch import PackedBatch
from hybrid_jax.model.dual_encoder import ModelConfig
from hybrid_jax.runtime.mesh import MeshConfig, make_mesh, put_batch
from hybrid_jax.runtime.processes import start_distributed
from hybrid_jax.train.encode import make_encode
from hybrid_jax.train.loss import LossConfig
from hybrid_jax.train.objective import make_objective
from hybrid_jax.train.optim import OptimizerConfig, make_optimizer, make_schedule
from hybrid_jax.train.state import create_state
from hybrid_jax.train.step import make_train_step

OPTIMIZER = OptimizerConfig(learning_rate=0.01, warmup_steps=0)
TIMEOUT = 120


LOSSES = {"one": LossConfig(), "all": LossConfig(positives="all", directions="both")}


def train_once(config: ModelConfig, batch: PackedBatch) -> dict[str, np.ndarray]:
    """What `step_with` gives, by the name of each loss and by name."""
    steps = {name: step_with(loss, config, batch) for name, loss in LOSSES.items()}
    return {f"{loss} {name}": value for loss, values in steps.items() for name, value in values.items()}


def step_with(loss: LossConfig, config: ModelConfig, batch: PackedBatch) -> dict[str, np.ndarray]:
    """One step over 4 devices, of which this process has all or some: metrics, and the gradients (as Adam's mean)."""
    mesh = make_mesh(MeshConfig(data=4))
    optimizer, schedule = make_optimizer(OPTIMIZER, 1), make_schedule(OPTIMIZER, 1)
    encode, objective = make_encode(config, mesh), make_objective(loss, mesh)
    step = make_train_step(encode, objective, optimizer, schedule, 0, mesh)
    state, metrics = step(create_state(config, optimizer, 0, mesh), put_batch(mesh, batch))
    leaves = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state.optimizer)}
    means = {name: leaf for name, leaf in leaves.items() if ".mu" in name}
    return {name: np.asarray(leaf) for name, leaf in {**means, **metrics}.items()}


def worker(folder: Path) -> None:
    """What each of the processes runs: the step on its own half of the rows."""
    start_distributed()
    assert (jax.process_count(), jax.local_device_count(), jax.device_count()) == (2, 2, 4)
    config = ModelConfig.model_validate_json((folder / "model.json").read_text())
    with np.load(folder / "rows.npz") as rows:
        half = packed(rows, length=14, slots=3, devices=4, microbatch_rows=4, host=jax.process_index(), hosts=2)
    save(folder / f"result{jax.process_index()}.npz", train_once(config, half))


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    np.savez(path, allow_pickle=False, **arrays)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


@pytest.mark.timeout(TIMEOUT + 60)
def test_two_processes_compute_what_one_does(tmp_path: Path, model_config: ModelConfig, rows: dict[str, np.ndarray]):
    (tmp_path / "model.json").write_text(model_config.model_dump_json())
    save(tmp_path / "rows.npz", rows)
    environment = {
        **os.environ,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0",
        "HYBRID_JAX_COORDINATOR": f"localhost:{free_port()}",
        "HYBRID_JAX_NUM_PROCESSES": "2",
        "PYTHONPATH": str(Path(__file__).parents[1]),  # for `support`, as pytest has it
    }
    command = [sys.executable, __file__, str(tmp_path)]
    processes = [
        subprocess.Popen(
            command, env={**environment, "HYBRID_JAX_PROCESS_ID": str(n)}, stderr=subprocess.PIPE, text=True
        )
        for n in range(2)
    ]
    try:
        expected = train_once(model_config, packed(rows, length=14, slots=3, devices=4, microbatch_rows=4))
        for process in processes:
            _, errors = process.communicate(timeout=TIMEOUT)
            assert process.returncode == 0, errors
    finally:
        for process in processes:
            process.kill()
            process.communicate()

    assert expected["all positives"] > 1
    largest = max(np.abs(value).max() for name, value in expected.items() if ".mu" in name)
    for number in range(2):
        with np.load(tmp_path / f"result{number}.npz") as result:
            assert set(result) == set(expected)
            for name, value in expected.items():
                # Gradients are compared relative to the largest of them all: some are 0 but for rounding.
                absolute, relative = (2e-6 * largest, 0) if ".mu" in name else (0, 1e-5)
                np.testing.assert_allclose(result[name], value, rtol=relative, atol=absolute, err_msg=name)


if __name__ == "__main__":
    worker(Path(sys.argv[1]))
