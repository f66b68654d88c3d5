"""Only what the user set is checked against what the user set: other fields give way."""

from pathlib import Path

import pytest
import yaml

from hybrid_jax.config import Config, ConfigError, flat, load_config

MINILM = Path(__file__).resolve().parent / "fixtures" / "pretrained" / "minilm"


def changes(tmp_path: Path, text: str, *overrides: str) -> dict[str, object]:
    """The fields of the loaded config that neither have their default nor stand in `text`."""
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    loaded = flat(load_config(tmp_path / "run.yaml", overrides).model_dump(mode="json"))
    default = flat(Config().model_dump(mode="json"))
    stated = flat(yaml.safe_load(text))
    assert {name: loaded[name] for name in stated} == stated
    return {name: value for name, value in loaded.items() if value != default.get(name) and name not in stated}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed: 1", {}),
        ("steps: 20", {"optimizer.warmup_steps": 2}),
        ("steps: 3", {"optimizer.warmup_steps": 0}),
        ("steps: 100", {}),
        ("optimizer: {accumulate: 3}", {"steps": 999}),
        ("optimizer: {accumulate: 2000}", {"steps": 2000}),
        ("data: {max_passage_length: 600}", {"model.encoder.max_length": 600}),
        ("model: {encoder: {max_length: 128}}", {"data.max_passage_length": 128}),
        (
            "{model: {encoder: {max_length: 32}}, data: {max_query_length: 16}}",
            {"data.max_passage_length": 32},
        ),
        ("data: {tokenizer: {vocab_size: 50000}}", {"model.encoder.vocab_size": 50000}),
        ("data: {tokenizer: {vocab_size: 8000}}", {}),
        ("model: {encoder: {vocab_size: 8000}}", {"data.tokenizer.vocab_size": 8000}),
        (
            "{data: {heldout_fraction: 0.1}, checkpoint: {best_metric: heldout_loss}}",
            {"heldout_every": 200},
        ),
        (
            "{data: {heldout_fraction: 0.1}, heldout_every: 30, checkpoint: {best_metric: heldout_loss}}",
            {"checkpoint.every": 210},
        ),
        ("{data: {heldout_fraction: 0.1, heldout_pool: 9}}", {"heldout_every": 200}),
        ("mesh: {data: 3, fsdp: 2}", {"batch_size": 66}),
        ("mixture: {others: aligned, group_size: 5}", {"batch_size": 65}),
        ("mixture: {weights: {aligned: 1.0}, group_size: 5}", {"batch_size": 65}),
        ("mixture: {others: aligned, weights: {monolingual: 1.0}, group_size: 5}", {}),
    ],
)
def test_what_is_not_set_gives_way(tmp_path: Path, text: str, expected: dict[str, object]):
    assert changes(tmp_path, text) == expected


def test_an_override_is_set_as_a_field_of_the_file_is(tmp_path: Path):
    assert changes(tmp_path, "seed: 1", "--steps", "20") == {"steps": 20, "optimizer.warmup_steps": 2}
    assert changes(tmp_path, "steps: 20", "--optimizer.warmup-steps=7") == {"optimizer.warmup_steps": 7}
    with pytest.raises(ConfigError, match=r"warmup_steps 21 exceeds the run's 20 steps"):
        changes(tmp_path, "steps: 20", "--optimizer.warmup-steps", "21")


def test_a_pretrained_folder_is_as_good_as_set(tmp_path: Path):
    (tmp_path / "run.yaml").write_text(f"pretrained: {MINILM}\n", encoding="utf-8")
    config = load_config(tmp_path / "run.yaml")
    limit = config.model.encoder.max_length
    assert (limit, config.data.max_query_length, config.data.max_passage_length) == (40, 40, 40)
    with pytest.raises(ConfigError, match=r"max_passage_length 41 exceeds model\.encoder\.max_length 40"):
        load_config(tmp_path / "run.yaml", ["--data.max_passage_length", "41"])
