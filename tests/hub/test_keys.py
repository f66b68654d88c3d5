"""The table of decisions: complete for what transformers reads, shown in the docs, and applied to every file."""

import json
import re
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hybrid_jax.embed.load import load
from hybrid_jax.hub.folders import open_pretrained
from hybrid_jax.hub.json_files import PretrainedError
from hybrid_jax.hub.keys import CONFIG, DENSE, FILES, NORMALIZE, POOLING, SENTENCE_TRANSFORMERS, TEXTS, TOKENIZER, File
from hybrid_jax.hub.table import with_table
from hybrid_jax.model.families import FAMILIES
from hybrid_jax.model.hugging_face import CONFIG_KEYS

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "pretrained"
PLACES: list[tuple[str, File]] = [
    ("config.json", CONFIG),
    ("config_sentence_transformers.json", SENTENCE_TRANSFORMERS),
    ("sentence_bert_config.json", TEXTS),
    ("tokenizer_config.json", TOKENIZER),
    ("1_Pooling/config.json", POOLING),
    ("2_Dense/config.json", DENSE),
    ("3_Normalize/config.json", NORMALIZE),
]
"""The configuration files of the stored LaBSE, and their rows."""
KEYS = [(place, key) for place, file in PLACES for key in file.keys]
WRONG_TYPES: list[Any] = [[], {}, [0], [[]], {"a": []}, -1, "", 1.5, True, None]


def edited(folder: Path, place: str, **changes: Any) -> Path:
    path = folder / place
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    return folder


@pytest.fixture
def labse(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FIXTURES / "labse", tmp_path / "labse"))


def test_the_docs_show_the_table():
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert page == with_table(page), "docs/models.md is out of date: run python -m hybrid_jax.hub docs/models.md"


def test_every_key_has_one_decision():
    for file in FILES:
        groups = [file.keys]
        if file is CONFIG:
            groups = [(*CONFIG_KEYS, *family.config_keys) for family in FAMILIES]
        for keys in groups:
            names = [key.name for key in keys]
            assert sorted(names) == sorted(set(names)), file.name
    refused = [key for file in FILES for key in file.keys if key.decision == "refused"]
    assert all(key.allowed for key in refused)


def test_every_key_that_transformers_reads_has_a_decision():
    """That is how we know that unknown keys of config.json change nothing: neither the configuration's class nor the
    model's code reads them."""
    from transformers import AutoConfig

    package = Path(find_spec("transformers").submodule_search_locations[0])  # pyright: ignore
    without = []
    for family in FAMILIES:
        known = {key.name for key in (*CONFIG_KEYS, *family.config_keys)}
        for model_type in family.model_types:
            name = model_type.replace("-", "_")
            source = (package / "models" / name / f"modeling_{name}.py").read_text(encoding="utf-8")
            read = re.findall(r"config\.([a-z_]+)", source) + re.findall(r'getattr\((?:self\.)?config, "(\w+)"', source)
            assert len(set(read)) > 15
            without += [f"{model_type}: {key}" for key in {*read, *AutoConfig.for_model(model_type).to_dict()} - known]
    assert without == []


@pytest.mark.filterwarnings("ignore")  # of transformers, about old keys
def test_every_refused_key_is_refused_by_name_and_its_defaults_are_not(labse: Path):
    wrong: list[str] = []
    for place, key in KEYS:
        if key.decision != "refused" or key not in (*CONFIG_KEYS, *FAMILIES[0].config_keys, *FILES_KEYS):
            continue
        before = (labse / place).read_text(encoding="utf-8")
        try:
            open_pretrained(edited(labse, place, **{key.name: {"something": "else"}}))
            wrong.append(f"{place}: {key.name} is not refused")
        except PretrainedError as error:
            if not re.search(rf"{place}: {key.name} = .*something.*: only .* is supported", str(error)):
                wrong.append(f"{place}: {key.name}: {error}")
        (labse / place).write_text(before, encoding="utf-8")
        open_pretrained(edited(labse, place, **{key.name: key.allowed[0]}))
        (labse / place).write_text(before, encoding="utf-8")
    assert wrong == []


FILES_KEYS = [key for _, file in PLACES if file is not CONFIG for key in file.keys]


@settings(max_examples=40)
@given(
    place=st.sampled_from([place for place, _ in PLACES]),
    name=st.from_regex(r"[a-z]{3,8}_[a-z]{3,8}", fullmatch=True),
    value=st.one_of(st.booleans(), st.integers(), st.text(max_size=5), st.none(), st.lists(st.integers(), max_size=2)),
)
def test_an_unknown_key_is_refused_or_noted_by_name(place: str, name: str, value: Any):
    """40 random keys and values."""
    file = dict(PLACES)[place]
    if name in {key.name for key in file.keys}:
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(shutil.copytree(FIXTURES / "labse", Path(temporary) / "labse"))
        edited(folder, place, **{name: value})
        if file.unknown == "refused":
            with pytest.raises(PretrainedError, match=f"{place}: {name} = .*: unknown, so it may change vectors"):
                open_pretrained(folder)
        else:
            (note,) = open_pretrained(folder).notes
            assert f"{place}: {name} = " in note


def test_notes_are_warnings_of_load(labse: Path):
    edited(labse, "config.json", some_leftover=3)
    told: list[str] = []
    load(labse, warn=told.append)
    assert told == [f"{labse / 'config.json'}: some_leftover = 3 is not read here, nor by transformers"]


def test_files_that_the_manifest_names_must_be_there(labse: Path):
    for name in ("1_Pooling", "2_Dense"):
        (labse / name / "config.json").rename(labse / "aside")
        with pytest.raises(PretrainedError, match=rf"{name}/config\.json does not exist, but modules\.json names its"):
            open_pretrained(labse)
        (labse / "aside").rename(labse / name / "config.json")
    shutil.rmtree(labse / "3_Normalize")  # has nothing that changes vectors, and older versions wrote no file
    open_pretrained(labse)
    (labse / "modules.json").unlink()
    with pytest.raises(PretrainedError, match=r"modules\.json does not exist, but config_sentence_transformers\.json"):
        open_pretrained(labse)
    assert open_pretrained(labse, "cls").model.pooling == "cls"


def test_the_first_file_of_limits_that_is_not_empty_counts(labse: Path):
    (labse / "sentence_bert_config.json").write_text("{}")
    (labse / "sentence_xlnet_config.json").write_text('{"max_seq_length": 9}')
    assert open_pretrained(labse).max_length == 9
    (labse / "sentence_roberta_config.json").write_text('{"max_seq_length": 11, "do_lower_case": true}')
    assert (open_pretrained(labse).max_length, open_pretrained(labse).lower_case) == (11, True)
    (labse / "sentence_bert_config.json").write_text('{"max_seq_length": null}')
    edited(labse, "tokenizer_config.json", model_max_length=13)
    assert (open_pretrained(labse).max_length, open_pretrained(labse).lower_case) == (13, False)
    unlimited = []
    for none in (None, 1e30, float("inf")):
        edited(labse, "tokenizer_config.json", model_max_length=none)
        unlimited.append(open_pretrained(labse).max_length)
    assert unlimited == [unlimited[0]] * 3
    for bad in (float("nan"), 2, 8.5, True):
        edited(labse, "tokenizer_config.json", model_max_length=bad)
        with pytest.raises(PretrainedError, match=r"model_max_length = .*: expected a whole number from 3"):
            open_pretrained(labse)
    edited(labse, "tokenizer_config.json", model_max_length=13)
    for bad in ("8", 8.5, True, 0):
        edited(labse, "sentence_bert_config.json", max_seq_length=bad)
        with pytest.raises(PretrainedError, match=r"max_seq_length = .*: expected a whole number from 3, or null"):
            open_pretrained(labse)


def test_prompts_are_those_of_sentence_transformers(labse: Path):
    def prompts(**stated: Any) -> tuple[str, str, int]:
        edited(labse, "config_sentence_transformers.json", prompts=stated)
        pretrained = open_pretrained(labse)
        return pretrained.query_prompt, pretrained.passage_prompt, len(pretrained.notes)

    assert prompts(query="q: ", document="", passage="text: ") == ("q: ", "", 1)
    assert prompts(query=None, document="d: ", passage="d: ") == ("", "d: ", 0)
    assert prompts(passage="text: ", clustering="c: ") == ("", "", 1)
    edited(labse, "config_sentence_transformers.json", prompts={"clustering": "c: "}, default_prompt_name="clustering")
    assert open_pretrained(labse).query_prompt == ""
    edited(labse, "config_sentence_transformers.json", default_prompt_name="nothing")
    with pytest.raises(PretrainedError, match="default_prompt_name = 'nothing' names no prompt"):
        open_pretrained(labse)


def test_one_file_of_weights_counts_more_than_shards(tmp_path: Path):
    folder = Path(shutil.copytree(FIXTURES / "bert", tmp_path / "bert"))
    sharded = load(folder, pooling="mean").encode_queries(["a text"])
    from safetensors.numpy import load_file, save_file

    tensors = {name: tensor for shard in folder.glob("model-*") for name, tensor in load_file(shard).items()}
    save_file({name: tensor * 1.5 for name, tensor in tensors.items()}, folder / "model.safetensors")
    single = load(folder, pooling="mean").encode_queries(["a text"])
    assert np.abs(single - sharded).max() > 1e-3
    for path in folder.glob("model*"):
        if path.name != "model.safetensors":
            path.unlink()
    np.testing.assert_array_equal(load(folder, pooling="mean").encode_queries(["a text"]), single)


def test_the_tokenizers_limit_and_side_are_obeyed(tmp_path: Path):
    folder = Path(shutil.copytree(FIXTURES / "xlmr", tmp_path / "xlmr"))
    edited(folder, "tokenizer_config.json", model_max_length=8, truncation_side="left")
    encoder = load(folder)
    assert encoder.rules.max_passage_length == 8
    text = "eins zwei drei vier " * 9
    (cut,), _ = encoder.tokenizer.encode([text], 8)
    (whole,), _ = encoder.tokenizer.encode([text], 999)
    assert cut.tolist() == [whole[0], *whole[-7:]]
    encoder.tokenizer.save(tmp_path / "saved", 8)
    from hybrid_jax.data.tokenizer import Tokenizer

    again = Tokenizer(tmp_path / "saved")
    assert again.truncation_side == "left"
    assert again.encode([text], 8)[0][0].tolist() == cut.tolist()
    assert again.digest != load(FIXTURES / "xlmr").tokenizer.digest


@pytest.mark.filterwarnings("ignore")  # of transformers, about odd ids
@pytest.mark.parametrize("name", ["labse", "e5", "mmbert"])
def test_a_value_of_a_wrong_type_in_any_key_is_read_or_refused_and_never_breaks(name: str, tmp_path: Path):
    """Every key of every file of the folder and every key that has a decision, with each of WRONG_TYPES."""
    folder = Path(shutil.copytree(FIXTURES / name, tmp_path / name))
    manifest = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    broken, cases = [], 0

    def read(place: str, content: Any, changed: str) -> None:
        nonlocal cases
        cases += 1
        (folder / place).write_text(json.dumps(content), encoding="utf-8")
        try:
            open_pretrained(str(folder))
        except PretrainedError:
            pass
        except Exception as error:  # noqa: BLE001 (what it must not raise)
            broken.append(f"{place}: {changed}: {type(error).__name__}: {error}")

    for place, file in PLACES:
        if not (folder / place).is_file():
            continue
        before = json.loads((folder / place).read_text(encoding="utf-8"))
        decided = (*CONFIG_KEYS, *(key for family in FAMILIES for key in family.config_keys), *file.keys)
        for key in sorted({*before, *(key.name for key in decided)}):
            for value in WRONG_TYPES:
                read(place, before | {key: value}, f"{key} = {value!r}")
        (folder / place).write_text(json.dumps(before), encoding="utf-8")
    for number, module in enumerate(manifest):
        for key in (*module, "kwargs"):
            for value in WRONG_TYPES:
                changed = [module | {key: value} if n == number else other for n, other in enumerate(manifest)]
                read("modules.json", changed, f"module {number}: {key} = {value!r}")
    assert broken == [], "\n".join(broken)
    assert cases > 500
