"""Writes a model as a folder that transformers and sentence-transformers load.

The folder is read back and its vectors are compared (`verify.py`) before it gets its name; a failed export leaves
nothing behind. `settings.py` and `sentence_transformers.py` have the content of the configuration files.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import ml_dtypes
import numpy as np
import tokenizers
from safetensors import SafetensorError
from safetensors.numpy import save_file

from hybrid_jax.data.tokenizer import Tokenizer
from hybrid_jax.debias.methods import Debiaser
from hybrid_jax.disk.files import atomic_folder
from hybrid_jax.embed.encoder import TextEncoder, TextRules
from hybrid_jax.embed.load import load
from hybrid_jax.export import settings
from hybrid_jax.export.debiased import check_fitted_on, debiased
from hybrid_jax.export.sentence_transformers import DENSE_FOLDER, sentence_transformers_files
from hybrid_jax.export.settings import ExportError, Format, Precision, Side
from hybrid_jax.export.verify import check_same
from hybrid_jax.hub.json_files import PretrainedError
from hybrid_jax.hub.names import tensor_name
from hybrid_jax.hub.sentence_transformers import DENSE
from hybrid_jax.model.dual_encoder import ModelConfig, Parameters
from hybrid_jax.model.families import family_of
from hybrid_jax.model.family import Row

_DTYPES = {"float32": np.dtype(np.float32), "float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


@dataclass(frozen=True)
class Plan:
    """What is exported, with one tower chosen."""

    encoder: TextEncoder
    """What is written. It has one tower, and the same limit in tokens for queries and passages."""
    original: TextEncoder
    """The same without `debias`."""
    rules: TextRules
    """The rules of the model that is exported, with a limit for each side."""
    sides: tuple[Side, ...]
    """The sides whose texts the folder encodes: both, or that of the chosen tower."""
    format: Format
    dtype: Precision
    debias: Debiaser | None = None
    """A linear map of the vectors, which is written into the projection."""

    @property
    def prompts(self) -> dict[str, str]:
        """Prompts by the names that sentence-transformers uses."""
        return settings.prompts(self.encoder.rules, self.sides)

    @property
    def max_length(self) -> int:
        """Tokens of a text before it is cut."""
        return self.encoder.rules.max_query_length


def plan(
    encoder: TextEncoder,
    *,
    format: Format,
    dtype: Precision,
    tower: Side | None = None,
    debias: Debiaser | None = None,
) -> Plan:
    """What to write for this encoder.

    Raises ExportError for what the format cannot express, for a model with two towers when `tower` chooses none, and
    for a debiasing that was fitted on another model or is not one matrix.
    """
    model, rules, parameters = encoder.model, encoder.rules, encoder.parameters
    if model.tied and tower is not None:
        raise ExportError(f"--tower {tower}: queries and passages share one tower here: leave --tower out")
    if not model.tied and tower is None:
        raise ExportError(
            "queries and passages have a tower each, and a folder holds one: add --tower query or passage"
        )
    sides: tuple[Side, ...] = ("query", "passage") if tower is None else (tower,)
    tree = parameters["tower" if tower is None else f"{tower}_tower"]
    limit = settings.longest(rules, sides)
    single = replace(
        encoder,
        model=model.model_copy(update={"tied": True, "learn_temperature": False}),
        parameters={"tower": tree},
        rules=TextRules(
            rules.query_prompt if "query" in sides else "",
            rules.passage_prompt if "passage" in sides else "",
            limit,
            limit,
        ),
    )
    written = single
    if debias is not None:
        if format == "hf":
            raise ExportError(
                "--debias has no place in a plain transformers folder: use --format sentence-transformers"
            )
        check_fitted_on(debias, encoder.origin)
        written = debiased(single, debias)
    if format == "hf":
        settings.plain_pooling(written.model)
    else:
        sentence_transformers_files(written.model, {}, limit)
    return Plan(written, single, rules, sides, format, dtype, debias)


def check_free(out: Path) -> None:
    """Raises ExportError when `out` exists and is not an empty folder, and ValueError for an address."""
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise ExportError(f"{out} exists and is not an empty folder: choose another --out, or remove it")


def write_folder(what: Plan, out: Path, *, card: str) -> float:
    """Writes `out`, with `card` as its README.md, and loads it again.

    Returns the largest cosine distance between the vectors of the loaded folder and those of the encoder. Everything is
    written under a temporary name beside `out`, which is removed after any error. Raises ExportError, or OSError when
    the files cannot be written.
    """
    check_free(out)
    try:
        with atomic_folder(out) as part:
            _write(what, part)
            (part / "README.md").write_text(card, encoding="utf-8")
            distance = check_same(what.original, _read_back(what, part), what.dtype, what.debias)
            check_free(out)  # again: somebody else may have put files there meanwhile
    except (OSError, SafetensorError) as error:
        number = getattr(error, "errno", None)
        reason = str(error) if number is None else os.strerror(number)
        raise OSError(f"cannot write {out}: {reason}: make room, or name another folder with --out") from None
    return distance


def _write(what: Plan, folder: Path) -> None:
    model, tower = what.encoder.model, what.encoder.parameters["tower"]
    family = family_of(model.encoder)
    special_ids = _write_tokenizer(what.encoder.tokenizer, folder, model, what.max_length)
    files: dict[str, Any] = {"config.json": settings.transformer_config(model.encoder, special_ids, what.dtype)}
    if what.format == "sentence-transformers":
        files |= sentence_transformers_files(model, what.prompts, what.max_length)
    for name, content in files.items():
        _write_json(folder / name, content)

    tensors = _tensors(tower["encoder"], "", family.tensor_names, what.dtype)
    if model.projection_dim is not None:
        pooler = what.format == "hf"
        projection = _tensors(tower["projection"], "projection.", family.pooler if pooler else DENSE, what.dtype)
        if pooler:
            tensors |= projection
        else:
            _save(projection, folder / DENSE_FOLDER / "model.safetensors")
    _save(tensors, folder / "model.safetensors")


def _write_tokenizer(tokenizer: Tokenizer, folder: Path, model: ModelConfig, max_length: int) -> dict[str, int | None]:
    """Writes the tokenizer's files and returns the ids of its special tokens, by their fields in config.json."""
    tokenizer.save(folder, max_length)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    family = family_of(model.encoder)
    _write_json(path, {**config, "model_input_names": list(family.tokenizer_inputs(model.encoder))})
    ids = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    names = {f"{kind}_token_id": config.get(f"{kind}_token") for kind in family.special_tokens}
    special_ids = {name: ids.token_to_id(token) if token else None for name, token in names.items()}
    if special_ids["pad_token_id"] != tokenizer.pad_id:
        raise ExportError(
            f"{tokenizer.folder / 'tokenizer_config.json'}: pad_token is {config.get('pad_token')!r}, which is not the "
            f"token of id {tokenizer.pad_id} that the model was padded with: set it to that one"
        )
    return special_ids


def _tensors(tree: Parameters, prefix: str, rows: Sequence[Row], dtype: Precision) -> dict[str, np.ndarray]:
    """The parameters of a tree as transformers names and lays them out. `prefix` is the tree's own name in the rows."""
    tensors: dict[str, np.ndarray] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = prefix + jax.tree_util.keystr(path, simple=True, separator=".")
        values = np.asarray(leaf)
        values = values.T if name.endswith(".kernel") else values  # PyTorch's linear layers: [outputs, inputs]
        with np.errstate(over="ignore"):
            # safetensors writes an array's memory in its present order and ignores the strides.
            stored = np.ascontiguousarray(values, _DTYPES[dtype])
        tensor = tensor_name(name, rows)
        if not np.isfinite(stored).all():
            largest = np.abs(values).max()
            fix = "use --dtype float32" if np.isfinite(largest) else "export another --step"
            raise ExportError(f"{tensor} has a number that {dtype} cannot hold ({largest:g}): {fix}")
        tensors[tensor] = stored
    return tensors


def _save(tensors: dict[str, np.ndarray], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    save_file(tensors, path, metadata={"format": "pt"})  # transformers refuses files without it
    path.chmod(0o644)  # safetensors makes files that only their owner can read


def _write_json(path: Path, content: Mapping[str, Any] | list[Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_back(what: Plan, folder: Path) -> TextEncoder:
    """Loads the folder; a plain one with the options that its model card states."""
    try:
        if what.format == "sentence-transformers":
            return load(folder)
        rules = what.encoder.rules
        return load(
            folder,
            pooling=settings.plain_pooling(what.encoder.model),
            query_prompt=rules.query_prompt,
            passage_prompt=rules.passage_prompt,
            max_length=what.max_length,
        )
    except PretrainedError as error:
        raise ExportError(f"what was written cannot be read back and was removed: {error}") from None
