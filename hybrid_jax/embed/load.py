"""Loads an encoder from a run, one of its checkpoints, or a Hugging Face or sentence-transformers folder."""

import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from hybrid_jax.data.tokenizer import Tokenizer
from hybrid_jax.data.vocabulary import old_tokens
from hybrid_jax.disk.addresses import refuse_address
from hybrid_jax.embed.encoder import TextEncoder, TextRules
from hybrid_jax.embed.origin import Origin
from hybrid_jax.embed.run import Run, is_run, read_run
from hybrid_jax.embed.truncation import truncated
from hybrid_jax.hub.vocabulary import load_with_new_words
from hybrid_jax.hub.weights import (
    Pretrained,
    PretrainedError,
    load_parameters,
    load_tower,
    open_for_run,
    open_pretrained,
)
from hybrid_jax.hub.weights import weights_digest as digest_of
from hybrid_jax.model.dual_encoder import ModelConfig, Parameters, abstract, initialize
from hybrid_jax.model.precision import compute_dtype
from hybrid_jax.runs import checkpoint
from hybrid_jax.runs.best import read_best
from hybrid_jax.runtime.compilation import keep_compiled
from hybrid_jax.runtime.mesh import MeshConfig, make_mesh, parameter_sharding

Warn = Callable[[str], None]
Step = int | Literal["best"]
"""A checkpoint's step, or the best step, which `python -m hybrid_jax.eval watch` keeps."""


def load(
    path_or_id: str | Path,
    *,
    step: Step | None = None,
    pooling: Literal["mean", "cls", "pooler"] | None = None,
    query_prompt: str | None = None,
    passage_prompt: str | None = None,
    max_length: int | None = None,
    dtype: Literal["float32", "bfloat16"] | None = None,
    truncate_dim: int | None = None,
    warn: Warn = warnings.warn,
) -> TextEncoder:
    """Loads the encoder in a run's folder, in a Hugging Face or sentence-transformers folder, or of a hub id.

    For a run this is its latest checkpoint, or that of `step`; the folders `RUN/checkpoints/STEP` and `RUN/best/STEP`
    name one checkpoint. The other options replace what the folder says; a plain Hugging Face folder says neither
    `pooling` (see `open_pretrained`) nor prompts. `max_length` is in tokens, `dtype` is the precision of matrix
    products, `truncate_dim` cuts vectors (see `truncation.truncated`). Every device holds all parameters.

    Raises CheckpointError, PretrainedError or DataError if the folder cannot be read, and ValueError if an option does
    not suit it.
    """
    refuse_address(path_or_id)
    path = Path(path_or_id).expanduser()
    if path.parent.name in ("checkpoints", "best") and path.name.isdecimal() and is_run(path.parents[1]):
        if step not in (None, int(path.name)):
            raise ValueError(f"{path} is the checkpoint of step {path.name}, but step {step} was asked for: name one")
        path, step = path.parents[1], int(path.name)
    if is_run(path):
        if pooling is not None:
            raise ValueError(f"{path} is a run, which knows its pooling: leave pooling out")
        encoder = load_checkpoint(read_run(path), *_find_checkpoint(path, step), warn)
    else:
        no_model = path.is_dir() and not (path / "config.json").exists() and not (path / "modules.json").exists()
        if step is not None or no_model:
            raise PretrainedError(
                f"{path} is not a run (no config.yaml and tokenizer/)"
                + (f", so it has no step {step}" if step is not None else ", nor a model's folder (no config.json)")
            )
        keep_compiled(None, warn)
        pretrained = open_pretrained(path_or_id, pooling)
        for note in pretrained.notes:
            warn(note)
        encoder = _from_pretrained(pretrained, make_mesh(MeshConfig()))
    encoder = _adjusted(encoder, query_prompt, passage_prompt, max_length, dtype)
    return encoder if truncate_dim is None else truncated(encoder, truncate_dim)


def load_untrained(
    path: Path,
    *,
    query_prompt: str | None = None,
    passage_prompt: str | None = None,
    max_length: int | None = None,
    dtype: Literal["float32", "bfloat16"] | None = None,
) -> TextEncoder:
    """Loads a run's encoder as it was before the first step: random from its seed, or with its pretrained weights.

    The options are those of `load`.
    """
    run = read_run(path)
    mesh = make_mesh(MeshConfig())
    parameters = jax.jit(initialize, static_argnums=0)(run.model, run.seed)
    if run.pretrained is not None:
        pretrained = open_for_run(run.pretrained, run.model)
        began_with = (run.origin.training_data or {}).get("the pretrained weights")
        if began_with not in (None, digest_of(pretrained)):
            raise PretrainedError(
                f"{run.pretrained} has other weights than {path} began with: restore them, or leave --untrained out"
            )
        what = pretrained, run.model, partial(parameter_sharding, mesh), parameters
        if run.new_vocabulary:
            old = Tokenizer(pretrained.transformer, pretrained.lower_case)
            parameters = load_with_new_words(*what, old_tokens(old, run.tokenizer), run.seed)
        else:
            parameters = load_parameters(*what)
    origin = run.origin.model_copy(update={"step": 0})
    encoder = TextEncoder(run.tokenizer, run.model, run.rules, parameters, mesh, origin)
    return _adjusted(encoder, query_prompt, passage_prompt, max_length, dtype)


def load_checkpoint(run: Run, folder: Path, step: int | None, warn: Warn = warnings.warn) -> TextEncoder:
    """Loads the checkpoint of `step` from the checkpoints in `folder`; None is the latest one.

    Encoders of the same run share their compiled functions.
    """
    keep_compiled(run.cache, warn)
    mesh = make_mesh(MeshConfig())

    def sharded(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, jnp.float32, sharding=parameter_sharding(mesh, leaf.shape))

    like = {"parameters": jax.tree.map(sharded, abstract(run.model)[1])}
    step, restored = checkpoint.restore(folder, like, warn, step)
    origin = run.origin.model_copy(update={"step": step})
    return TextEncoder(run.tokenizer, run.model, run.rules, restored["parameters"], mesh, origin)


def _find_checkpoint(run: Path, step: Step | None) -> tuple[Path, int | None]:
    """The folder that holds the requested checkpoint, and its step; None is the latest one."""
    checkpoints, best = run / "checkpoints", run / "best"
    if step == "best":
        return best, read_best(best).step
    if step not in checkpoint.steps(checkpoints) and step in checkpoint.steps(best):
        return best, step
    return checkpoints, step


def _from_pretrained(pretrained: Pretrained, mesh: Mesh) -> TextEncoder:
    tokenizer = Tokenizer(pretrained.transformer, pretrained.lower_case)
    model = pretrained.model
    check_vocabulary(tokenizer, model, pretrained.folder)
    tower: Parameters = load_tower(pretrained, model, partial(parameter_sharding, mesh))
    rules = TextRules(pretrained.query_prompt, pretrained.passage_prompt, pretrained.max_length, pretrained.max_length)
    pooler = model.projection_dim is not None and not pretrained.sentence_transformers
    origin = Origin(
        kind="sentence-transformers" if pretrained.sentence_transformers else "Hugging Face",
        folder=pretrained.folder,
        weights_sha256=digest_of(pretrained),
        tokenizer_sha256=tokenizer.digest,
        pooling="pooler" if pooler else model.pooling,
    )
    return TextEncoder(tokenizer, model, rules, {"tower": tower}, mesh, origin)


def check_vocabulary(tokenizer: Tokenizer, model: ModelConfig, folder: Path) -> None:
    """Raises PretrainedError if the tokenizer has more ids than the word embedding has rows."""
    rows = model.encoder.vocab_size
    if tokenizer.vocab_size > rows:
        raise PretrainedError(
            f"{folder}: its tokenizer has {tokenizer.vocab_size:,} tokens and its word embedding {rows:,} rows: "
            f"they do not belong together"
        )


def _adjusted(
    encoder: TextEncoder, query: str | None, passage: str | None, max_length: int | None, dtype: str | None
) -> TextEncoder:
    rules, model = encoder.rules, encoder.model
    limit = model.encoder.max_length if max_length is None else max_length
    if not 2 < limit <= model.encoder.max_length:
        raise ValueError(f"max_length {max_length}: choose from 3 to the encoder's {model.encoder.max_length} tokens")
    rules = TextRules(
        rules.query_prompt if query is None else query,
        rules.passage_prompt if passage is None else passage,
        limit if max_length is not None else rules.max_query_length,
        limit if max_length is not None else rules.max_passage_length,
    )
    precision = compute_dtype(model.encoder.dtype).name if dtype is None else dtype
    model = model.model_copy(update={"encoder": model.encoder.model_copy(update={"dtype": precision})})
    stated = {"texts": asdict(rules)} | ({"dtype": dtype} if dtype is not None else {})
    return replace(encoder, rules=rules, model=model, origin=encoder.origin.model_copy(update=stated))
