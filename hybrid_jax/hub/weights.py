"""Weights of Hugging Face and sentence-transformers folders -> our parameters, placed on devices.

    pretrained = open_pretrained("sentence-transformers/LaBSE")       # a folder or a hub id; reads configurations only
    tower = load_tower(pretrained, pretrained.model, sharding)        # uses every tensor, or raises PretrainedError

Tensors are read one at a time, 32 MiB at a time, and only the part that this process needs: memory on the host holds
little more than the parameters themselves.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import jax
from jax.sharding import Sharding

from hybrid_jax.hub.folders import Pretrained, open_pretrained, open_settled
from hybrid_jax.hub.json_files import PretrainedError
from hybrid_jax.hub.names import is_ignored, parameter_name
from hybrid_jax.hub.sentence_transformers import DENSE
from hybrid_jax.hub.tensor_files import TensorFiles, is_float
from hybrid_jax.model.dual_encoder import ModelConfig, Parameters, abstract
from hybrid_jax.model.families import EncoderConfig, family_of
from hybrid_jax.model.family import Row

__all__ = [
    "Pretrained",
    "PretrainedError",
    "load_parameters",
    "load_tower",
    "open_for_run",
    "open_pretrained",
    "weights_digest",
]

Shardings = Callable[[Sequence[int]], Sharding]
"""The shape of a parameter -> its sharding."""


class Source(NamedTuple):
    """Tensor files and what their tensors are called; see `Family` for the last three."""

    files: TensorFiles
    rows: Sequence[Row]
    prefixes: Sequence[str] = ()
    ignored: Sequence[str] = ()


def open_for_run(path_or_id: str | Path, config: ModelConfig) -> Pretrained:
    """Reads the folder that a run with this model begins from; its notes say whether the projection is a new one.

    Raises PretrainedError as `open_pretrained` does, but for a folder that does not say how it pools.
    """
    pretrained = open_settled(path_or_id)
    if config.projection_dim is None or _has_projection(pretrained, config):
        return pretrained
    shape = (
        f"pooling {config.pooling}, projection_dim {config.projection_dim}, projection_bias {config.projection_bias}"
    )
    note = f"{pretrained.folder} has no projection for {shape}: that of the run is new, drawn from the seed"
    return replace(pretrained, notes=[*pretrained.notes, note])


def load_parameters(pretrained: Pretrained, config: ModelConfig, sharding: Shardings, fresh: Parameters) -> Parameters:
    """`fresh` with the parameters of every tower replaced by the folder's.

    The temperature stays as it is, and so does a projection where the folder has none that fits.
    """
    towers = ["tower"] if config.tied else ["query_tower", "passage_tower"]
    loaded = {name: {**fresh[name], **load_tower(pretrained, config, sharding)} for name in towers}
    return {**fresh, **loaded}


def load_tower(pretrained: Pretrained, config: ModelConfig, sharding: Shardings) -> Parameters:
    """The parameters of one tower of `config`: "encoder", and "projection" where the folder's fits.

    Raises one PretrainedError that lists everything that does not fit: parameters without a tensor, tensors that
    nothing uses, wrong shapes, wrong types; and the fields of `config` that ask for what the folder does not have.
    """
    shapes = abstract(config.model_copy(update={"tied": True, "learn_temperature": False}))[1]["tower"]
    has_projection = _has_projection(pretrained, config)
    expected = _flat({name: tree for name, tree in shapes.items() if name == "encoder" or has_projection})
    sources = _sources(pretrained, config, has_projection)
    tensors, problems = _match(expected, sources)
    if problems:
        more = [f"… and {len(problems) - 20} more"] if len(problems) > 20 else []
        shown = "\n  ".join([*problems[:20], *more, *_other_sizes(pretrained.model, config)])
        raise PretrainedError(
            f"{pretrained.folder}: {len(problems)} problems with its weights, none loaded:\n  {shown}"
        )
    tower: Parameters = {}
    for name, (files, tensor) in tensors.items():
        shape = expected[name].shape
        read = files.reader(tensor, transposed=name.endswith(".kernel"))
        _put(tower, name, jax.make_array_from_callback(shape, sharding(shape), read))
    return tower


def _sources(pretrained: Pretrained, config: ModelConfig, has_projection: bool) -> list[Source]:
    """The files to read, with their tables of names in which parameters are those of a tower."""
    family = family_of(config.encoder)
    rows: list[Row] = [(tensor, f"encoder.{parameter}") for tensor, parameter in family.tensor_names]
    rows += family.pooler if has_projection and pretrained.projection == "pooler" else ()
    sources = [Source(TensorFiles(pretrained.transformer), rows, family.prefixes, family.ignored)]
    if has_projection and isinstance(pretrained.projection, Path):
        sources.append(Source(TensorFiles(pretrained.projection), DENSE))
    return sources


def _has_projection(pretrained: Pretrained, config: ModelConfig) -> bool:
    """Whether the folder has a projection for `config`: after the same pooling, and of the same shape.

    The activation may be another: whoever chooses one still wants the matrix that was trained.
    """
    fields = ("pooling", "projection_dim", "projection_bias")
    stored = pretrained.model
    return pretrained.projection is not None and all(getattr(stored, name) == getattr(config, name) for name in fields)


def _other_sizes(stored: ModelConfig, config: ModelConfig) -> list[str]:
    """A line for each field of `config.encoder` that asks for other parameters than the folder's config.json does."""
    wanted, in_folder = config.encoder, stored.encoder
    if type(wanted) is not type(in_folder):
        return []

    def shapes(encoder: EncoderConfig) -> Parameters:
        return abstract(stored.model_copy(update={"encoder": encoder}))[1]

    values = {name: (getattr(wanted, name), getattr(in_folder, name)) for name in type(in_folder).model_fields}
    return [
        f"model.encoder.{name} is {own}, but {stated} in the folder's config.json: leave it out, or set it to {stated}"
        for name, (own, stated) in values.items()
        if own != stated and shapes(in_folder.model_copy(update={name: own})) != shapes(in_folder)
    ]


def weights_digest(pretrained: Pretrained) -> str:
    """sha256 of all weight files. A resumed run compares it with that of the weights it started from."""
    digest = sha256()
    folders = [pretrained.transformer, *([pretrained.projection] if isinstance(pretrained.projection, Path) else [])]
    for path in (file for folder in folders for file in TensorFiles(folder).files):
        with path.open("rb") as file:
            while piece := file.read(2**24):
                digest.update(piece)
    return digest.hexdigest()


def _match(
    expected: Mapping[str, Any], sources: Sequence[Source]
) -> tuple[dict[str, tuple[TensorFiles, str]], list[str]]:
    """The file and tensor of each expected parameter, and a line for everything that does not fit."""
    matched: dict[str, tuple[TensorFiles, str]] = {}
    tried: set[str] = set()
    problems: list[str] = []
    for files, rows, prefixes, ignored in sources:
        for tensor in files.names:
            stored, name = files[tensor], parameter_name(tensor, rows, prefixes)
            if name is None or name not in expected:
                if not is_ignored(tensor, ignored, prefixes):
                    problems.append(f"{tensor} {list(stored.shape)} in {stored.file}: the model has no such parameter")
                continue
            tried.add(name)
            transposed, shape = name.endswith(".kernel"), tuple(expected[name].shape)
            if name in matched:
                problems.append(f"{tensor} in {stored.file}: {matched[name][1]} is {name} already")
            elif files.shape(tensor, transposed) != shape:
                in_file = list(reversed(shape) if transposed else shape)
                problems.append(f"{tensor} {list(stored.shape)} in {stored.file}: the model asks for {in_file}")
            elif not is_float(stored.dtype):
                problems.append(f"{tensor} in {stored.file}: {stored.dtype}, expected float32, float16 or bfloat16")
            else:
                matched[name] = files, tensor
    problems += [f"{name} {list(leaf.shape)}: no tensor for it" for name, leaf in expected.items() if name not in tried]
    return {name: matched[name] for name in expected if name in matched}, problems


def _flat(tree: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """The leaves of a tree by their dotted names."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return leaves


def _put(tree: dict[Any, Any], name: str, value: jax.Array) -> None:
    """Sets a leaf by its dotted name. Numbers in the name become integer keys, as layers have them."""
    *parents, last = [int(part) if part.isdecimal() else part for part in name.split(".")]
    for part in parents:
        tree = tree.setdefault(part, {})
    tree[last] = value
