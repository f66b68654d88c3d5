"""What is decided about a key of a model folder's configuration files: obeyed, irrelevant, or refused unless default.

`hub/keys.py` has the table of all files. The families list the keys of their config.json with these.
"""

from dataclasses import dataclass
from typing import Any, Literal

Decision = Literal["obeyed", "irrelevant", "refused"]


@dataclass(frozen=True)
class Key:
    """One key and its decision."""

    name: str
    decision: Decision
    """- obeyed: the reader of the file checks the value and uses it
    - irrelevant: no value changes a vector
    - refused: values other than those in `allowed` raise an error"""
    why: str
    """What obeying it does, why it is irrelevant, or what it would change."""
    allowed: tuple[Any, ...] = ()
    """Of a refused key: the values that change nothing, the default first."""


def obeyed(why: str, *names: str) -> tuple[Key, ...]:
    """Keys that are used as the file has them."""
    return tuple(Key(name, "obeyed", why) for name in names)


def irrelevant(why: str, *names: str) -> tuple[Key, ...]:
    """Keys that change no vector, and why."""
    return tuple(Key(name, "irrelevant", why) for name in names)


def refused(why: str, *names: str, allowed: tuple[Any, ...] = (None,)) -> tuple[Key, ...]:
    """Keys that are refused with values that are not in `allowed`, and what they would change."""
    return tuple(Key(name, "refused", why, allowed) for name in names)
