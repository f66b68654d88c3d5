"""The files that make a Hugging Face folder one of sentence-transformers: modules, pooling, Dense, limits, prompts.

Reads them; `export/sentence_transformers.py` writes them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from hybrid_jax.hub.json_files import PretrainedError, read_json, read_object
from hybrid_jax.model.activations import TORCH
from hybrid_jax.model.family import Row
from hybrid_jax.model.hugging_face import HuggingFaceError, read_fields

DENSE: Sequence[Row] = (("linear.weight", "projection.kernel"), ("linear.bias", "projection.bias"))
"""The tensors of a Dense module, which lie in a file of their own, and the parameters of a tower."""

_LEGACY_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}


@dataclass(frozen=True)
class Modules:
    """The modules of a folder and what its other files say of texts."""

    transformer: Path
    """The folder of the transformer."""
    pooling: Literal["mean", "cls"]
    dense: Path | None
    """The folder of the Dense module."""
    max_length: int | None
    """Tokens of a text, special ones included, before it is cut. None: the folder sets no limit."""
    lower_case: bool
    """Texts are lower-cased before the tokenizer sees them."""
    prompts: dict[str, str]
    """Prompts by name."""


def read_modules(folder: Path) -> Modules:
    """Raises PretrainedError for modules, pooling or similarity that we do not support, and for damaged files."""
    modules = _listed(folder)
    kinds = [kind for kind, _ in modules]
    if kinds not in (
        ["Transformer", "Pooling", *dense, *norm] for dense in ([], ["Dense"]) for norm in ([], ["Normalize"])
    ):
        raise PretrainedError(
            f"{folder / 'modules.json'}: modules {', '.join(kinds)}: hybrid_jax reads Transformer, Pooling, then "
            f"at most one Dense and one Normalize"
        )
    paths = dict(modules)
    settings = read_object(folder / "config_sentence_transformers.json")
    similarity = settings.get("similarity_fn_name") or "cosine"
    if similarity != "cosine" and not (similarity == "dot" and "Normalize" in paths):
        raise PretrainedError(
            f"{folder}: compares vectors by {similarity}, and hybrid_jax compares unit vectors only (cosine)"
        )
    texts = read_object(paths["Transformer"] / "sentence_bert_config.json")
    limit = texts.get("max_seq_length")
    return Modules(
        transformer=paths["Transformer"],
        pooling=_pooling(paths["Pooling"] / "config.json"),
        dense=paths.get("Dense"),
        max_length=_tokenizer_limit(paths["Transformer"]) if limit is None else int(limit),
        lower_case=bool(texts.get("do_lower_case")),
        prompts={name: text for name, text in (settings.get("prompts") or {}).items() if isinstance(text, str)},
    )


def read_dense(folder: Path, hidden_size: int) -> dict[str, Any]:
    """The fields of `ModelConfig` that describe a Dense module after an encoder of this width.

    Raises PretrainedError for sizes that do not fit, and for an activation that we do not have.
    """
    path = folder / "config.json"
    try:
        dense = read_fields(_DenseFields, read_object(path))
    except HuggingFaceError as error:
        raise PretrainedError(f"{path}: {error}") from None
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


class _DenseFields(BaseModel):
    model_config = ConfigDict(extra="ignore")

    in_features: int
    out_features: int = Field(ge=1, le=2**16)
    bias: bool = True
    activation_function: str = "torch.nn.modules.activation.Tanh"
    use_residual: Literal[False] = False


def _listed(folder: Path) -> list[tuple[str, Path]]:
    """The class names and folders in modules.json, in order."""
    path = folder / "modules.json"
    content = read_json(path)
    modules: list[tuple[str, Path]] = []
    for module in content if isinstance(content, list) else [{}]:
        kind, subfolder = (str(module.get(key)) for key in ("type", "path")) if isinstance(module, dict) else ("", "")
        if not kind.startswith("sentence_transformers."):
            raise PretrainedError(f"{path}: a module of type {kind!r} needs code of its own, which is never run")
        if subfolder and not re.fullmatch(r"[\w-][\w.-]*", subfolder):
            raise PretrainedError(f"{path}: {subfolder!r} is not the plain name of a folder: do not use this folder")
        modules.append((kind.rsplit(".", 1)[1], folder / subfolder))
    return modules


def _pooling(path: Path) -> Literal["mean", "cls"]:
    content = read_object(path)
    modes = content.get("pooling_mode") or [name for key, name in _LEGACY_POOLING.items() if content.get(key)] or "mean"
    modes = [modes] if isinstance(modes, str) else modes
    if not content.get("include_prompt", True):
        raise PretrainedError(f"{path}: include_prompt is false: pooling without the prompt's tokens is not supported")
    if modes == ["mean"]:
        return "mean"
    if modes == ["cls"]:
        return "cls"
    raise PretrainedError(f"{path}: pooling {' + '.join(modes)} is not supported: only mean or cls are")


def _tokenizer_limit(transformer: Path) -> int | None:
    limit = read_object(transformer / "tokenizer_config.json").get("model_max_length")
    return int(limit) if isinstance(limit, int | float) and limit < 1e9 else None
