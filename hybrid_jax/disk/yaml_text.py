"""YAML within limits: a few hundred bytes of aliases can stand for gigabytes, once something walks through them."""

from typing import Any

import yaml

MAX_CHARACTERS = 4 * 2**20
MAX_VALUES = 100_000
"""The most values that a text may stand for, each alias counted with all that it stands for."""


def parse_yaml(text: str) -> Any:
    """What a YAML text says. Raises yaml.YAMLError if it is malformed, or stands for more than our files ever do."""
    if len(text) > MAX_CHARACTERS:
        raise yaml.YAMLError(f"it has {len(text):,} characters, more than the limit of {MAX_CHARACTERS:,}")
    try:
        content = yaml.safe_load(text)
        values = _count(content, {})
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply, or in itself") from None
    if values > MAX_VALUES:
        raise yaml.YAMLError(f"its aliases (*name) stand for more than {MAX_VALUES:,} values: write the values instead")
    return content


def _count(value: Any, known: dict[int, int]) -> int:
    """The values in a value; those of an object that is already `known` are not walked through again."""
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    if parts and id(value) not in known:
        known[id(value)] = 1 + sum(_count(part, known) for part in parts)
    return known.get(id(value), 1)
