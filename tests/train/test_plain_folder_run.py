"""Runs that begin from a folder that does not say how it pools: the config says it, and that is enough."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from hybrid_jax.config import Config, load_config
from hybrid_jax.embed.load import load, load_untrained
from hybrid_jax.hub.weights import PretrainedError, open_for_run
from hybrid_jax.train.loop import train
from hybrid_jax.train.plan import plan

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pretrained"
TEXTS = ["Haus Baum?", "house tree?", "casa"]


def without_modules(tmp_path: Path) -> Path:
    """A sentence-transformers folder that lacks its manifest, as an incomplete download does; the encoder is whole."""
    folder = Path(shutil.copytree(FIXTURES / "labse", tmp_path / "labse"))
    (folder / "modules.json").unlink()
    return folder


def config_of(tmp_path: Path, folder: Path, **model: Any) -> Config:
    content = {
        "steps": 1,
        "batch_size": 8,
        "pretrained": str(folder),
        "data": {
            "datasets": [{"name": "tiny", "path": "$TINY_ROWS/rows.jsonl"}],
            "max_query_length": 16,
            "max_passage_length": 16,
            "cache_dir": str(tmp_path / "cache"),
        },
        "model": {**model, "encoder": {"dtype": "float32"}},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return load_config(tmp_path / "run.yaml")


def test_the_configs_pooling_is_enough_to_plan_train_and_load_the_run(tmp_path: Path, tiny_run):
    folder = without_modules(tmp_path)
    with pytest.raises(PretrainedError, match=r"modules\.json does not exist, .*choose pooling mean, cls or pooler$"):
        config_of(tmp_path, folder)
    config = config_of(tmp_path, folder, pooling="mean")
    plan(config, False, lambda line: None)
    assert train(config, tmp_path / "run")
    before = load_untrained(tmp_path / "run")
    published = load(folder, pooling="mean", query_prompt=config.data.query_prompt, max_length=16)
    np.testing.assert_allclose(before.encode_queries(TEXTS), published.encode_queries(TEXTS), atol=1e-6)


def test_a_folder_that_cannot_be_read_leaves_no_run_behind(tmp_path: Path):
    folder = without_modules(tmp_path)
    config = config_of(tmp_path, folder, pooling="mean")
    (folder / "config.json").unlink()
    with pytest.raises(PretrainedError, match=r"config\.json does not exist"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize(
    ("model", "new"),
    [
        ({}, False),
        ({"projection_activation": "identity"}, False),
        ({"pooling": "mean"}, False),
        ({"projection_dim": None}, False),
        ({"projection_dim": 6}, True),
        ({"projection_bias": False}, True),
    ],
)
def test_a_new_projection_is_noted(model: dict[str, Any], new: bool, tmp_path: Path):
    config = config_of(tmp_path, FIXTURES / "bert", **model)
    notes = open_for_run(FIXTURES / "bert", config.model).notes
    expected = (
        f"{FIXTURES / 'bert'} has no projection for pooling mean, projection_dim {config.model.projection_dim}, "
        f"projection_bias {config.model.projection_bias}: that of the run is new, drawn from the seed"
    )
    assert list(notes) == ([expected] if new else [])
