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


@pytest.mark.timeout(300)
def test_two_processes_train_what_one_does(tiny_run, tmp_path: Path, capsys):
    (tmp_path / "tiny.yaml").write_text(tiny_run.yaml, encoding="utf-8")
    run, logs = tmp_path / "run", tmp_path / "logs"
    flags = "--xla_force_host_platform_device_count=1 --xla_backend_optimization_level=0"
    done = subprocess.run(
        [str(LAUNCH), "2", "--config", str(tmp_path / "tiny.yaml"), "--workdir", str(run)],
        env={**os.environ, "XLA_FLAGS": flags, "PYTHON": sys.executable, "LOGS": str(logs)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr + (logs / "process_1.log").read_text()
    assert "step 80/80" in done.stderr
    assert "step " not in (logs / "process_1.log").read_text()

    expected, found = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (tiny_run.folder, run)
    )
    assert [(line["step"], line["rows"]) for line in found] == [(line["step"], line["rows"]) for line in expected]
    # Rounding grows from step to step: the first ones are compared.
    losses = [[line["loss"] for line in of[:5]] for of in (expected, found)]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)

    train(parse_config(tiny_run.yaml), run)  # one process reads what two have written
    assert f"{run} is complete: 80 of 80 steps" in capsys.readouterr().out
