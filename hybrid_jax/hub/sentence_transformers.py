"""The files that make a Hugging Face folder one of sentence-transformers: modules, pooling, Dense, limits, prompts.

Reads them; `export/sentence_transformers.py` writes them. `keys.py` has the decision on each key.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from hybrid_jax.hub import keys
from hybrid_jax.hub.json_files import PretrainedError, read_json, read_object
from hybrid_jax.hub.keys import MODULE_NAMES, TEXTS_NAMES, check_keys
from hybrid_jax.hub.tokenizer_limit import tokenizer_limit
from hybrid_jax.model.activations import TORCH
from hybrid_jax.model.family import Row
from hybrid_jax.model.hugging_face import HuggingFaceError, read_fields

DENSE: Sequence[Row] = (("linear.weight", "projection.kernel"), ("linear.bias", "projection.bias"))
"""The tensors of a Dense module, which lie in a file of their own, and the parameters of a tower."""

_LEGACY_POOLING = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_PASSAGE_PROMPTS = ("passage", "corpus")
"""Names that sentence-transformers looks for after "document", which all its models have, if only empty."""


@dataclass(frozen=True)
class Modules:
    """The modules of a folder and what its other files say of texts."""

    transformer: Path
    """The folder of the transformer."""
    pooling: Path
    """The folder of the Pooling module."""
    dense: Path | None
    """The folder of the Dense module."""
    max_length: int | None
    """Tokens of a text, special ones included, before it is cut. None: the folder sets no limit."""
    lower_case: bool
    """Texts are lower-cased before the tokenizer sees them."""
    prompts: dict[str, str]
    """Prompts by name."""
    notes: Sequence[str]
    """Keys and prompts that are not used, one per line."""


def read_modules(folder: Path) -> Modules:
    """Raises PretrainedError for modules or options that we do not support, and for damaged or missing files."""
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
    if "Normalize" in paths:
        path = paths["Normalize"] / "config.json"
        check_keys(path, read_object(path), keys.NORMALIZE)
    prompts, notes = _settings(folder, "Normalize" in paths)
    max_length, lower_case = _texts(paths["Transformer"])
    return Modules(
        transformer=paths["Transformer"],
        pooling=paths["Pooling"],
        dense=paths.get("Dense"),
        max_length=tokenizer_limit(paths["Transformer"]) if max_length is None else max_length,
        lower_case=lower_case,
        prompts=prompts,
        notes=notes,
    )


def read_pooling(folder: Path, hidden_size: int) -> Literal["mean", "cls"]:
    """How a Pooling module makes a text's vector from vectors of this width.

    Raises PretrainedError when its config.json is missing, and for modes and options that we do not support.
    """
    path, content = _must_read(folder)
    check_keys(path, content, keys.POOLING)
    for name in ("word_embedding_dimension", "embedding_dimension"):
        if (size := content.get(name, hidden_size)) != hidden_size:
            raise PretrainedError(f"{path}: {name} = {size!r}, but the transformer gives {hidden_size}")
    flags = {mode: content[name] for name, mode in _LEGACY_POOLING.items() if name in content}
    if wrong := [mode for mode, flag in flags.items() if not isinstance(flag, bool)]:
        raise PretrainedError(f"{path}: pooling {wrong[0]} is neither true nor false: {flags[wrong[0]]!r}")
    modes = content.get("pooling_mode", [mode for mode, flag in flags.items() if flag] or "mean")
    modes = modes if isinstance(modes, list) else [modes]
    if modes == ["mean"]:
        return "mean"
    if modes == ["cls"]:
        return "cls"
    raise PretrainedError(
        f"{path}: pooling {' + '.join(map(str, modes)) or 'nothing'} is not supported: only mean or cls are"
    )


def read_dense(folder: Path, hidden_size: int) -> dict[str, Any]:
    """The fields of `ModelConfig` that describe a Dense module after an encoder of this width.

    Raises PretrainedError when its config.json is missing, for sizes that do not fit, and for an activation that we do
    not have.
    """
    path, content = _must_read(folder)
    check_keys(path, content, keys.DENSE)
    try:
        dense = read_fields(_DenseFields, content)
    except HuggingFaceError as error:
        raise PretrainedError(f"{path}: {error}") from None
    match = re.fullmatch(r"torch\.nn\.(?:modules\.(?:activation|linear)\.)?(\w+)", dense.activation_function)
    if match is None or match[1] not in TORCH:
        raise PretrainedError(f"{path}: activation {dense.activation_function!r}: known are {', '.join(TORCH)}")
    if dense.in_features != hidden_size:
        raise PretrainedError(f"{path}: in_features {dense.in_features}, but the transformer gives {hidden_size}")
    return {
        "projection_dim": dense.out_features,
        "projection_activation": TORCH[match[1]],
        "projection_bias": dense.bias,
    }


class _DenseFields(BaseModel):
    model_config = ConfigDict(extra="ignore")

    in_features: StrictInt
    out_features: StrictInt = Field(ge=1, le=2**16)
    bias: StrictBool = True
    activation_function: str = "torch.nn.modules.activation.Tanh"


def _must_read(folder: Path) -> tuple[Path, dict[str, Any]]:
    """The path and content of a module's config.json. Raises PretrainedError when it is not there."""
    path = folder / "config.json"
    if not path.is_file():
        raise PretrainedError(f"{path} does not exist, but modules.json names its folder: get the folder again")
    return path, read_object(path)


def _listed(folder: Path) -> list[tuple[str, Path]]:
    """The modules in modules.json and their folders, in order."""
    path = folder / "modules.json"
    content = read_json(path)
    modules: list[tuple[str, Path]] = []
    names: set[str] = set()
    for module in content if isinstance(content, list) else [{}]:
        kind, subfolder = (module.get(key) for key in ("type", "path")) if isinstance(module, dict) else ("", "")
        if not isinstance(kind, str) or kind not in MODULE_NAMES:
            if isinstance(kind, str) and kind.startswith("sentence_transformers."):
                raise PretrainedError(
                    f"{path}: module {kind}: hybrid_jax reads Transformer, Pooling, then at most one Dense and one "
                    f"Normalize"
                )
            raise PretrainedError(f"{path}: a module of type {kind!r} needs code of its own, which is never run")
        if not isinstance(subfolder, str) or (subfolder and not re.fullmatch(r"[\w-][\w.-]*", subfolder)):
            raise PretrainedError(f"{path}: {subfolder!r} is not the plain name of a folder: do not use this folder")
        check_keys(path, module, keys.MODULES)
        name = str(module.get("name", len(modules)))
        if name in names:
            raise PretrainedError(f"{path}: two modules have the name {name!r}: give each its own")
        names.add(name)
        modules.append((MODULE_NAMES[kind], folder / subfolder))
    return modules


def _settings(folder: Path, normalized: bool) -> tuple[dict[str, str], list[str]]:
    """The prompts by name in config_sentence_transformers.json, and notes on what is not used."""
    path = folder / "config_sentence_transformers.json"
    content = read_object(path)
    notes = check_keys(path, content, keys.SENTENCE_TRANSFORMERS)
    similarity = content.get("similarity_fn_name") or "cosine"
    if similarity != "cosine" and not (similarity == "dot" and normalized):
        raise PretrainedError(
            f"{path}: similarity_fn_name: compares vectors by {similarity}, and hybrid_jax compares unit vectors only "
            f"(cosine)"
        )
    stated = content.get("prompts", {})
    if not isinstance(stated, dict) or not all(text is None or isinstance(text, str) for text in stated.values()):
        raise PretrainedError(f"{path}: prompts must be texts by name, found {str(stated)[:60]}")
    # Every model of sentence-transformers has the prompts "query" and "document", empty unless the folder says more.
    prompts = {"query": "", "document": "", **{name: text or "" for name, text in stated.items()}}
    default = content.get("default_prompt_name")
    if default is not None and default not in list(prompts):  # a list compares what cannot be hashed, too
        raise PretrainedError(
            f"{path}: default_prompt_name = {default!r} names no prompt: there are {', '.join(prompts)}"
        )
    for name in _PASSAGE_PROMPTS:
        if prompts.get(name) and prompts[name] != prompts["document"]:
            notes.append(
                f"{path}: passages get the prompt named document, {prompts['document']!r}, as in "
                f"sentence-transformers, not that named {name}, {prompts[name]!r}: choose another with passage_prompt"
            )
    return prompts, notes


def _texts(transformer: Path) -> tuple[int | None, bool]:
    """`max_seq_length` and `do_lower_case` in the first of the files of TEXTS_NAMES that is there and not empty."""
    contents = ((transformer / name, read_object(transformer / name)) for name in TEXTS_NAMES)
    path, content = next(((path, content) for path, content in contents if content), (transformer, {}))
    check_keys(path, content, keys.TEXTS)
    for name in ("model_args", "model_kwargs"):
        arguments = content.get(name, {})
        if not isinstance(arguments, dict):
            raise PretrainedError(f"{path}: {name} = {arguments!r}: expected an object")
        check_keys(path, arguments, keys.TEXTS, keys.MODEL_ARGUMENTS)
    limit, lower_case = content.get("max_seq_length"), content.get("do_lower_case", False)
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 3):
        raise PretrainedError(f"{path}: max_seq_length = {limit!r}: expected a whole number from 3, or null")
    if not isinstance(lower_case, bool | None):
        raise PretrainedError(f"{path}: do_lower_case = {lower_case!r}: expected true or false")
    return limit, bool(lower_case)
