"""A config with `pretrained` is the same, whether its fields are set in the file, on the command line or in Python."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from hybrid_jax.api import _config
from hybrid_jax.config import Config, ConfigError, dump_config, load_config, parse_config, show_fields
from hybrid_jax.hub.json_files import PretrainedError
from hybrid_jax.model.bert.encoder import BertConfig
from hybrid_jax.model.dual_encoder import ModelConfig
from hybrid_jax.model.modernbert.encoder import ModernBertConfig

FOLDERS = Path(__file__).resolve().parent / "fixtures" / "pretrained"
BERT, LABSE, MINILM, MODERNBERT, MMBERT = (
    str(FOLDERS / name) for name in ("bert", "labse", "minilm", "modernbert", "mmbert")
)


def load(tmp_path: Path, content: Mapping[str, Any], *overrides: str) -> Config:
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(dict(content)), encoding="utf-8")
    return load_config(tmp_path / "run.yaml", overrides)


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """{"model.pooling": "mean"} -> {"model": {"pooling": "mean"}}."""
    content: dict[str, Any] = {}
    for name, value in values.items():
        *parts, last = name.split(".")
        place = content
        for part in parts:
            place = place.setdefault(part, {})
        place[last] = value
    return content


FIELDS: list[dict[str, Any]] = [
    {"pretrained": BERT, "model.pooling": "mean"},
    {"pretrained": BERT, "model.pooling": "cls"},
    {"pretrained": BERT, "model.pooling": "mean", "model.projection_dim": None},
    {"pretrained": BERT, "model.pooling": "mean", "model.projection_dim": 6, "model.projection_bias": False},
    {"pretrained": BERT, "model.projection_dim": 6},
    {"pretrained": BERT, "model.projection_dim": 16},
    {"pretrained": BERT, "model.projection_dim": None},
    {"pretrained": BERT, "model.projection_bias": False},
    {"pretrained": LABSE, "model.projection_dim": 6, "model.projection_activation": "relu"},
    {"pretrained": MMBERT, "model.projection_dim": 6},
    {"pretrained": BERT, "model.projection_activation": "identity"},
    {"pretrained": BERT, "model.encoder.dropout": 0.3, "model.encoder.max_length": 30, "steps": 20},
    {"pretrained": BERT, "vocabulary": "new"},
    {"pretrained": BERT, "vocabulary": "new", "data.tokenizer.vocab_size": 400},
    {"pretrained": BERT, "vocabulary": "new", "model.encoder.vocab_size": 500},
    {"pretrained": BERT, "vocabulary": "new", "data.tokenizer.path": MINILM},
    {"pretrained": LABSE, "model.pooling": "mean"},
    {"pretrained": LABSE, "model.pooling": "cls", "data.query_prompt": "q: "},
    {"pretrained": MINILM, "data.tokenizer.lower_case": False, "data.max_query_length": 16},
    {"pretrained": MODERNBERT, "model.encoder.mlp_dropout": 0.1, "model.encoder.attention_dropout": 0.2},
    {"pretrained": MODERNBERT, "vocabulary": "new", "data.tokenizer.vocab_size": 400},
    {"pretrained": MMBERT, "model.encoder.embedding_dropout": 0.1, "model.pooling": "mean"},
]


@pytest.mark.parametrize("fields", FIELDS, ids=lambda fields: " ".join(map(str, fields.values())).split("/")[-1])
def test_a_field_means_the_same_wherever_it_is_set(tmp_path: Path, fields: dict[str, Any]):
    in_file = load(tmp_path, nested(fields))
    folder = {"pretrained": fields["pretrained"]}
    words = {name: [f"--{name.replace('_', '-')}", str(value)] for name, value in fields.items()}
    rest = [word for name in fields if name != "pretrained" for word in words[name]]
    assert load(tmp_path, folder, *rest) == in_file
    assert load(tmp_path, {"seed": 0}, *rest, *words["pretrained"]) == in_file
    other = {"pretrained": MINILM if fields["pretrained"] != MINILM else MMBERT}
    assert load(tmp_path, other, *("=".join(pair) for pair in words.values())) == in_file
    assert _config(folder, {name: value for name, value in fields.items() if name != "pretrained"}) == in_file

    # What a run writes, read as a run's config and as a config file.
    assert parse_config(dump_config(in_file)) == in_file
    assert load(tmp_path, yaml.safe_load(dump_config(in_file))) == in_file
    assert _config(in_file, {}) == in_file


def test_what_is_taken_from_the_folder_on_the_command_line(tmp_path: Path):
    model = load(tmp_path, {"pretrained": BERT}, "--model.pooling", "mean").model
    assert (model.pooling, model.projection_dim, model.projection_activation) == ("mean", None, "identity")
    config = load(tmp_path, {"pretrained": BERT, "vocabulary": "new"}, "--data.tokenizer.vocab_size", "400")
    assert (config.model.encoder.vocab_size, config.data.tokenizer.vocab_size) == (400, 400)
    config = load(tmp_path, {"pretrained": BERT, "vocabulary": "new"}, "--model.encoder.vocab_size", "500")
    assert (config.model.encoder.vocab_size, config.data.tokenizer.vocab_size) == (500, 500)
    assert load(tmp_path, {"pretrained": BERT}, "--pretrained", "None") == Config()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [  # the folder's: BERT's pooler is cls, 16, tanh; LaBSE's Dense the same; mmBERT's mean, 12, identity, no bias
        ({"pretrained": BERT}, ("cls", 16, "tanh", True)),
        ({"pretrained": BERT, "model.projection_dim": 16}, ("cls", 16, "tanh", True)),
        ({"pretrained": BERT, "model.projection_bias": True}, ("cls", 16, "tanh", True)),
        ({"pretrained": BERT, "model.projection_dim": 6}, ("mean", 6, "identity", True)),
        ({"pretrained": BERT, "model.projection_dim": None}, ("mean", None, "identity", True)),
        ({"pretrained": BERT, "model.projection_bias": False}, ("mean", 16, "identity", False)),
        (
            {
                "pretrained": BERT,
                "model.projection_dim": 6,
                "model.pooling": "cls",
                "model.projection_activation": "relu",
            },
            ("cls", 6, "relu", True),
        ),
        ({"pretrained": LABSE, "model.projection_dim": 6}, ("cls", 6, "identity", True)),
        (
            {"pretrained": LABSE, "model.projection_dim": 6, "model.projection_activation": "tanh"},
            ("cls", 6, "tanh", True),
        ),
        ({"pretrained": MMBERT, "model.projection_dim": 12}, ("mean", 12, "identity", False)),
        ({"pretrained": MMBERT, "model.projection_dim": 6}, ("mean", 6, "identity", True)),
    ],
)
def test_a_projection_of_another_shape_takes_nothing_from_the_folders(
    tmp_path: Path, fields: dict[str, Any], expected: tuple[str, int | None, str, bool]
):
    model = load(tmp_path, nested(fields)).model
    actual = model.pooling, model.projection_dim, model.projection_activation, model.projection_bias
    assert actual == expected


@pytest.mark.parametrize("folder", [MODERNBERT, MMBERT])
def test_an_encoder_has_the_fields_of_the_folders_family(tmp_path: Path, folder: str):
    encoder = load(tmp_path, {"pretrained": folder, "model": {"encoder": {"mlp_dropout": 0.1}}}).model.encoder
    assert isinstance(encoder, ModernBertConfig)
    assert (encoder.mlp_dropout, encoder.hidden_size) == (0.1, 16)
    with pytest.raises(
        ConfigError, match=r"unknown field model\.encoder\.mlp_dropot: did you mean mlp_dropout"
    ) as told:
        load(tmp_path, {"pretrained": folder, "stepz": 1, "model": {"encoder": {"mlp_dropot": 0.1}}})
    assert len(str(told.value).splitlines()) == 2
    with pytest.raises(ConfigError, match=r"unknown field model\.encoder\.mlp_dropout: did you mean dropout"):
        load(tmp_path, {"pretrained": BERT, "model": {"encoder": {"mlp_dropout": 0.1}}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"pretrained": 5}, r"pretrained = 5: "),
        ({"model": 5}, r"model = 5: "),
        ({"model": {"encoder": None}}, r"model\.encoder = None: "),
        ({"data": {"tokenizer": [1]}}, r"data\.tokenizer = \[1\]: "),
        ({"model": {"pooling": ["max"]}}, r"model\.pooling = \['max'\]: "),
        ({"vocabulary": "newer"}, r"vocabulary = 'newer': "),
    ],
)
def test_values_of_the_wrong_kind_are_refused_as_without_a_folder(
    tmp_path: Path, content: dict[str, Any], message: str
):
    with pytest.raises(ConfigError, match=message) as told:
        load(tmp_path, {"pretrained": BERT, **content})
    assert len(str(told.value).splitlines()) == 1


def test_a_bad_value_on_the_command_line_is_told_as_one(tmp_path: Path, capsys):
    for words in (["--model.pooling", "max"], ["--vocabulary", "newer"], ["--pretrained"]):
        with pytest.raises(SystemExit):
            load(tmp_path, {"pretrained": BERT}, *words)
        assert words[0] in capsys.readouterr().err


def test_an_encoder_of_another_family_is_refused_in_one_line(tmp_path: Path):
    told = re.escape(f"model.encoder.architecture bert: that of {MODERNBERT} is modernbert: leave architecture out")
    with pytest.raises(PretrainedError, match=f"^{told}$"):
        load(tmp_path, {"pretrained": MODERNBERT, "model": {"encoder": {"architecture": "bert"}}})
    with pytest.raises(PretrainedError, match=f"^{told}$"):
        _config(Config(pretrained=MODERNBERT, model=ModelConfig(encoder=BertConfig(dropout=0.3))), {})


def test_mistakes_in_the_file_are_told_before_a_model_is_looked_for_on_the_hub(tmp_path: Path):
    content = {"pretrained": "somebody/no-such-model", "model": {"encoder": {"mlp_dropout": 0.1}}}
    with pytest.raises(ConfigError, match="unknown field batchsize: did you mean batch_size"):
        load(tmp_path, {**content, "batchsize": 3})
    with pytest.raises(PretrainedError, match="somebody/no-such-model"):  # the encoder's fields are the folder's matter
        load(tmp_path, content)


def test_an_encoder_made_in_python_keeps_its_family():
    encoder = ModernBertConfig(num_layers=2)
    assert _config(Config(model=ModelConfig(encoder=encoder)), {}).model.encoder == encoder
    expected = _config({"pretrained": MODERNBERT, "model": {"encoder": {"attention_dropout": 0.3}}}, {})
    assert isinstance(expected.model.encoder, ModernBertConfig)
    assert expected.model.encoder.hidden_size == 16
    for model in (
        ModelConfig(encoder=ModernBertConfig(attention_dropout=0.3)),
        {"encoder": {"attention_dropout": 0.3}},
    ):
        assert _config(Config.model_validate({"pretrained": MODERNBERT, "model": model}), {}) == expected


def test_the_help_shows_the_folders_values_and_downloads_nothing(tmp_path: Path, capsys):
    def shown(pretrained: str) -> str:
        (tmp_path / "run.yaml").write_text(f"pretrained: {pretrained}\n", encoding="utf-8")
        with pytest.raises(SystemExit) as ended:
            show_fields(tmp_path / "run.yaml", [], "train")
        assert ended.value.code == 0
        return capsys.readouterr().out

    assert "--model.encoder.mlp-dropout" in shown(MODERNBERT)
    assert "--model.encoder.type-vocab-size" in shown("nobody/nothing-of-this-name")
