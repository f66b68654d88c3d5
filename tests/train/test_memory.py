"""What keeps a training process small: where torch is installed, nothing imports it."""

import os
import subprocess
import sys
from pathlib import Path

import yaml

FIXTURE = Path(__file__).parents[1] / "fixtures" / "pretrained" / "labse"


def test_a_run_from_a_pretrained_folder_does_not_import_torch(tiny_run, tmp_path: Path):
    torch = tmp_path / "packages" / "torch"
    torch.mkdir(parents=True)
    (torch / "__init__.py").write_text("raise SystemExit('torch was imported')")
    (torch.parent / "torch-2.13.0.dist-info").mkdir()
    (torch.parent / "torch-2.13.0.dist-info" / "METADATA").write_text("Name: torch\nVersion: 2.13.0\n")
    config = {
        "steps": 1,
        "batch_size": 8,
        "pretrained": str(FIXTURE),
        "data": {
            "datasets": [{"name": "tiny", "path": str(Path(os.environ["TINY_ROWS"]) / "rows.jsonl")}],
            "max_query_length": 16,
            "max_passage_length": 16,
            "cache_dir": str(tmp_path / "cache"),
        },
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    path = os.pathsep.join(filter(None, [str(torch.parent), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "hybrid_jax.train", "--config", tmp_path / "run.yaml", "--workdir", tmp_path / "run"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
