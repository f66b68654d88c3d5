"""`model.encoder.dtype: auto`: settled when a run starts, by its devices, and kept by its config.yaml."""

from pathlib import Path

import pytest

from hybrid_jax.config import Config, dump_config, parse_config
from hybrid_jax.embed.load import load
from hybrid_jax.model.dual_encoder import ModelConfig
from hybrid_jax.model.kernels import faster_dtype
from hybrid_jax.model.precision import ComputeDtype, Dtype
from hybrid_jax.train.loop import train
from hybrid_jax.train.precision import with_dtype
from tests.conftest import TinyRun

OTHER: dict[ComputeDtype, ComputeDtype] = {"float32": "bfloat16", "bfloat16": "float32"}


def _with(config: Config, dtype: Dtype, steps: int | None = None) -> Config:
    encoder = config.model.encoder.model_copy(update={"dtype": dtype})
    model = config.model.model_copy(update={"encoder": encoder})
    return config.model_copy(update={"model": model, "steps": config.steps if steps is None else steps})


def test_auto_is_the_dtype_in_which_the_devices_are_faster():
    assert ModelConfig().encoder.dtype == "auto"
    assert with_dtype(ModelConfig()).encoder.dtype == faster_dtype()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_dtype_that_is_set_stays(dtype: ComputeDtype, tmp_path: Path):
    model = _with(Config(), dtype).model
    assert with_dtype(model, tmp_path) == model


def test_a_run_goes_on_in_the_dtype_that_it_began_with(tmp_path: Path):
    slower = OTHER[faster_dtype()]
    (tmp_path / "config.yaml").write_text(dump_config(_with(Config(), slower)))
    assert with_dtype(ModelConfig(), tmp_path).encoder.dtype == faster_dtype()  # that start failed before a first step
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n')
    assert with_dtype(ModelConfig(), tmp_path).encoder.dtype == slower


def test_config_yaml_says_which_and_resuming_needs_no_word_of_it(
    tiny_run: TinyRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    config = _with(parse_config(tiny_run.yaml), "auto", steps=20)
    assert train(config, tmp_path / "run")
    assert f"products in {faster_dtype()}\n" in capsys.readouterr().out
    written = parse_config((tmp_path / "run" / "config.yaml").read_text()).model.encoder.dtype
    assert written == faster_dtype()
    assert train(config, tmp_path / "run")  # complete: nothing is refused as another config
    assert load(tmp_path / "run").origin.dtype == faster_dtype()


@pytest.mark.parametrize("text", ["[", "model: 3", "model: {encoder: {dtype: float64}}", "\x00"])
def test_a_damaged_config_is_left_to_what_refuses_it(text: str, tmp_path: Path):
    (tmp_path / "config.yaml").write_text(text)
    (tmp_path / "metrics.jsonl").write_text('{"step": 0}\n')
    assert with_dtype(ModelConfig(), tmp_path).encoder.dtype == faster_dtype()
