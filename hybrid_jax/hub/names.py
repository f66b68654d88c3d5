"""Looks up names in a table of tensors and parameters, in both directions. The tables are the families' own."""

import re
from collections.abc import Sequence

from hybrid_jax.model.family import Row


def parameter_name(tensor: str, rows: Sequence[Row], prefixes: Sequence[str] = ()) -> str | None:
    """The name here of a Hugging Face tensor, or None when no row has it.

    One of the `prefixes` at the start of the tensor's name is left out.
    """
    bare = _without_prefix(tensor, prefixes)
    return next((name for source, ours in rows if (name := _translated(bare, source, ours)) is not None), None)


def tensor_name(parameter: str, rows: Sequence[Row]) -> str:
    """The name that transformers gives to a parameter. Raises KeyError when no row has it."""
    for source, ours in rows:
        if (name := _translated(parameter, ours, source)) is not None:
            return name
    raise KeyError(parameter)


def is_ignored(tensor: str, ignored: Sequence[str], prefixes: Sequence[str] = ()) -> bool:
    """Whether one of the regular expressions `ignored` matches the tensor's whole name, with or without its prefix."""
    return any(re.fullmatch(pattern, _without_prefix(tensor, prefixes)) for pattern in ignored)


def _without_prefix(tensor: str, prefixes: Sequence[str]) -> str:
    return next((tensor.removeprefix(prefix) for prefix in prefixes if tensor.startswith(prefix)), tensor)


def _translated(name: str, source: str, target: str) -> str | None:
    """`target` with the layer's number from `name`, or None when `name` does not match `source`."""
    match = re.fullmatch(re.escape(source).replace(re.escape("{n}"), r"(\d+)"), name)
    if match is None:
        return None
    return target.replace("{n}", str(int(match[1]))) if match.groups() else target
