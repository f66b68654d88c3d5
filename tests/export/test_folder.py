"""Exported folders: bit-equal round trips of what transformers saved, equal embeddings of what we trained, and nothing
left behind by an export that fails."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import safetensors
from transformers import AutoConfig, AutoTokenizer

from hybrid_jax.data.tokenizer import Tokenizer, train_unigram
from hybrid_jax.embed.encoder import TextEncoder, TextRules
from hybrid_jax.embed.load import load
from hybrid_jax.embed.origin import Origin
from hybrid_jax.export.folder import plan, write_folder
from hybrid_jax.export.settings import ExportError, Format, Precision
from hybrid_jax.export.verify import TEXTS
from hybrid_jax.hub.folders import open_pretrained
from hybrid_jax.hub.names import is_ignored
from hybrid_jax.model.dual_encoder import ModelConfig, initialize
from hybrid_jax.model.families import family_of
from hybrid_jax.runtime.mesh import MeshConfig, make_mesh

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pretrained"
FOLDERS = sorted(path for path in FIXTURES.iterdir() if path.is_dir())
BERT: dict[str, Any] = {
    "hidden_size": 16,
    "num_layers": 2,
    "num_heads": 2,
    "intermediate_size": 24,
    "max_length": 32,
    "dtype": "float32",
}
MODERN = {**BERT, "architecture": "modernbert", "num_layers": 4, "global_layers": 3, "local_attention": 4}
POOLER = {"pooling": "cls", "projection_dim": 16, "projection_activation": "tanh"}
MODELS: dict[str, dict[str, Any]] = {
    "bert": {"encoder": BERT},
    "bert with a pooler": {"encoder": {**BERT, "type_vocab_size": 2, "activation": "relu"}, **POOLER},
    "xlm-roberta": {"encoder": {**BERT, "position_offset": 2}, "projection_dim": 8, "projection_bias": False},
    "modernbert": {"encoder": MODERN, "pooling": "cls", "projection_dim": 24, "projection_activation": "mish"},
    "modernbert, uneven": {"encoder": {**MODERN, "global_layers": (1, 2), "norm_bias": True, "attention_bias": True}},
}
ROUNDING = 1e-12
"""Cosine distance of equal weights: the encoders made here lie on 1 device, loaded ones on 8, in another program."""
UNSEEN = ["Ein Satz, den die Prüfung nicht kennt", "不同的句子", "one more " * 40]


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return train_unigram(TEXTS, 400, tmp_path_factory.mktemp("unigram") / "tokenizer")


def make_encoder(tokenizer: Tokenizer, settings: dict[str, Any]) -> TextEncoder:
    """An untrained encoder of these sizes in which no two parameters are alike."""
    sized = {**settings, "encoder": {**settings["encoder"], "vocab_size": tokenizer.vocab_size + 3}}
    config = ModelConfig.model_validate(sized)
    fresh = jax.jit(initialize, static_argnums=0)(config, 0)
    leaves, tree = jax.tree.flatten(jax.device_get(fresh))
    draw = np.random.default_rng(1)
    leaves = [leaf + draw.normal(0, 0.1, leaf.shape).astype(np.float32) for leaf in leaves]
    rules = TextRules("Query: ", "Passage: ", 12, 24)
    mesh = make_mesh(MeshConfig(data=1))
    return TextEncoder(
        tokenizer,
        config,
        rules,
        jax.tree.unflatten(tree, leaves),
        mesh,
        Origin(kind="Hugging Face", folder=Path("made/up")),
    )


def export(encoder: TextEncoder, out: Path, format: Format = "sentence-transformers", **how: Any) -> float:
    return write_folder(plan(encoder, format=format, dtype=how.pop("dtype", "float32"), **how), out, card="# card\n")


def tensors(folder: Path) -> dict[str, np.ndarray]:
    """All that the weight files of a folder hold, without the heads and buffers that are no part of an encoder."""
    found: dict[str, np.ndarray] = {}
    for path in sorted(folder.rglob("*.safetensors")):
        with safetensors.safe_open(path, "np") as file:
            where = "" if path.parent == folder else f"{path.parent.name}/"
            found |= {where + name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    return found


def meaning(folder: Path) -> dict[str, Any]:
    """What transformers reads in config.json, without heads, special tokens that no encoder looks at, notes, and what
    only decoders or transformers 4 read."""
    unread = {"_name_or_path", "architectures", "transformers_version", "classifier_pooling"}
    unread |= {"use_cache", "global_attn_every_n_layers", "global_rope_theta", "local_rope_theta"}
    unread |= {f"{kind}_token_id" for kind in ("bos", "eos", "cls", "sep")}
    content = AutoConfig.from_pretrained(folder).to_dict()
    if content["model_type"] == "modernbert":  # published ones have BERT's keys, too
        unread |= {"layer_norm_eps", "position_embedding_type"}
    return {name: value for name, value in content.items() if name not in unread}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_what_transformers_saved_comes_back_bit_by_bit(folder: Path, tmp_path: Path):
    original = open_pretrained(folder)
    stored = json.loads((original.transformer / "config.json").read_text(encoding="utf-8"))
    dtype: Precision = stored["dtype"]
    encoder = load(folder)
    assert (
        export(
            encoder, tmp_path / "out", "sentence-transformers" if original.sentence_transformers else "hf", dtype=dtype
        )
        == 0
    )
    theirs, ours = tensors(folder), tensors(tmp_path / "out")
    assert set(ours) <= set(theirs)
    family = family_of(encoder.model.encoder)
    assert all(is_ignored(name, family.ignored, family.prefixes) for name in set(theirs) - set(ours))
    for name, values in ours.items():
        assert values.dtype == theirs[name].dtype, name
        np.testing.assert_array_equal(values, theirs[name], err_msg=name)
    theirs, ours = meaning(folder), meaning(tmp_path / "out")
    if theirs["model_type"] == "roberta":  # the same computation under XLM-R's name
        theirs["model_type"] = "xlm-roberta"
    assert ours == theirs


@pytest.mark.parametrize("name", MODELS)
def test_ours_reads_back_equal(name: str, tokenizer: Tokenizer, tmp_path: Path):
    encoder = make_encoder(tokenizer, MODELS[name])
    assert export(encoder, tmp_path / "out") < ROUNDING
    found = load(tmp_path / "out")
    assert found.model == encoder.model
    assert found.rules == TextRules("Query: ", "Passage: ", 24, 24)  # one limit: the larger
    jax.tree.map(np.testing.assert_array_equal, found.parameters, encoder.parameters)
    same_limit = replace(encoder, rules=found.rules)
    for side in ("encode_queries", "encode_passages"):
        np.testing.assert_allclose(getattr(found, side)(UNSEEN), getattr(same_limit, side)(UNSEEN), rtol=0, atol=1e-6)
    kinds = [module["type"] for module in json.loads((tmp_path / "out" / "modules.json").read_text())]
    dense = ["Dense"] if encoder.model.projection_dim else []
    assert kinds == [f"sentence_transformers.models.{kind}" for kind in ("Transformer", "Pooling", *dense, "Normalize")]
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in (tmp_path / "out").rglob("*"))


@pytest.mark.parametrize("name", MODELS)
def test_transformers_reads_the_config_and_the_tokenizer(name: str, tokenizer: Tokenizer, tmp_path: Path):
    encoder = make_encoder(tokenizer, MODELS[name])
    export(encoder, tmp_path / "out")
    config = AutoConfig.from_pretrained(tmp_path / "out")
    assert config.model_type == name.split()[0].rstrip(",")
    assert config.pad_token_id == tokenizer.pad_id
    auto = AutoTokenizer.from_pretrained(tmp_path / "out")
    given = auto(list(TEXTS), truncation=True)
    expected, _ = tokenizer.encode(TEXTS, 24)
    assert given["input_ids"] == [row.tolist() for row in expected]
    assert ("token_type_ids" in given) == (config.model_type == "bert")  # the others' forward does not take them


def test_a_pooler_is_exported_as_transformers_own(tokenizer: Tokenizer, tmp_path: Path):
    encoder = make_encoder(tokenizer, MODELS["bert with a pooler"])
    assert export(encoder, tmp_path / "out", "hf") < ROUNDING
    assert not (tmp_path / "out" / "modules.json").exists()
    kernel = encoder.parameters["tower"]["projection"]["kernel"]
    np.testing.assert_array_equal(tensors(tmp_path / "out")["pooler.dense.weight"], kernel.T)
    found = load(tmp_path / "out", passage_prompt="Passage: ", max_length=24)
    np.testing.assert_allclose(found.encode_passages(UNSEEN), encoder.encode_passages(UNSEEN), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("dtype", "least"), [("float16", 1e-12), ("bfloat16", 1e-9)])
def test_rounded_weights_move_the_embeddings_a_little(
    dtype: Precision, least: float, tokenizer: Tokenizer, tmp_path: Path
):
    distance = export(make_encoder(tokenizer, MODELS["xlm-roberta"]), tmp_path / "out", dtype=dtype)
    assert least < distance < 1e-3
    assert {values.dtype.name for values in tensors(tmp_path / "out").values()} == {dtype}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == dtype


def test_two_towers_are_two_folders(tokenizer: Tokenizer, tmp_path: Path):
    encoder = make_encoder(tokenizer, {"encoder": BERT, "tied": False})
    with pytest.raises(ExportError, match="a tower each, and a folder holds one: add --tower query or passage"):
        export(encoder, tmp_path / "both")
    for tower in ("query", "passage"):
        assert export(encoder, tmp_path / tower, tower=tower) < ROUNDING
    queries, passages = load(tmp_path / "query"), load(tmp_path / "passage")
    assert (queries.rules.query_prompt, queries.rules.passage_prompt) == ("Query: ", "")
    assert queries.rules.max_query_length == 12
    np.testing.assert_allclose(queries.encode_queries(UNSEEN), encoder.encode_queries(UNSEEN), rtol=0, atol=1e-6)
    np.testing.assert_allclose(passages.encode_passages(UNSEEN), encoder.encode_passages(UNSEEN), rtol=0, atol=1e-6)
    with pytest.raises(ExportError, match="share one tower here: leave --tower out"):
        export(make_encoder(tokenizer, MODELS["bert"]), tmp_path / "both", tower="query")


@pytest.mark.parametrize(
    ("settings", "format", "told"),
    [
        ({"encoder": {**BERT, "position_offset": 3}}, "hf", "train with position_offset 0 or 2"),
        ({"encoder": BERT, "projection_dim": 8}, "hf", "use --format sentence-transformers"),
        ({"encoder": MODERN, **POOLER}, "hf", "use --format sentence-transformers"),
        ({"encoder": {**BERT, "activation": "elu"}}, "hf", "activation 'elu' of the encoder cannot be exported"),
        (
            {"encoder": BERT, "projection_dim": 8, "projection_activation": "gelu_tanh"},
            "sentence-transformers",
            "projection_activation 'gelu_tanh' cannot be exported",
        ),
    ],
)
def test_what_a_format_cannot_hold_is_refused(
    settings: dict[str, Any], format: Format, told: str, tokenizer: Tokenizer, tmp_path: Path
):
    with pytest.raises(ExportError, match=told):
        export(make_encoder(tokenizer, settings), tmp_path / "out", format)
    assert list(tmp_path.iterdir()) == []


def test_an_export_that_changes_the_embeddings_leaves_nothing(tokenizer: Tokenizer, tmp_path: Path):
    encoder = make_encoder(tokenizer, MODELS["bert"])
    words = encoder.parameters["tower"]["encoder"]["embeddings"]["word"]
    words["embedding"] = words["embedding"] + np.float32(1000)  # bfloat16 has steps of 4 there
    with pytest.raises(
        ExportError, match=r"written as bfloat16, reads back at a cosine distance .* use --dtype float32"
    ):
        export(encoder, tmp_path / "out", dtype="bfloat16")
    assert list(tmp_path.iterdir()) == []
    words["embedding"] = words["embedding"] * np.float32(1000)
    with pytest.raises(ExportError, match=r"embeddings.word_embeddings.weight has a number that float16 cannot hold"):
        export(encoder, tmp_path / "out", dtype="float16")
    assert list(tmp_path.iterdir()) == []
    assert export(encoder, tmp_path / "out") < ROUNDING


def test_a_tokenizer_that_does_not_name_its_padding_leaves_nothing(tokenizer: Tokenizer, tmp_path: Path):
    own = tmp_path / "tokenizer"
    tokenizer.save(own)
    config = json.loads((own / "tokenizer_config.json").read_text())
    (own / "tokenizer_config.json").write_text(json.dumps({**config, "pad_token": "<s>"}))
    wrong = replace(make_encoder(tokenizer, MODELS["xlm-roberta"]), tokenizer=Tokenizer(own))
    with pytest.raises(ExportError, match="the tokenizer's padding id is 0"):
        export(wrong, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [own]


FULL_DISK = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, 4_000))
sys.argv = ["export", "--ckpt", {ckpt!r}, "--out", {out!r}]
from hybrid_jax.export.__main__ import main
sys.exit(main())
"""


def test_a_full_disk_leaves_nothing(tokenizer: Tokenizer, tmp_path: Path):
    """A limit on the size of files stands for the disk: the tokenizer is too large for it."""
    export(make_encoder(tokenizer, MODELS["bert"]), tmp_path / "model")
    assert (tmp_path / "model" / "tokenizer.json").stat().st_size > 4_000
    code = FULL_DISK.format(ckpt=str(tmp_path / "model"), out=str(tmp_path / "out"))
    environment = {**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"error: cannot write {tmp_path / 'out'}: File too large: make room")
    assert list(tmp_path.iterdir()) == [tmp_path / "model"]


def test_what_is_there_already_stays(tokenizer: Tokenizer, tmp_path: Path):
    encoder = make_encoder(tokenizer, MODELS["bert"])
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for out in ("folder", "file"):
        with pytest.raises(ExportError, match=f"{out} exists and is not an empty folder: choose another --out"):
            export(encoder, tmp_path / out)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder", "mine"]
    (tmp_path / "empty").mkdir()
    export(encoder, tmp_path / "empty")
    assert (tmp_path / "empty" / "README.md").read_text() == "# card\n"
