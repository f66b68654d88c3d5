"""The whole command in two processes, started as on a cluster: the batches, losses and checkpoints of one process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hybrid_jax.config import parse_config
from hybrid_jax.train.loop import train

LAUNCH = Path(__file__).resolve().parents[2] / "launch" / "local_multiprocess.sh"
STEPS = 20
"""Of the run: up to the end of the warm-up, its learning rates are those of the longer run that it is compared with."""


@pytest.mark.timeout(300)
def test_two_processes_train_what_one_does(tiny_run, tmp_path: Path, capsys):
    (tmp_path / "tiny.yaml").write_text(tiny_run.yaml, encoding="utf-8")
    run, logs = tmp_path / "run", tmp_path / "logs"
    flags = "--xla_force_host_platform_device_count=1 --xla_backend_optimization_level=0"
    done = subprocess.run(
        [str(LAUNCH), "2", "--config", str(tmp_path / "tiny.yaml"), "--workdir", str(run), "--steps", str(STEPS)],
        env={**os.environ, "XLA_FLAGS": flags, "PYTHON": sys.executable, "LOGS": str(logs)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr + (logs / "process_1.log").read_text()
    assert f"step {STEPS}/{STEPS}" in done.stderr
    assert "step " not in (logs / "process_1.log").read_text()

    expected, actual = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (tiny_run.folder, run)
    )
    batches = [[(line["step"], line["rows"]) for line in lines] for lines in (expected, actual)]
    assert batches[1] == batches[0][:STEPS]
    # Rounding grows from step to step: only the first losses are compared.
    losses = [[line["loss"] for line in lines[:5]] for lines in (expected, actual)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)

    config = parse_config(tiny_run.yaml).model_copy(update={"steps": STEPS})
    train(config, run)  # one process reads what two have written
    assert f"{run} is complete: {STEPS} of {STEPS} steps" in capsys.readouterr().out
