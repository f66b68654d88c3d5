"""Model folders: what is read from them, and that hostile or broken ones are refused with one clear error."""

import json
import pickle
import re
import shutil
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from hybrid_jax.embed.load import load
from hybrid_jax.hub.find import find_folder
from hybrid_jax.hub.weights import PretrainedError, load_parameters, load_tower, open_pretrained
from hybrid_jax.model.bert.encoder import BertConfig
from hybrid_jax.model.dual_encoder import initialize
from hybrid_jax.model.modernbert.encoder import ModernBertConfig
from hybrid_jax.runtime.mesh import MeshConfig, make_mesh, parameter_sharding

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pretrained"
SHARDING = partial(parameter_sharding, make_mesh(MeshConfig()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a stored folder, to be changed."""
    return Path(shutil.copytree(FIXTURES / "minilm", tmp_path / "minilm"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_sentence_transformers_folders_say_how_they_pool_cut_and_prompt():
    labse, minilm, e5 = (open_pretrained(FIXTURES / name) for name in ("labse", "minilm", "e5"))
    assert (labse.model.pooling, labse.model.projection_dim, labse.model.projection_activation) == ("cls", 16, "tanh")
    assert (minilm.model.pooling, minilm.max_length, minilm.lower_case) == ("mean", 20, True)
    assert (e5.query_prompt, e5.passage_prompt, e5.max_length) == ("query: ", "passage: ", 40)
    mmbert = open_pretrained(FIXTURES / "mmbert").model
    assert isinstance(mmbert.encoder, ModernBertConfig)
    assert (mmbert.projection_dim, mmbert.projection_activation, mmbert.projection_bias) == (12, "identity", False)


def test_a_plain_folder_pools_as_asked_and_bert_with_its_pooler_by_default():
    assert open_pretrained(FIXTURES / "bert").projection == "pooler"
    assert open_pretrained(FIXTURES / "bert").model.projection_activation == "tanh"
    assert open_pretrained(FIXTURES / "bert", "mean").model.projection_dim is None
    assert open_pretrained(FIXTURES / "xlmr").model.pooling == "mean"
    assert open_pretrained(FIXTURES / "xlmr", "cls").model.pooling == "cls"
    encoder = open_pretrained(FIXTURES / "xlmr").model.encoder
    assert isinstance(encoder, BertConfig)
    assert (encoder.position_offset, encoder.max_length) == (2, 40)
    with pytest.raises(PretrainedError, match="says itself how it pools"):
        open_pretrained(FIXTURES / "e5", "mean")


def test_loading_goes_to_the_shardings_it_is_given():
    mesh = make_mesh(MeshConfig(data=4, fsdp=2))
    pretrained = open_pretrained(FIXTURES / "xlmr")
    spread = load_tower(pretrained, pretrained.model, partial(parameter_sharding, mesh))
    whole = load_tower(pretrained, pretrained.model, SHARDING)
    word = spread["encoder"]["embeddings"]["word"]["embedding"]
    assert word.sharding == parameter_sharding(mesh, word.shape)
    assert not word.sharding.is_fully_replicated
    jax.tree.map(np.testing.assert_array_equal, spread, whole)


def test_half_precision_files_become_float32_without_a_change():
    source = load_file(FIXTURES / "bert_bfloat16" / "model.safetensors")
    found = load(FIXTURES / "bert_bfloat16").parameters["tower"]["encoder"]["embeddings"]["word"]["embedding"]
    np.testing.assert_array_equal(found, source["embeddings.word_embeddings.weight"].astype(np.float32))


def test_all_that_does_not_fit_is_told_at_once_with_names_shapes_and_files(folder: Path):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["encoder.layer.0.attention.self.key.bias"]
    tensors["encoder.layer.1.output.dense.weight"] = np.zeros((16, 25), np.float32)
    tensors["encoder.layer.7.output.dense.bias"] = np.zeros(16, np.float32)
    tensors["something.else"] = np.zeros(3, np.float32)
    tensors["bert.embeddings.word_embeddings.weight"] = tensors["embeddings.word_embeddings.weight"] + 1
    tensors["encoder.layer.0.output.dense.bias"] = np.zeros(16, np.int32)
    save_file(tensors, path)
    with pytest.raises(PretrainedError) as told:
        load(folder)
    lines = str(told.value).split("\n")
    assert "6 problems with its weights, none loaded" in lines[0]
    assert any("layers.0.attention.key.bias [16]: no tensor for it" in line for line in lines)
    assert any(f"[16, 25] in {path}: the model asks for [16, 24]" in line for line in lines)
    assert any("encoder.layer.7.output.dense.bias [16]" in line and "no such parameter" in line for line in lines)
    assert any("something.else [3]" in line for line in lines)
    assert any("is encoder.embeddings.word.embedding already" in line for line in lines)
    assert any("I32, expected float32, float16 or bfloat16" in line for line in lines)


def test_sizes_that_a_config_changes_are_named():
    pretrained = open_pretrained(FIXTURES / "labse")
    encoder = pretrained.model.encoder
    changed = encoder.model_copy(update={"max_length": 64, "dropout": 0.0, "num_heads": 4})
    config = pretrained.model.model_copy(update={"encoder": changed})
    with pytest.raises(PretrainedError) as told:
        load_tower(pretrained, config, SHARDING)
    problem, field = str(told.value).split("\n")[1:]
    assert f"[{encoder.max_length}, 16] in" in problem
    assert problem.endswith("the model asks for [64, 16]")
    stated = f"{encoder.max_length} in the folder's config.json: leave it out, or set it to {encoder.max_length}"
    assert field == f"  model.encoder.max_length is 64, but {stated}"


@pytest.mark.parametrize(
    ("changes", "kept"),
    [({"projection_activation": "identity"}, True), ({"projection_dim": 8}, False), ({"pooling": "mean"}, False)],
)
def test_the_folders_projection_is_kept_under_another_activation(changes: dict[str, Any], kept: bool):
    pretrained = open_pretrained(FIXTURES / "labse")
    config = pretrained.model.model_copy(update=changes)
    fresh = jax.jit(initialize, static_argnums=0)(config, 0)
    found = load_parameters(pretrained, config, SHARDING, fresh)["tower"]["projection"]
    trained = load_file(FIXTURES / "labse" / "2_Dense" / "model.safetensors")
    expected = {"kernel": trained["linear.weight"].T, "bias": trained["linear.bias"]}
    jax.tree.map(np.testing.assert_array_equal, found, expected if kept else fresh["tower"]["projection"])


def test_weights_that_are_no_numbers_are_refused(folder: Path):
    path = folder / "model.safetensors"
    tensors = load_file(path)
    tensors["encoder.layer.0.output.dense.bias"][3] = np.nan
    save_file(tensors, path)
    with pytest.raises(PretrainedError, match=r"model.safetensors: encoder.*output.dense.bias holds values that"):
        load(folder)


def test_heads_of_the_pretraining_task_are_ignored_by_name(folder: Path):
    path = folder / "model.safetensors"
    before = load(folder).encode_queries(["a text"])
    wrapped = {f"bert.{name}": tensor for name, tensor in load_file(path).items()}
    head = {"cls.predictions.bias": np.zeros(212, np.float32), "bert.embeddings.position_ids": np.zeros(40, np.int64)}
    save_file(wrapped | head, path)
    np.testing.assert_array_equal(load(folder).encode_queries(["a text"]), before)
    save_file(wrapped | {"head.dense.weight": np.zeros((16, 16), np.float32)}, path)  # another family's head
    with pytest.raises(PretrainedError, match=r"head\.dense\.weight \[16, 16\] .*the model has no such parameter"):
        load(folder)


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self) -> Any:
        return exec, ("import pathlib; pathlib.Path('went_off').touch()",)


def _truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def _absurd_header(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", 2**60) + b"{}")


def _pickle_only(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))


def _elsewhere(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../model.safetensors"}}))


def _listed_but_absent(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"nothing": "model-1.safetensors"}}))


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _damaged_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"model": 3')


def _own_code(folder: Path) -> None:
    (folder / "modeling_bomb.py").write_text("import pathlib; pathlib.Path('went_off').touch()")
    edit(folder / "config.json", model_type="bomb", auto_map={"AutoConfig": "modeling_bomb.Config"})


def _tokenizer_code(folder: Path) -> None:
    (folder / "bomb.py").write_text("import pathlib; pathlib.Path('went_off').touch()")
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.txt").write_text("[PAD]\n")
    edit(folder / "tokenizer_config.json", tokenizer_class="Bomb", auto_map={"AutoTokenizer": ["bomb.Bomb", None]})


def _module(**changes: Any) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        modules = json.loads((folder / "modules.json").read_text())
        modules[1] |= changes
        (folder / "modules.json").write_text(json.dumps(modules))

    return damage


def _config(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "config.json", **changes)


def _pooling(**changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / "1_Pooling" / "config.json", **changes)


DAMAGES: list[tuple[Callable[[Path], Any], str]] = [
    (_truncated, r"model\.safetensors: damaged or truncated"),
    (_absurd_header, r"model\.safetensors: damaged or truncated"),
    (_pickle_only, r"a pickle, which can run code.*safetensors\.torch import save_file"),
    (_elsewhere, r"'\.\./model\.safetensors' is not the plain name of a safetensors file"),
    (_listed_but_absent, r"lists nothing .*which no file holds"),
    (_no_tokenizer, "has no tokenizer"),
    (_damaged_tokenizer, r"tokenizer\.json: cannot be read"),
    (_tokenizer_code, r"tokenizer_config\.json: auto_map = .*: code, which is never run"),
    (_own_code, "has model_type 'bomb': hybrid_jax reads bert, roberta"),
    (_module(type="evil.Module"), "'evil.Module' needs code of its own, which is never run"),
    (_module(path="../elsewhere"), r"'\.\./elsewhere' is not the plain name of a folder"),
    (_module(type="sentence_transformers.models.CNN"), "hybrid_jax reads Transformer, Pooling, then"),
    (_config(hidden_size=10**9), "hidden_size = 1000000000: Input should be less than"),
    (_config(num_hidden_layers=10**9), "num_hidden_layers = 1000000000"),
    (_config(vocab_size=1000), r"\[\d+, 16\].*the model asks for \[1000, 16\]"),
    (_config(vocab_size=100), r"its tokenizer has \d+ tokens and its word embedding 100 rows"),
    (_config(num_attention_heads=3), "num_heads 3 does not divide hidden_size 16"),
    (_config(hidden_act="sine"), "activation 'sine': known are gelu"),
    (_config(is_decoder=True), "is_decoder = true: a decoder, or .*: only false or null is supported"),
    (_config(position_embedding_type="relative_key"), "position_embedding_type"),
    (_pooling(pooling_mode="max"), "pooling max is not supported: only mean or cls are"),
    (_pooling(pooling_mode=["mean", "max"]), r"pooling mean \+ max is not supported"),
    (_pooling(include_prompt=False), "include_prompt = false: pooling without the prompt's tokens: only true"),
    (lambda folder: (folder / "config.json").write_text("{"), "config.json: cannot be read"),
    (lambda folder: (folder / "config.json").write_text("[]"), "expected an object, found list"),
    (lambda folder: (folder / "modules.json").write_text("[" * 10**5), "modules.json: cannot be read"),
]
"""What is done to a folder, and the error that it must give."""


def test_a_broken_or_hostile_folder_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)  # where code from a folder would leave its trace
    wrong: list[str] = []
    for number, (damage, message) in enumerate(DAMAGES):
        folder = Path(shutil.copytree(FIXTURES / "minilm", tmp_path / str(number) / "minilm"))
        damage(folder)
        before = sorted(folder.rglob("*"))
        try:
            load(folder)
            wrong.append(f"{message}: it loaded")
        except (PretrainedError, ValueError, FileNotFoundError) as error:
            if not re.search(message, str(error), re.DOTALL):
                wrong.append(f"{message}: the error was {error}")
        if sorted(folder.rglob("*")) != before:
            wrong.append(f"{message}: something was written")
        if (tmp_path / "went_off").exists():
            wrong.append(f"{message}: code from the folder ran")
            (tmp_path / "went_off").unlink()
    assert wrong == []


def test_the_bomb_is_live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Bomb()))  # noqa: S301
    assert (tmp_path / "went_off").exists()


def test_a_tokenizer_of_another_model_is_refused(folder: Path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(FIXTURES / "roberta" / name, folder / name)
    with pytest.raises(PretrainedError, match=r"its tokenizer has 30\d tokens and its word embedding 2\d\d rows"):
        load(folder)


def test_what_is_no_folder_is_looked_for_on_the_hub_and_says_so():
    with pytest.raises(PretrainedError, match=r"cannot be downloaded from the .* hub \(HF_HUB_OFFLINE is set\)"):
        load("nobody/nothing-of-this-name")
    with pytest.raises(PretrainedError, match="no folder /no/such/place: give the folder of a run or a model"):
        load("/no/such/place")


def test_the_current_folder_has_a_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(FIXTURES / "minilm")
    assert find_folder(".").name == "minilm"
    assert find_folder("..").name == FIXTURES.name


def test_the_hubs_cache_serves_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub.constants

    cached = tmp_path / "models--someone--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text("0123456789abcdef0123456789abcdef01234567")
    shutil.copytree(FIXTURES / "minilm", cached / "snapshots" / "0123456789abcdef0123456789abcdef01234567")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    found, here = load("someone/tiny").encode_queries(["a text"]), load(FIXTURES / "minilm").encode_queries(["a text"])
    np.testing.assert_array_equal(found, here)
