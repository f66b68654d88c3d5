"""The table of decisions: every file of a model folder and every key of its configuration files.

A key is obeyed, irrelevant, or refused unless it has its default. `check_keys` applies the table to a file's content;
`docs/models.md` shows it, written by `python -m hybrid_jax.hub docs/models.md`. To support a key, obey it in the file's
reader and change its row here.

The reference for each decision is what sentence-transformers 6 and transformers 5 read; `tests/parity` compares with
them, key by key.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hybrid_jax.hub.json_files import PretrainedError
from hybrid_jax.model.families import FAMILIES
from hybrid_jax.model.hugging_face import CONFIG_KEYS
from hybrid_jax.model.keys import Decision, Key, irrelevant, obeyed, refused


@dataclass(frozen=True)
class File:
    """A file of a model folder and its decision."""

    name: str
    decision: Decision
    why: str
    keys: tuple[Key, ...] = ()
    unknown: Literal["refused", "noted"] = "refused"
    """What happens to a key that has no row. "noted": the library that reads the file ignores it as well."""


MODULE_NAMES = {
    f"sentence_transformers.{package}.{name}": name
    for name, packages in {
        "Transformer": ("models", "models.Transformer", "base.modules", "base.modules.transformer"),
        "Pooling": (
            "models",
            "models.Pooling",
            "sentence_transformer.modules",
            "sentence_transformer.modules.pooling",
        ),
        "Dense": ("models", "models.Dense", "base.modules", "base.modules.dense"),
        "Normalize": ("models", "models.Normalize", "base.modules", "base.modules.normalize"),
    }.items()
    for package in packages
}
"""The class names in modules.json that we read, as sentence-transformers 2 to 6 write them -> the module."""

MODULES = File(
    "modules.json",
    "obeyed",
    "the manifest of a sentence-transformers folder. Every folder it names must be there",
    (
        *obeyed("the module's class: Transformer, Pooling, at most one Dense, at most one Normalize, in order", "type"),
        *obeyed("the module's folder, a plain name", "path"),
        *obeyed("must differ between modules: one of two equal names would replace the other", "name"),
        *irrelevant("the order of the list decides", "idx"),
        *refused("options of `encode` that reach the module", "kwargs", allowed=([], None)),
    ),
)
SENTENCE_TRANSFORMERS = File(
    "config_sentence_transformers.json",
    "obeyed",
    "prompts and the comparison of vectors",
    (
        *refused("another kind of model", "model_type", allowed=("SentenceTransformer",)),
        *obeyed(
            '"query" precedes queries and "document" passages, also when empty; "passage" and "corpus" are noted',
            "prompts",
        ),
        *obeyed(
            "must name a prompt, and then changes nothing: queries and documents have their own", "default_prompt_name"
        ),
        *obeyed("cosine, or dot after Normalize, which is the same", "similarity_fn_name"),
        *refused("shorter vectors", "truncate_dim"),
        *refused("versions of Python packages", "requirements", allowed=(None, [], {})),
        *irrelevant("versions that wrote the folder", "__version__"),
    ),
    unknown="noted",
)
TEXTS_NAMES = (
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
)
"""The names of the file that says how texts are read. The first that is there and not empty is used."""

_TEXT_MODALITY = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
_MODEL_ARGUMENTS = "arguments of transformers' `from_pretrained`: only those that change no vector"
TEXTS = File(
    TEXTS_NAMES[0],
    "obeyed",
    f"how texts are read. Older names, in order: {', '.join(name.split('_')[1] for name in TEXTS_NAMES[1:])}",
    (
        *obeyed("tokens before a text is cut; null: the tokenizer's limit. At most the encoder's", "max_seq_length"),
        *obeyed("lower-cases texts before the tokenizer's own normalisation", "do_lower_case"),
        *obeyed(f"{_MODEL_ARGUMENTS} (add_pooling_layer, attn_implementation, dtype, …)", "model_args", "model_kwargs"),
        *refused(
            "other options of the tokenizer or the config",
            *("tokenizer_args", "processor_kwargs", "config_args", "config_kwargs", "processing_kwargs"),
            allowed=({},),
        ),
        *refused("another task of the transformer", "transformer_task", allowed=("feature-extraction",)),
        *refused("other inputs or outputs of the transformer", "modality_config", allowed=(_TEXT_MODALITY,)),
        *refused("another input of the next module", "module_output_name", allowed=("token_embeddings",)),
        *refused("limits of their own for queries and documents", "query_length", "document_length"),
        *refused("queries lengthened by mask tokens", "query_expansion"),
        *refused("another folder's tokenizer", "tokenizer_name_or_path"),
        *refused("a cache", "cache_dir"),
        *irrelevant("how padding is avoided; the same vectors", "unpad_inputs"),
    ),
)
MODEL_ARGUMENTS = irrelevant(
    "an unused layer, how attention is computed, how weights are read, or precision (see `dtype` of config.json)",
    *("add_pooling_layer", "attn_implementation", "low_cpu_mem_usage", "use_safetensors", "dtype", "torch_dtype"),
    *("device_map", "trust_remote_code"),  # sentence-transformers takes the last one out
)
POOLING = File(
    "1_Pooling/config.json",
    "obeyed",
    "how tokens become one vector; must be there",
    (
        *obeyed('"mean" or "cls"; other modes and several at once are refused', "pooling_mode"),
        *obeyed(
            "older flags, read without `pooling_mode`; all false or absent: mean",
            *("pooling_mode_cls_token", "pooling_mode_mean_tokens", "pooling_mode_max_tokens"),
            *("pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens", "pooling_mode_lasttoken"),
        ),
        *obeyed("must be the encoder's hidden size", "word_embedding_dimension", "embedding_dimension"),
        *refused("pooling without the prompt's tokens", "include_prompt", allowed=(True,)),
    ),
)
DENSE = File(
    "2_Dense/config.json",
    "obeyed",
    "the layer after pooling; must be there",
    (
        *obeyed("must be the encoder's hidden size", "in_features"),
        *obeyed("the size of the vectors", "out_features"),
        *obeyed("whether the layer adds a bias; default true", "bias"),
        *obeyed("one of PyTorch's that we have; default Tanh", "activation_function"),
        *refused("the layer's input is added", "use_residual", allowed=(False,)),
        *refused("another input than the text's vector", "module_input_name", allowed=("sentence_embedding",)),
        *refused("the result stored elsewhere", "module_output_name", allowed=("sentence_embedding", None)),
    ),
)
NORMALIZE = File(
    "3_Normalize/config.json",
    "obeyed",
    "vectors of length 1; may be absent, as older versions wrote none",
    (
        *refused("another input than the text's vector", "module_input_name", allowed=("sentence_embedding",)),
        *refused("the result stored elsewhere", "module_output_name", allowed=("sentence_embedding", None)),
    ),
)
_IN_THE_TOKENIZER = "the ids are AutoTokenizer's, which is built from it"
TOKENIZER = File(
    "tokenizer_config.json",
    "obeyed",
    "which tokenizer it is, and its options",
    (
        *obeyed("tokens before a text is cut, where max_seq_length says nothing", "model_max_length", "max_len"),
        *obeyed("which end of a long text is cut", "truncation_side"),
        *obeyed("the token of the padding id", "pad_token"),
        *obeyed("must contain input_ids and attention_mask; token types other than 0 are refused", "model_input_names"),
        *obeyed(
            _IN_THE_TOKENIZER,
            *("tokenizer_class", "do_lower_case", "strip_accents", "tokenize_chinese_chars", "add_prefix_space"),
            *("trim_offsets", "add_bos_token", "add_eos_token", "bos_token", "eos_token", "cls_token", "sep_token"),
            *("unk_token", "mask_token", "added_tokens_decoder", "additional_special_tokens", "extra_special_tokens"),
            *("do_basic_tokenize", "never_split", "sp_model_kwargs", "vocab_file", "legacy", "fast_tokenizer_files"),
            *("wordpieces_prefix", "from_slow", "backend", "model_specific_special_tokens"),
        ),
        *refused("padding on the left: vectors would depend on the batch", "padding_side", allowed=("right",)),
        *refused("special tokens in a text read as text", "split_special_tokens", allowed=(False, None)),
        *refused("code, which is never run", "auto_map", allowed=({},)),
        *refused("another processor of the inputs", "processor_class"),
        *irrelevant("used for decoding only", "clean_up_tokenization_spaces", "errors"),
        *irrelevant("no chat is encoded", "chat_template"),
        *irrelevant(
            "options of a call, which sentence-transformers gives itself",
            *("max_length", "stride", "truncation_strategy", "pad_to_multiple_of", "pad_token_type_id"),
        ),
        *irrelevant(
            "where the tokenizer came from",
            *("name_or_path", "_name_or_path", "special_tokens_map_file", "tokenizer_file", "is_local"),
            *("local_files_only", "_commit_hash", "transformers_version", "use_fast"),
        ),
    ),
    unknown="noted",
)
FAMILY_KEYS: tuple[Key, ...] = tuple(dict.fromkeys(key for family in FAMILIES for key in family.config_keys))
CONFIG = File(
    "config.json",
    "obeyed",
    "the transformer. Its keys depend on `model_type`; a key of another family is noted",
    (*CONFIG_KEYS, *FAMILY_KEYS),
    unknown="noted",
)
OTHER_FILES = (
    File("model.safetensors", "obeyed", "the weights, also where shards lie beside them, as transformers takes them"),
    File("model.safetensors.index.json", "obeyed", "without model.safetensors: the shards that it lists, all of them"),
    File(
        "tokenizer.json", "obeyed", "through AutoTokenizer, its own truncation side included; its padding must be right"
    ),
    File("vocab.txt, vocab.json, merges.txt, *.model", "obeyed", "through AutoTokenizer"),
    File("special_tokens_map.json, added_tokens.json", "obeyed", "through AutoTokenizer"),
    File("adapter_config.json", "refused", "an adapter, which transformers would add to the weights: merge it first"),
    File(
        "processor_config.json, preprocessor_config.json, video_preprocessor_config.json",
        "refused",
        "another processor of the inputs",
    ),
    File(
        "pytorch_model.bin",
        "refused",
        "a pickle; ignored where safetensors lie beside it, as transformers does, else refused with how to convert it",
    ),
    File("generation_config.json", "irrelevant", "nothing is generated"),
    File("chat_template.jinja", "irrelevant", "no chat is encoded"),
    File("*.py", "irrelevant", "never run: a config that needs it (auto_map, an unknown module) is refused"),
    File("onnx/, openvino/, tf_model.h5, flax_model.msgpack", "irrelevant", "the same model in other formats"),
    File(
        "training_args.bin, optimizer.pt, README.md and all others", "irrelevant", "no library reads them for vectors"
    ),
)
FILES = (MODULES, SENTENCE_TRANSFORMERS, TEXTS, POOLING, DENSE, NORMALIZE, CONFIG, TOKENIZER, *OTHER_FILES)


def check_keys(path: Path, content: Mapping[str, Any], file: File, keys: Sequence[Key] | None = None) -> list[str]:
    """Applies the table to the content of the file at `path` and returns its unknown keys as notes, one per line.

    `keys` replaces those of `file`. Raises PretrainedError, naming the key, for a refused value, and for an unknown key
    of a file whose unknown keys are refused.
    """
    rows = {key.name: key for key in (file.keys if keys is None else keys)}
    notes: list[str] = []
    for name, value in content.items():
        row = rows.get(name)
        if row is None and file.unknown == "noted":
            notes.append(f"{path}: {name} = {_shown(value)} is not read here, nor by transformers")
        elif row is None:
            raise PretrainedError(
                f"{path}: {name} = {_shown(value)}: unknown, so it may change vectors: known are {', '.join(rows)}"
            )
        elif row.decision == "refused" and not any(_equal(value, allowed) for allowed in row.allowed):
            supported = " or ".join(json.dumps(allowed) for allowed in row.allowed)
            raise PretrainedError(f"{path}: {name} = {_shown(value)}: {row.why}: only {supported} is supported")
    return notes


def _equal(left: Any, right: Any) -> bool:
    """Equality that tells true from 1."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
