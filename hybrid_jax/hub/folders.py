"""What a Hugging Face or sentence-transformers folder says of its model, and where to find the folder.

Knows: the configuration files of both formats. Does not know: tensors (`tensor_files.py`), their names (`names.py`),
tokenizers (`data/tokenizer.py`). Nothing from a folder is executed: a folder that needs its own code is refused.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hybrid_jax.hub.tensor_files import PretrainedError, TensorFiles, read_json
from hybrid_jax.model.activations import HUGGING_FACE, TORCH, Activation
from hybrid_jax.model.bert.encoder import BertConfig
from hybrid_jax.model.dual_encoder import ModelConfig
from hybrid_jax.model.modernbert.encoder import ModernBertConfig

FAMILIES = {
    "bert": "BERT",
    "roberta": "RoBERTa",
    "xlm-roberta": "XLM-R",
    "modernbert": "ModernBERT",
}
"""`model_type` of a config.json -> the family it belongs to."""

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_HUB_FILES = ["*.json", "*.txt", "*.model", "*.safetensors"]
_OTHER_FORMATS = ["onnx/*", "openvino/*", "coreml/*", "*/checkpoint-*"]


@dataclass(frozen=True)
class Pretrained:
    """A model folder, understood but not yet loaded."""

    folder: Path
    transformer: Path
    """Where the transformer's own files lie: the folder, or a part of it in old sentence-transformers folders."""
    model: ModelConfig
    projection: Literal["pooler"] | Path | None = None
    """What the projection comes from: BERT's pooler, or the folder of a Dense module."""
    max_length: int = 512
    """Tokens of a text, special ones included, before it is cut."""
    lower_case: bool = False
    """Texts are lower-cased before the tokenizer sees them."""
    prompts: dict[str, str] = field(default_factory=dict)
    """sentence-transformers' prompts by name."""
    sentence_transformers: bool = False

    @property
    def query_prompt(self) -> str:
        """Put before queries: as sentence-transformers' `encode_query`, the prompt named "query"."""
        return self.prompts.get("query") or ""

    @property
    def passage_prompt(self) -> str:
        """Put before passages: the first there is of "document", "passage" and "corpus"."""
        return next((p for name in ("document", "passage", "corpus") if (p := self.prompts.get(name))), "")


def find(path_or_id: str | Path) -> Path:
    """The folder of a local path, or of a model of the Hugging Face hub, downloaded or from the hub's cache.

    Raises PretrainedError when there is neither.
    """
    path = Path(path_or_id).expanduser()
    if path.is_dir():
        return path
    name = str(path_or_id)
    if path.exists() or not _HUB_ID.fullmatch(name):
        raise PretrainedError(
            f"no folder {name}: give a model's folder, or a hub id such as intfloat/multilingual-e5-base"
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, allow_patterns=_HUB_FILES, ignore_patterns=_OTHER_FORMATS))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError, OSError) as error:
        offline = " (HF_HUB_OFFLINE is set)" if os.environ.get("HF_HUB_OFFLINE") else ""
        reason = str(error).strip().split("\n")[0][:200]
        raise PretrainedError(
            f"{name} is no folder here and cannot be had from the Hugging Face hub{offline}: {type(error).__name__}: "
            f"{reason}: check the name and the network, or download it elsewhere and give its folder"
        ) from None


def is_sentence_transformers(path_or_id: str | Path) -> bool:
    """Whether this folder says how texts become vectors (it has modules.json), or only what the transformer is."""
    return (find(path_or_id) / "modules.json").is_file()


def open_pretrained(path_or_id: str | Path, pooling: Literal["mean", "cls", "pooler"] | None = None) -> Pretrained:
    """Reads a folder's configuration files; loads no weights.

    A sentence-transformers folder (it has modules.json) says how it pools. A plain one does not: `pooling` does, and by
    default BERT's pooler where the file has one (LaBSE), else the mean over tokens. Raises PretrainedError.
    """
    folder = find(path_or_id)
    if not is_sentence_transformers(folder):
        return _plain(folder, pooling)
    if pooling is not None:
        raise PretrainedError(
            f"{folder} is a sentence-transformers folder and says itself how it pools: leave pooling out"
        )
    return _sentence_transformers(folder)


def _plain(folder: Path, pooling: Literal["mean", "cls", "pooler"] | None) -> Pretrained:
    encoder = _encoder(folder)
    if pooling is None:
        pooled = isinstance(encoder, BertConfig) and encoder.position_offset == 0 and _has_pooler(folder)
        pooling = "pooler" if pooled else "mean"
    limit = encoder.max_length
    if pooling != "pooler":
        return Pretrained(folder, folder, ModelConfig(encoder=encoder, pooling=pooling), max_length=limit)
    if not _has_pooler(folder):
        raise PretrainedError(f"{folder}: its weights have no pooler: choose pooling mean or cls")
    model = ModelConfig(
        encoder=encoder, pooling="cls", projection_dim=encoder.hidden_size, projection_activation="tanh"
    )
    return Pretrained(folder, folder, model, "pooler", limit)


def _has_pooler(folder: Path) -> bool:
    return any(name.endswith("pooler.dense.weight") for name in TensorFiles(folder).names)


def _sentence_transformers(folder: Path) -> Pretrained:
    modules = _modules(folder)
    kinds = [kind for kind, _ in modules]
    if kinds not in (
        ["Transformer", "Pooling", *dense, *norm] for dense in ([], ["Dense"]) for norm in ([], ["Normalize"])
    ):
        raise PretrainedError(
            f"{folder / 'modules.json'}: modules {', '.join(kinds)}: hybrid_jax reads Transformer, Pooling, then "
            f"at most one Dense and one Normalize"
        )
    paths = dict(modules)
    settings = _optional(folder / "config_sentence_transformers.json")
    similarity = settings.get("similarity_fn_name") or "cosine"
    if similarity != "cosine" and not (similarity == "dot" and "Normalize" in paths):
        raise PretrainedError(
            f"{folder}: compares vectors by {similarity}, and hybrid_jax compares unit vectors only (cosine)"
        )
    transformer = paths["Transformer"]
    encoder = _encoder(transformer)
    pooling = _pooling(paths["Pooling"] / "config.json")
    dense = _dense(paths["Dense"] / "config.json", encoder.hidden_size) if "Dense" in paths else {}
    text = _optional(transformer / "sentence_bert_config.json")
    return Pretrained(
        folder,
        transformer,
        ModelConfig(encoder=encoder, pooling=pooling, **dense),
        paths.get("Dense"),
        min(_tokenizer_limit(transformer) if (n := text.get("max_seq_length")) is None else int(n), encoder.max_length),
        bool(text.get("do_lower_case")),
        {name: prompt for name, prompt in (settings.get("prompts") or {}).items() if isinstance(prompt, str)},
        True,
    )


def _modules(folder: Path) -> list[tuple[str, Path]]:
    path = folder / "modules.json"
    content = read_json(path)
    found: list[tuple[str, Path]] = []
    for module in content if isinstance(content, list) else [{}]:
        kind, where = (str(module.get(key)) for key in ("type", "path")) if isinstance(module, dict) else ("", "")
        if not kind.startswith("sentence_transformers."):
            raise PretrainedError(f"{path}: a module of type {kind!r} needs code of its own, which is never run")
        if where and not re.fullmatch(r"[\w-][\w.-]*", where):
            raise PretrainedError(f"{path}: {where!r} is not the plain name of a folder: do not use this folder")
        found.append((kind.rsplit(".", 1)[1], folder / where))
    return found


def _optional(path: Path) -> dict[str, Any]:
    content = read_json(path) if path.is_file() else {}
    if not isinstance(content, dict):
        raise PretrainedError(f"{path}: expected an object, found {type(content).__name__}: get the folder again")
    return content


_LEGACY_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


def _pooling(path: Path) -> Literal["mean", "cls"]:
    content = _optional(path)
    modes = content.get("pooling_mode") or [name for key, name in _LEGACY_POOLING.items() if content.get(key)] or "mean"
    modes = [modes] if isinstance(modes, str) else modes
    if not content.get("include_prompt", True):
        raise PretrainedError(f"{path}: include_prompt is false: pooling without the prompt's tokens is not supported")
    if modes == ["mean"]:
        return "mean"
    if modes == ["cls"]:
        return "cls"
    raise PretrainedError(f"{path}: pooling {' + '.join(modes)} is not supported: only mean or cls are")


class _Dense(BaseModel):
    model_config = ConfigDict(extra="ignore")

    in_features: int
    out_features: int = Field(ge=1, le=2**16)
    bias: bool = True
    activation_function: str = "torch.nn.modules.activation.Tanh"
    use_residual: Literal[False] = False


def _dense(path: Path, hidden_size: int) -> dict[str, Any]:
    dense = _validated(_Dense, _optional(path), path)
    name = dense.activation_function.rsplit(".", 1)[-1]
    if not dense.activation_function.startswith("torch.nn.") or name not in TORCH:
        raise PretrainedError(f"{path}: activation {dense.activation_function!r}: known are {', '.join(TORCH)}")
    if dense.in_features != hidden_size:
        raise PretrainedError(f"{path}: in_features {dense.in_features}, but the transformer gives {hidden_size}")
    return {
        "projection_dim": dense.out_features,
        "projection_activation": TORCH[name],
        "projection_bias": dense.bias,
    }


Size = Annotated[int, Field(ge=1, le=2**20)]


class _Transformer(BaseModel):
    """The fields of a transformers config that all families share; bounds that any real model is far below."""

    model_config = ConfigDict(extra="ignore")

    vocab_size: Annotated[int, Field(ge=1, le=2**24)]
    hidden_size: Annotated[int, Field(ge=1, le=2**15)]
    num_hidden_layers: Annotated[int, Field(ge=1, le=512)]
    num_attention_heads: Annotated[int, Field(ge=1, le=2**10)]
    intermediate_size: Annotated[int, Field(ge=1, le=2**17)]
    max_position_embeddings: Size
    is_decoder: Literal[False] = False
    add_cross_attention: Literal[False] = False


class _Bert(_Transformer):
    type_vocab_size: Size
    layer_norm_eps: float
    hidden_act: str
    hidden_dropout_prob: float
    attention_probs_dropout_prob: float
    position_embedding_type: Literal["absolute"] = "absolute"
    pad_token_id: Annotated[int, Field(ge=0, le=2**24)] | None = 0


def _encoder(folder: Path) -> BertConfig | ModernBertConfig:
    """The encoder that a config.json describes; absent fields have the defaults of transformers."""
    path = folder / "config.json"
    kind = _optional(path).get("model_type") if path.is_file() else None
    if kind not in FAMILIES:
        found = f"has model_type {kind!r}" if path.is_file() else "is not there"
        raise PretrainedError(f"{path} {found}: hybrid_jax reads {', '.join(FAMILIES)}")
    from transformers import AutoConfig

    try:
        content = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False).to_dict()
    except Exception as error:  # noqa: BLE001 (transformers raises whatever its parts raise)
        raise PretrainedError(f"{path}: transformers refuses it: {' '.join(str(error).split())[:300]}") from None
    try:
        return _modernbert(content, path) if kind == "modernbert" else _bert(kind, content, path)
    except ValidationError as error:  # of our own config: sizes that do not go together
        raise PretrainedError(f"{path}: {_first(error)}") from None


def _bert(kind: str, content: dict[str, Any], path: Path) -> BertConfig:
    found = _validated(_Bert, content, path)
    # RoBERTa numbers positions from its padding id + 1, BERT from 0.
    offset = 0 if kind == "bert" else (found.pad_token_id or 0) + 1
    return BertConfig(
        vocab_size=found.vocab_size,
        hidden_size=found.hidden_size,
        num_layers=found.num_hidden_layers,
        num_heads=found.num_attention_heads,
        intermediate_size=found.intermediate_size,
        activation=_activation(found.hidden_act, path),
        max_length=found.max_position_embeddings - offset,
        position_offset=offset,
        type_vocab_size=found.type_vocab_size,
        layer_norm_eps=found.layer_norm_eps,
        dropout=found.hidden_dropout_prob,
        attention_dropout=found.attention_probs_dropout_prob,
    )


class _Rope(BaseModel):
    model_config = ConfigDict(extra="ignore")

    rope_type: Literal["default"] = "default"
    rope_theta: float


class _ModernBert(_Transformer):
    norm_eps: float
    norm_bias: bool
    hidden_activation: str
    attention_bias: bool
    mlp_bias: bool
    embedding_dropout: float
    attention_dropout: float
    mlp_dropout: float
    local_attention: Annotated[int, Field(ge=1, le=2**20)]
    layer_types: list[Literal["full_attention", "sliding_attention"]]
    rope_parameters: dict[Literal["full_attention", "sliding_attention"], _Rope]


def _modernbert(content: dict[str, Any], path: Path) -> ModernBertConfig:
    found = _validated(_ModernBert, content, path)
    return ModernBertConfig(
        vocab_size=found.vocab_size,
        hidden_size=found.hidden_size,
        num_layers=found.num_hidden_layers,
        num_heads=found.num_attention_heads,
        intermediate_size=found.intermediate_size,
        max_length=found.max_position_embeddings,
        global_layers=_global_layers(found.layer_types),
        local_attention=found.local_attention,
        global_rope_theta=found.rope_parameters["full_attention"].rope_theta,
        local_rope_theta=found.rope_parameters["sliding_attention"].rope_theta,
        activation=_activation(found.hidden_activation, path),
        norm_eps=found.norm_eps,
        norm_bias=found.norm_bias,
        attention_bias=found.attention_bias,
        mlp_bias=found.mlp_bias,
        embedding_dropout=found.embedding_dropout,
        attention_dropout=found.attention_dropout,
        mlp_dropout=found.mlp_dropout,
    )


def _global_layers(kinds: list[str]) -> int | tuple[int, ...]:
    """Every n-th layer where that says it, which every published model does; else their numbers."""
    whole = tuple(n for n, kind in enumerate(kinds) if kind == "full_attention")
    every = whole[1] if len(whole) > 1 else len(kinds)
    return every if whole == tuple(range(0, len(kinds), every)) else whole


def _activation(name: str, path: Path) -> Activation:
    if name not in HUGGING_FACE:
        raise PretrainedError(f"{path}: activation {name!r}: known are {', '.join(HUGGING_FACE)}")
    return HUGGING_FACE[name]


def _validated(kind: Any, content: dict[str, Any], path: Path) -> Any:
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        raise PretrainedError(f"{path}: {_first(error)}") from None


def _first(error: ValidationError) -> str:
    problem = error.errors()[0]
    field = ".".join(str(part) for part in problem["loc"])
    return f"{field} = {problem['input']!r}: {problem['msg']}" if field else problem["msg"]


def _tokenizer_limit(folder: Path) -> int:
    limit = _optional(folder / "tokenizer_config.json").get("model_max_length")
    return int(limit) if isinstance(limit, int | float) and limit < 1e9 else 10**9
