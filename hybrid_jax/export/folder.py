"""Writes a model as a folder that transformers and sentence-transformers load: whole, read back and compared, or not at
all.

Knows: which files there are and what the tensors in them are called. Does not know: what the configuration files say
(`settings.py`), which texts are compared (`verify.py`), the model card's words (`card.py`).
"""

import json
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
from hybrid_jax.export.settings import DENSE_FOLDER, ExportError, Format, Precision, Side
from hybrid_jax.export.verify import check_same
from hybrid_jax.hub.names import DENSE, ENCODERS, POOLER, Row, theirs
from hybrid_jax.hub.weights import PretrainedError
from hybrid_jax.model.dual_encoder import ModelConfig, Parameters

_DTYPES = {"float32": np.dtype(np.float32), "float16": np.dtype(np.float16), "bfloat16": np.dtype(ml_dtypes.bfloat16)}


@dataclass(frozen=True)
class Plan:
    """What is exported, once the question of which tower is settled."""

    encoder: TextEncoder
    """What is written: with one tower, and one limit for texts of both sides, as a folder can state no more."""
    original: TextEncoder
    """The same before `debias`."""
    rules: TextRules
    """The original's own, with a limit for each side."""
    sides: tuple[Side, ...]
    """Whose texts it encodes as the original does."""
    format: Format
    dtype: Precision
    debias: Debiaser | None = None
    """What is done to the original's vectors, all languages alike."""

    @property
    def prompts(self) -> dict[str, str]:
        return settings.prompts(self.encoder.rules, self.sides)

    @property
    def max_length(self) -> int:
        return self.encoder.rules.max_query_length


def plan(
    encoder: TextEncoder,
    *,
    format: Format,
    dtype: Precision,
    tower: Side | None = None,
    debias: Debiaser | None = None,
) -> Plan:
    """Raises ExportError for what the format cannot hold, for two towers without a choice, and for a debiasing that is
    of another model or no matrix."""
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
        settings.sentence_transformers_files(written.model, {}, limit)
    return Plan(written, single, rules, sides, format, dtype, debias)


def check_free(out: Path) -> None:
    """Raises ExportError when `out` is something already; an empty folder is nothing."""
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise ExportError(f"{out} exists and is not an empty folder: choose another --out, or remove it")


def write_folder(what: Plan, out: Path, *, card: str) -> float:
    """Writes `out` with `card` as its README.md and returns the largest cosine distance between what it gives when it
    is loaded again and what the encoder gives.

    Everything is written beside `out`, under another name that disappears with any error. Raises ExportError, or
    OSError when the disk does not take it.
    """
    check_free(out)
    try:
        with atomic_folder(out) as part:
            part.chmod(0o755)  # it is made so that only its owner can read it
            _write(what, part)
            (part / "README.md").write_text(card, encoding="utf-8")
            distance = check_same(what.original, _read_back(what, part), what.dtype, what.debias)
            check_free(out)  # what somebody else has put there meanwhile would silently stay
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(f"cannot write {out}: {reason}: make room, or name another folder with --out") from None
    return distance


def _write(what: Plan, folder: Path) -> None:
    model, tower = what.encoder.model, what.encoder.parameters["tower"]
    special = _write_tokenizer(what.encoder.tokenizer, folder, model, what.max_length)
    files: dict[str, Any] = {"config.json": settings.transformer_config(model.encoder, special, what.dtype)}
    if what.format == "sentence-transformers":
        files |= settings.sentence_transformers_files(model, what.prompts, what.max_length)
    for name, content in files.items():
        _write_json(folder / name, content)

    tensors = _tensors(tower["encoder"], "", ENCODERS[model.encoder.architecture], what.dtype)
    if model.projection_dim is not None:
        pooler = what.format == "hf"
        projection = _tensors(tower["projection"], "projection.", POOLER if pooler else DENSE, what.dtype)
        if pooler:
            tensors |= projection
        else:
            _save(projection, folder / DENSE_FOLDER / "model.safetensors")
    _save(tensors, folder / "model.safetensors")


def _write_tokenizer(tokenizer: Tokenizer, folder: Path, model: ModelConfig, max_length: int) -> dict[str, int | None]:
    """Writes the tokenizer's files; returns its special ids as config.json names them."""
    tokenizer.save(folder, max_length)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    _write_json(path, {**config, "model_input_names": settings.tokenizer_inputs(model.encoder)})
    ids = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    names = {f"{kind}_token_id": config.get(f"{kind}_token") for kind in ("pad", "bos", "eos", "cls", "sep")}
    special = {name: ids.token_to_id(token) if token else None for name, token in names.items()}
    if special["pad_token_id"] != tokenizer.pad_id:
        raise ExportError(
            f"{tokenizer.folder / 'tokenizer_config.json'}: pad_token is {config.get('pad_token')!r}, which is not the "
            f"token of id {tokenizer.pad_id} that the model was padded with: set it to that one"
        )
    # Only ModernBERT's config has fields for the last two.
    return special if model.encoder.architecture == "modernbert" else dict(list(special.items())[:3])


def _tensors(tree: Parameters, above: str, rows: Sequence[Row], dtype: Precision) -> dict[str, np.ndarray]:
    """Their names -> numbers, each as transformers lays it out."""
    found: dict[str, np.ndarray] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = above + jax.tree_util.keystr(path, simple=True, separator=".")
        values = np.asarray(leaf)
        values = values.T if name.endswith(".kernel") else values  # PyTorch's linear layers: [outputs, inputs]
        with np.errstate(over="ignore"):
            # safetensors writes the memory as it lies there, whatever the strides say.
            stored = np.ascontiguousarray(values, _DTYPES[dtype])
        if not np.isfinite(stored).all():
            largest = np.abs(values).max()
            fix = "use --dtype float32" if np.isfinite(largest) else "export another --step"
            raise ExportError(f"{theirs(name, rows)} has a number that {dtype} cannot hold ({largest:g}): {fix}")
        found[theirs(name, rows)] = stored
    return found


def _save(tensors: dict[str, np.ndarray], path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    save_file(tensors, path, metadata={"format": "pt"})  # transformers refuses files that do not say whose they are
    path.chmod(0o644)  # as other files: this one is made so that only its owner can read it


def _write_json(path: Path, content: Mapping[str, Any] | list[Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_back(what: Plan, folder: Path) -> TextEncoder:
    """The folder as anybody would load it; of a plain one, with what its model card tells to say."""
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
        raise ExportError(f"what was written cannot be read back, and is gone: {error}") from None
