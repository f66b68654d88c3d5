"""Runs that begin from a model's folder: what the config takes from it, and that its weights are where they start."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

import hybrid_jax
from hybrid_jax.config import Config, ConfigError, dump_config, load_config, parse_config
from hybrid_jax.data.tokenizer import Tokenizer
from hybrid_jax.embed.load import load, load_untrained
from hybrid_jax.hub.weights import PretrainedError, open_pretrained
from hybrid_jax.runs.workdir import WorkdirError
from hybrid_jax.train.loop import train
from hybrid_jax.train.plan import plan
from hybrid_jax.train.vocabulary import VocabularyError, check_vocabulary

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pretrained"
TEXTS = ["Haus Baum?", "house tree?", "casa"]

TEXT = """
steps: 4
batch_size: 8
pretrained: FOLDER
data:
  datasets: [{name: tiny, path: $TINY_ROWS/rows.jsonl}]
  max_query_length: 16
  max_passage_length: 16
  cache_dir: CACHE
model: {encoder: {attention_dropout: 0.0, dtype: float32}, learn_temperature: true}
optimizer: {learning_rate: 0.01, warmup_steps: 1}
mesh: {data: 2}
checkpoint: {every: 2}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / "labse", tmp_path / "labse"))


def config_of(tmp_path: Path, folder: Path, *overrides: str) -> Config:
    text = TEXT.replace("FOLDER", str(folder)).replace("CACHE", str(tmp_path / "cache"))
    (tmp_path / "run.yaml").write_text(text, encoding="utf-8")
    return load_config(tmp_path / "run.yaml", overrides)


def test_the_config_is_completed_by_the_folder_and_stands_where_it_speaks(tmp_path: Path, folder: Path):
    config = config_of(tmp_path, folder)
    assert config.model.encoder.hidden_size == 16
    assert (config.model.pooling, config.model.projection_dim, config.model.projection_activation) == (
        "cls",
        16,
        "tanh",
    )
    assert (config.data.query_prompt, config.data.tokenizer.path) == ("", str(folder))
    assert config.model.encoder.model_dump()["attention_dropout"] == 0.0
    assert config.model.encoder.model_dump()["dropout"] == 0.1
    assert parse_config(dump_config(config)) == config

    assert config_of(tmp_path, folder, "--model.temperature", "0.1").model.temperature == 0.1
    assert config_of(tmp_path, folder, "--data.query_prompt", "q: ").data.query_prompt == "q: "
    other = config_of(tmp_path, folder, "--pretrained", str(FIXTURES / "e5"))
    assert (other.pretrained, other.model.pooling) == (str(FIXTURES / "e5"), "mean")
    assert (other.data.query_prompt, other.data.passage_prompt) == ("query: ", "passage: ")
    with pytest.raises(
        ConfigError, match=r"exceeds model\.encoder\.max_length 40: lower the former or raise the latter"
    ):
        config_of(tmp_path, folder, "--data.max_query_length", "99")


def test_modernbert_runs_from_a_config_too(tmp_path: Path):
    config = config_of(tmp_path, FIXTURES / "modernbert", "--data.query_prompt", "q: ")
    assert config.model.encoder.architecture == "modernbert"
    assert parse_config(dump_config(config)) == config


@pytest.mark.parametrize("family", ["labse", "mmbert"])
def test_training_starts_from_the_folders_weights_and_refuses_other_weights_on_resuming(
    family: str, tmp_path: Path, tiny_run
):
    folder = Path(shutil.copytree(FIXTURES / family, tmp_path / family))
    config = config_of(tmp_path, folder)
    train(config, tmp_path / "run")
    before, after, published = load_untrained(tmp_path / "run"), load(tmp_path / "run"), load(folder, max_length=16)
    np.testing.assert_allclose(before.encode_queries(TEXTS), published.encode_queries(TEXTS), atol=1e-6)
    assert np.abs(after.encode_queries(TEXTS) - published.encode_queries(TEXTS)).max() > 1e-3
    assert "log_temperature_above_floor" in after.parameters

    shutil.copy(FIXTURES / "minilm" / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(WorkdirError, match="the content of the pretrained weights is not what this run began with"):
        train(config, tmp_path / "run")
    with pytest.raises(PretrainedError, match=r"has other weights than .*run began with: .* leave --untrained out"):
        load_untrained(tmp_path / "run")


def test_a_run_goes_on_from_its_own_config_and_from_the_same_fields_in_the_file(tmp_path: Path, tiny_run):
    config = config_of(tmp_path, FIXTURES / "bert", "--model.pooling", "mean", "--model.projection-dim", "None")
    run = hybrid_jax.train(config, tmp_path / "run")
    assert load_config(run.folder / "config.yaml") == run.config == config
    content = yaml.safe_load((tmp_path / "run.yaml").read_text())
    content["model"] |= {"pooling": "mean", "projection_dim": None}
    for same in (run.folder / "config.yaml", content):
        assert len(hybrid_jax.train(same, run.folder).metrics) == 4
    with pytest.raises(WorkdirError, match="pooling: mean -> cls"):
        hybrid_jax.train(content, run.folder, fields={"model.pooling": "cls"})


def test_a_tokenizer_that_is_not_the_pretrained_models_needs_a_new_vocabulary(tmp_path: Path, tiny_run):
    roberta, copy, e5 = FIXTURES / "roberta", tmp_path / "copy", Tokenizer(FIXTURES / "e5")
    pretrained = open_pretrained(roberta)
    encoder = pretrained.model.encoder
    shutil.copytree(roberta, copy)
    for folder in (roberta, copy):
        check_vocabulary(Tokenizer(folder), encoder, pretrained, new_vocabulary=False)
    check_vocabulary(e5, encoder, pretrained, new_vocabulary=True)
    with pytest.raises(
        VocabularyError, match=r"is not the tokenizer of .*roberta, .*: leave data\.tokenizer\.path out"
    ):
        train(config_of(tmp_path, roberta, "--data.tokenizer.path", str(FIXTURES / "e5")), tmp_path / "run")


def test_positions_that_begin_after_another_padding_id_are_refused():
    encoder = open_pretrained(FIXTURES / "xlmr").model.encoder.model_copy(update={"vocab_size": 212})
    told = (
        r"whose padding id is 1, and that of .*bert is 0: leave data\.tokenizer\.path out, which trains one with id 1"
    )
    for pretrained, more in ((open_pretrained(FIXTURES / "xlmr"), "$"), (None, " or set .*position_offset 0 or 1$")):
        with pytest.raises(VocabularyError, match=told + more):
            check_vocabulary(Tokenizer(FIXTURES / "bert"), encoder, pretrained, new_vocabulary=True)


def test_what_the_folder_may_mean_otherwise_is_said_before_training(tmp_path: Path, tiny_run, capsys):
    folder = Path(shutil.copytree(FIXTURES / "e5", tmp_path / "e5"))
    settings = folder / "config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"unheard_of": 1}))
    config = config_of(tmp_path, folder)
    for what in (lambda: train(config, tmp_path / "run"), lambda: plan(config, False, print)):
        what()
        assert "unheard_of" in capsys.readouterr().out


def test_two_towers_begin_alike_and_a_new_projection_is_drawn(tmp_path: Path, tiny_run):
    config = config_of(tmp_path, FIXTURES / "e5", "--model.tied", "False", "--model.projection_dim", "6")
    train(config, tmp_path / "run")
    before = load_untrained(tmp_path / "run")
    cut = load_untrained(tmp_path / "run", query_prompt="q: ", max_length=9)
    assert (cut.rules.query_prompt, cut.rules.max_query_length, cut.rules.max_passage_length) == ("q: ", 9, 9)
    assert before.dim == 6
    towers = [
        before.parameters[f"{side}_tower"]["encoder"]["embeddings"]["word"]["embedding"]
        for side in ("query", "passage")
    ]
    np.testing.assert_array_equal(*towers)
