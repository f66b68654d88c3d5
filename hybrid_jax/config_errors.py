"""What is wrong with a config that pydantic refused: a line per mistake, with field, value and what to write."""

import difflib
from typing import Any

from pydantic import BaseModel, ValidationError

from hybrid_jax.model.families import FAMILIES

TAGS: dict[int | str, type[BaseModel]] = {family.architecture: family.config_class for family in FAMILIES}
"""The architectures, which pydantic puts into the location of an error, and their config classes."""

RENAMED = {"data.query_prefix": "data.query_prompt", "data.passage_prefix": "data.passage_prompt"}
"""Fields that runs of earlier versions have under another name: their config.yaml is refused with the new name."""


def explain(error: ValidationError, source: str, top: type[BaseModel]) -> str:
    """One line per problem of the config class `top`: where, the field, its value; of an unknown field the nearest.

    Fields that were renamed share one line.
    """
    lines: list[str] = []
    renamed: list[str] = []
    for problem in error.errors():
        location = _without_tags(problem["loc"])
        field = ".".join(str(part) for part in location)
        if problem["type"] == "extra_forbidden" and field in RENAMED:
            renamed.append(f"{field} is now {RENAMED[field]}")
        elif problem["type"] == "extra_forbidden":
            fields = _fields_beside(problem["loc"], top)
            near = difflib.get_close_matches(str(location[-1]), fields, n=3, cutoff=0.4)
            hint = f"did you mean {' or '.join(near)}?" if near else f"known here: {', '.join(fields)}"
            lines.append(f"{source}: unknown field {field}: {hint}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            value = "" if isinstance(problem["input"], dict | BaseModel) else f" = {problem['input']!r}"
            lines.append(f"{source}: {field}{value}: {message}" if field else f"{source}: {message}")
    if renamed:
        lines.append(f"{source}: {', '.join(renamed)}: rename {'it' if len(renamed) == 1 else 'them'} in this file")
    return "\n".join(lines)


def _without_tags(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """Without the architecture that pydantic puts after "encoder", which is no field."""
    return tuple(part for n, part in enumerate(location) if n == 0 or location[n - 1] != "encoder" or part not in TAGS)


def _fields_beside(location: tuple[int | str, ...], top: type[BaseModel]) -> list[str]:
    """The names of the fields where an unknown one was found."""
    model: Any = top
    for part in location[:-1]:
        if isinstance(part, int):
            continue
        if part in TAGS:
            model = TAGS[part]
            continue
        model = model.model_fields[part].annotation
        inner = [a for a in getattr(model, "__args__", ()) if isinstance(a, type) and issubclass(a, BaseModel)]
        model = inner[0] if inner else model
    return list(model.model_fields)
