"""Every key of a model folder: with another value, our vectors are sentence-transformers', or the folder is refused.

The folders are the stored ones, with one key of one file changed. Keys and decisions are in `hybrid_jax/hub/keys.py`.
"""

import json
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sentence_transformers import SentenceTransformer

from hybrid_jax.embed.load import load
from hybrid_jax.hub.keys import CONFIG, DENSE, NORMALIZE, POOLING, SENTENCE_TRANSFORMERS, TEXTS, TOKENIZER, File
from hybrid_jax.model.families import FAMILIES
from hybrid_jax.model.hugging_face import CONFIG_KEYS

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pretrained"
SENTENCES = [
    "Wo liegt Athen?",
    "PARIS ist die Hauptstadt. Árvíztűrő, 北京是中国的首都。",
    "a <pad> b [PAD] <mask> [MASK] </s> c",
    "eins zwei drei vier fünf sechs sieben acht neun zehn " * 9,
]
SHORT = 1
"""So many of them have few tokens, prompts included."""
FOLDERS: dict[str, dict[str, File]] = {
    "labse": {
        "config.json": CONFIG,
        "config_sentence_transformers.json": SENTENCE_TRANSFORMERS,
        "sentence_bert_config.json": TEXTS,
        "tokenizer_config.json": TOKENIZER,
        "1_Pooling/config.json": POOLING,
        "2_Dense/config.json": DENSE,
        "3_Normalize/config.json": NORMALIZE,
    },
    "e5": {
        "config.json": CONFIG,
        "config_sentence_transformers.json": SENTENCE_TRANSFORMERS,
        "sentence_bert_config.json": TEXTS,
        "tokenizer_config.json": TOKENIZER,
    },
    "mmbert": {"config.json": CONFIG, "tokenizer_config.json": TOKENIZER},
}
"""Of each stored folder, the files in which keys are changed."""
KINDS = ["full_attention", "sliding_attention"]
VALUES: dict[str, Sequence[Any]] = {
    "add_prefix_space": [False, True],
    "activation_function": ["torch.nn.modules.activation.ReLU", "torch.nn.GELU", "torch.nn.Softmax", "mine.Tanh", None],
    "architectures": [["BertForMaskedLM"], ["BertForSequenceClassification"], None],
    "bias": [True, False],
    "default_prompt_name": ["query", "clustering", "document"],
    "dtype": ["float16", "float32"],
    "extra_special_tokens": [["haupt"], []],
    "hidden_act": ["relu", "gelu_new", "silu", "quick_gelu"],
    "hidden_activation": ["relu", "gelu_new", "silu", "quick_gelu"],
    "in_features": [16, 8],
    "is_causal": [True, False],
    "layer_norm_eps": [0.1, 1e-5],
    "layer_types": [[KINDS[1]] * 4, [KINDS[0]] * 4, [KINDS[1], KINDS[0]] * 2, None],
    "global_attn_every_n_layers": [1, 2],
    "global_rope_theta": [10.0],
    "local_rope_theta": [10.0],
    "local_attention": [2, 4, 128],
    "sliding_window": [1, 3, None],
    "mask_token": ["haupt"],
    "max_position_embeddings": [40, 30, 600],
    "max_seq_length": [7, 12, 39, None, 4000, "8", 0],
    "document_length": [None, 8],
    "query_length": [None, 8],
    "model_args": [{}, {"add_pooling_layer": False}, {"num_hidden_layers": 1}, {"dtype": "float32"}],
    "model_kwargs": [{"attn_implementation": "eager"}, {"output_hidden_states": True}],
    "model_max_length": [8, 12, 1e30, None],
    "max_len": [8, 12],
    "model_input_names": [["input_ids", "attention_mask"], ["input_ids"]],
    "norm_eps": [0.1],
    "num_attention_heads": [4, 8, 3],
    "num_hidden_layers": [1, 3],
    "pad_token": ["[MASK]", "<s>", "haupt"],
    "pad_token_id": [0, 3, 5, None],
    "pooling_mode": ["mean", "cls", "max", ["mean"], ["cls", "mean"], []],
    "pooling_mode_cls_token": [True, False],
    "position_embedding_type": ["absolute", "relative_key", "sans_pos", None],
    "prompts": [
        {},
        {"query": "q: ", "document": "", "passage": "text: "},
        {"query": "", "passage": "text: ", "corpus": "c: "},
        {"query": "", "document": None, "corpus": "c: "},
        {"document": "d: ", "passage": "text: ", "clustering": "other: "},
    ],
    "rope_parameters": [
        {kind: {"rope_type": "default", "rope_theta": 50.0} for kind in KINDS},
        {kind: {"rope_type": "linear", "rope_theta": 50.0, "factor": 2.0} for kind in KINDS},
        {kind: {"rope_type": "default", "rope_theta": 50.0, "partial_rotary_factor": 0.5} for kind in KINDS},
    ],
    "rope_scaling": [{"rope_type": "linear", "factor": 2.0}, None],
    "similarity_fn_name": ["dot", "euclidean", "manhattan", "maxsim", None],
    "tokenizer_class": ["PreTrainedTokenizerFast", "BertTokenizerFast", "TokenizersBackend"],
    "truncation_side": ["left", "right", "middle"],
    "padding_side": ["left", "right"],
    "truncate_dim": [4, None],
    "type_vocab_size": [1, 2, 3],
    "vocab_size": [100],
    "torch_dtype": ["float16", "float32"],
}
"""Values of the keys for which there are better ones than GENERIC."""
GENERIC: Sequence[Any] = (True, 3)


def keys_of(folder: str, file: File) -> list[str]:
    if file is not CONFIG:
        return [key.name for key in file.keys]
    model_type = json.loads((FIXTURES / folder / "config.json").read_text())["model_type"]
    own = next(family.config_keys for family in FAMILIES if model_type in family.model_types)
    return [key.name for key in (*CONFIG_KEYS, *own)]


CASES = [
    (folder, place, name, value)
    for folder, files in FOLDERS.items()
    for place, file in files.items()
    for name in keys_of(folder, file)
    for value in VALUES.get(name, GENERIC)
]


IRRELEVANT = {
    key.name
    for files in FOLDERS.values()
    for file in files.values()
    for key in file.keys
    if key.decision == "irrelevant"
}


def judge(folder: Path, place: str, name: str, value: Any) -> str | None:
    """What is wrong with our reading of the folder with this key changed, or None. The file is put back."""
    path = folder / place
    before = path.read_text(encoding="utf-8")
    path.write_text(json.dumps(json.loads(before) | {name: value}), encoding="utf-8")
    try:
        try:
            encoder = load(folder, warn=lambda line: None)
        except ValueError as error:  # PretrainedError and DataError
            words = [name, Path(place).name, "its weights", "its tokenizer"]
            mentioned = any(word in str(error) for word in words)
            return None if mentioned else f"refused without a name: {error}"
        try:
            reference = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": torch.float32})
            # Texts with more tokens than the model has positions are cut here; sentence-transformers fails on them.
            too_long = (reference.max_seq_length or np.inf) > encoder.model.encoder.max_length
            texts = SENTENCES[:SHORT] if too_long else SENTENCES
            queries, passages = (
                np.asarray(encode(texts)) for encode in (reference.encode_query, reference.encode_document)
            )
        except Exception as error:  # noqa: BLE001 (whatever its parts raise)
            if name in IRRELEVANT:
                return None  # a value of another type, in a key that changes nothing
            return f"loads here, but sentence-transformers says {type(error).__name__}: {str(error)[:200]}"
        worst = max(
            distance(encoder.encode_queries(texts), queries), distance(encoder.encode_passages(texts), passages)
        )
        return None if worst <= 1e-6 else f"1 - cosine = {worst:.1e}"
    finally:
        path.write_text(before, encoding="utf-8")


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    norms = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    return float((1 - (ours * theirs).sum(axis=1) / norms).max())


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", FOLDERS)
def test_every_key_is_obeyed_or_refused(name: str, tmp_path: Path):
    folder = Path(shutil.copytree(FIXTURES / name, tmp_path / name))
    wrong, count = [], 0
    for place, key, value in [case[1:] for case in CASES if case[0] == name]:
        count += 1
        if problem := judge(folder, place, key, value):
            wrong.append(f"{place}: {key} = {value!r}: {problem}")
    print(f"{name}: {count} changed keys")
    assert wrong == [], "\n" + "\n".join(wrong)


JSON_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 600),
    st.floats(0, 1),
    st.sampled_from(["", "left", "mean", "cls", "max", "query", "float32", "gelu", "relu", "dot", "[UNK]", "</s>"]),
    st.lists(st.integers(0, 3), max_size=3),
    st.dictionaries(st.sampled_from(["text", "a", "0"]), st.integers(0, 3), max_size=2),
)


@pytest.mark.timeout(1200)
@settings(max_examples=120, suppress_health_check=list(HealthCheck))
@given(case=st.sampled_from(CASES), value=JSON_VALUES)
def test_a_random_value_of_a_random_key_is_obeyed_or_refused(case: tuple[str, str, str, Any], value: Any):
    """120 random folders."""
    name, place, key, _ = case
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(shutil.copytree(FIXTURES / name, Path(temporary) / name))
        assert judge(folder, place, key, value) is None
