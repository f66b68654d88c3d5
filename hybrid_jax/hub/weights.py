"""Weights of Hugging Face and sentence-transformers folders -> our parameters, straight to where they belong.

Knows: how files, names and parameters meet. Does not know: devices (it is given shardings), tokenizers, training.

    pretrained = open_pretrained("sentence-transformers/LaBSE")       # a folder or a hub id; reads configurations only
    tower = load_tower(pretrained, pretrained.model, sharding)        # every tensor accounted for, or PretrainedError

One tensor is read at a time, only the part that this process needs, and 32 MiB of it at a time: the host holds
the parameters it was asked for and hardly anything else.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Sharding

from hybrid_jax.hub.folders import Pretrained, find, open_pretrained
from hybrid_jax.hub.names import DENSE, ENCODERS, POOLER, Row, is_ignored, ours
from hybrid_jax.hub.tensor_files import PretrainedError, TensorFiles, is_float
from hybrid_jax.model.dual_encoder import ModelConfig, Parameters, abstract

__all__ = [
    "Pretrained",
    "PretrainedError",
    "find",
    "load_parameters",
    "load_tower",
    "open_pretrained",
    "weights_digest",
]

Shardings = Callable[[Sequence[int]], Sharding]
"""The shape of a parameter -> where it lies."""


def load_parameters(pretrained: Pretrained, config: ModelConfig, sharding: Shardings, fresh: Parameters) -> Parameters:
    """`fresh` with every tower's parameters replaced by the folder's, one at a time.

    Kept as they are: the temperature, and a projection that the folder does not have.
    """
    towers = ["tower"] if config.tied else ["query_tower", "passage_tower"]
    found = dict(fresh)
    for tower in towers:
        found[tower] = {**fresh[tower], **load_tower(pretrained, config, sharding)}
    return found


def load_tower(pretrained: Pretrained, config: ModelConfig, sharding: Shardings) -> Parameters:
    """The parameters of a tower of `config`: "encoder", and "projection" where both the config and the folder have one.

    Raises PretrainedError, once, with everything that does not fit: parameters that no tensor fills, tensors that
    nothing uses, shapes.
    """
    shapes = abstract(config.model_copy(update={"tied": True, "learn_temperature": False}))[1]["tower"]
    has_projection = pretrained.projection is not None and same_projection(pretrained.model, config)
    wanted = _flat({name: tree for name, tree in shapes.items() if name == "encoder" or has_projection})
    rows: list[Row] = [(theirs, f"encoder.{name}") for theirs, name in ENCODERS[config.encoder.architecture]]
    rows += POOLER if has_projection and pretrained.projection == "pooler" else ()
    sources = [(TensorFiles(pretrained.transformer), rows)]
    if has_projection and isinstance(pretrained.projection, Path):
        sources.append((TensorFiles(pretrained.projection), list(DENSE)))

    found, problems = _match(wanted, sources)
    if problems:
        shown = "\n  ".join(problems[:20])
        more = f"\n  … and {len(problems) - 20} more" if len(problems) > 20 else ""
        raise PretrainedError(
            f"{pretrained.folder}: {len(problems)} problems with its weights, none loaded:\n  {shown}{more}"
        )
    tower: Parameters = {}
    for name, (files, source) in found.items():
        shape, place = wanted[name].shape, sharding(wanted[name].shape)
        read = files.reader(source, transposed=name.endswith(".kernel"))
        _put(tower, name, jax.make_array_from_callback(shape, place, read))
    return tower


def same_projection(one: ModelConfig, other: ModelConfig) -> bool:
    """Whether two models have the same layer after pooling."""
    fields = ("pooling", "projection_dim", "projection_activation", "projection_bias")
    return all(getattr(one, name) == getattr(other, name) for name in fields)


def weights_digest(pretrained: Pretrained) -> str:
    """sha256 over all its weight files, read in full: tells whether a resumed run began from the same weights."""
    digest = sha256()
    folders = [pretrained.transformer, *([pretrained.projection] if isinstance(pretrained.projection, Path) else [])]
    for path in (file for folder in folders for file in TensorFiles(folder).files):
        with path.open("rb") as file:
            while piece := file.read(2**24):
                digest.update(piece)
    return digest.hexdigest()


def _match(
    wanted: Mapping[str, Any], sources: Sequence[tuple[TensorFiles, Sequence[Row]]]
) -> tuple[dict[str, tuple[TensorFiles, str]], list[str]]:
    """The tensor of each wanted parameter, and everything that is wrong."""
    found: dict[str, tuple[TensorFiles, str]] = {}
    problems: list[str] = []
    for files, rows in sources:
        for source in files.names:
            stored, name = files[source], ours(source, rows)
            if name is None or name not in wanted:
                if not is_ignored(source):
                    problems.append(f"{source} {list(stored.shape)} in {stored.file}: the model has no such parameter")
                continue
            shape = files.shape(source, transposed=name.endswith(".kernel"))
            if name in found:
                problems.append(f"{source} in {stored.file}: {found[name][1]} is {name} already")
            elif shape != tuple(wanted[name].shape):
                expected = (
                    wanted[name].shape if len(shape) < 2 or not name.endswith(".kernel") else wanted[name].shape[::-1]
                )
                problems.append(
                    f"{source} {list(stored.shape)} in {stored.file}: config.json asks for {list(expected)}"
                )
            elif not is_float(stored.dtype):
                problems.append(f"{source} in {stored.file}: {stored.dtype}, expected float32, float16 or bfloat16")
            else:
                found[name] = files, source
    # What did not fit was named above; here only what is not there at all.
    named = {ours(source, rows) for files, rows in sources for source in files.names}
    problems += [f"{name} {list(leaf.shape)}: no tensor for it" for name, leaf in wanted.items() if name not in named]
    return {name: found[name] for name in wanted if name in found}, problems


def _flat(tree: Mapping[Any, Any], above: str = "") -> dict[str, Any]:
    """Leaves by dotted names."""
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        leaves |= _flat(value, f"{above}{key}.") if isinstance(value, dict) else {f"{above}{key}": value}
    return leaves


def _put(tree: dict[Any, Any], name: str, value: jax.Array) -> None:
    """Places a leaf; the numbers in a name are the integer keys of layers."""
    *parents, last = [int(part) if part.isdecimal() else part for part in name.split(".")]
    for part in parents:
        tree = tree.setdefault(part, {})
    tree[last] = value
