"""python -m hybrid_jax.config_page docs/config.md: writes the page of all fields, from their definitions."""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hybrid_jax.config import Config
from hybrid_jax.data.dataset import DatasetConfig
from hybrid_jax.model.families import FAMILIES

INTRODUCTION = """# Config

A run is described by a YAML file. `hybrid-jax train --example-config` prints one to start from, and this page has
every field; `hybrid-jax train --config FILE --help-config` lists them with the values that FILE gives them. On the
command line, a field is given by its dotted name: `--optimizer.learning_rate 1e-4`.

Unknown fields are an error that names the nearest. Two fields that contradict each other are an error if both are set.
A field that nobody set gives way to one that is: with `steps: 20` alone the warm-up is 2 steps, and with
`data.max_passage_length: 600` alone `model.encoder.max_length` is 600. What a run used, defaults included, is in its
`config.yaml`.

<!-- Written by `make config-page` from the docstrings of the fields. -->
"""
NAMES = {int: "integer", float: "number", bool: "true, false", str: "text", NoneType: "null"}
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}


def page() -> str:
    """The page as Markdown: a section for each part of the config, a row for each field."""
    parts = [INTRODUCTION]
    for title, config_class in _sections():
        description = " ".join((inspect.getdoc(config_class) or "").split())
        rows = [
            f"| `{name}` | {_type(field.annotation)}{_bounds(field)} | {_default(field)} | {meaning} |"
            for name, field, meaning in _fields(config_class)
        ]
        parts.append(
            "\n".join([f"## {title}", "", description, "", "| field | type | default | meaning |", "|---|---|---|---|"])
        )
        parts[-1] += "\n" + "\n".join(rows) + "\n"
    return "\n".join(parts)


def meanings(config_class: type[BaseModel]) -> dict[str, str]:
    """The docstring under each field of a class, on one line; fields without one are left out."""
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(config_class))).body
    assert isinstance(body, ast.ClassDef)
    texts = {}
    for field, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(after, ast.Expr):
            assert isinstance(after.value, ast.Constant)
            texts[field.target.id] = " ".join(str(after.value.value).split())
    return texts


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    """Title and class of every part, in the order of the fields; the encoder has a section for each architecture."""
    yield "The run", Config
    for name, field in Config.model_fields.items():
        if _is_part(field.annotation):
            yield from _below(name, field.annotation)


def _below(name: str, config_class: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    yield f"`{name}`", config_class
    for inner, field in config_class.model_fields.items():
        if field.annotation == tuple[DatasetConfig, ...]:
            yield f"`{name}.{inner}`, each", DatasetConfig
        elif inner == "encoder":
            for family in FAMILIES:
                yield f"`{name}.encoder` with `architecture: {family.architecture}`", family.config_class
        elif _is_part(field.annotation):
            yield from _below(f"{name}.{inner}", field.annotation)


def _fields(config_class: type[BaseModel]) -> Iterator[tuple[str, FieldInfo, str]]:
    """Name, field and meaning of what is no part with a section of its own."""
    texts = meanings(config_class)
    for name, field in config_class.model_fields.items():
        if name == "encoder":
            continue
        if not _is_part(field.annotation):
            yield name, field, texts.get(name, "").replace("|", "\\|")


def _is_part(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _type(annotation: Any) -> str:
    """A type in the words of YAML."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in inner)
    if origin in (Union, UnionType):
        return " or ".join(map(_type, inner))
    if origin is Annotated:
        return _type(inner[0]) + "".join(_bounds(limits).replace(",", "") for limits in inner[1:])
    if origin is tuple and inner[-1] is Ellipsis:
        return f"list of {_type(inner[0])}"
    if origin is tuple:
        return f"[{', '.join(map(_type, inner))}]"
    if origin is dict:
        return f"{{{_type(inner[0])}: {_type(inner[1])}}}"
    return "datasets, see below" if annotation is DatasetConfig else NAMES.get(annotation, f"`{annotation.__name__}`")


def _bounds(field: FieldInfo) -> str:
    limits = [
        f"{sign} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, sign in BOUNDS.items()
        if getattr(limit, name, None) is not None
    ]
    return f", {' and '.join(limits)}" if limits else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default(call_default_factory=True)
    if default is None:
        return "null"
    if isinstance(default, tuple):
        return "[]"
    if isinstance(default, bool):
        return str(default).lower()
    return f"`{default!r}`" if isinstance(default, str | dict) else f"{default}"


def main() -> int:
    """Writes the page to the file that the command line names."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m hybrid_jax.config_page docs/config.md\n")
        return 2
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
