"""Duplicate ids in a stream of any length, found in eight bytes per id."""

from array import array
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

Places = Iterable[tuple[str, str]]
"""Ids, and where each was read ("file:line")."""


class Duplicate(NamedTuple):
    """An id that occurs more than once."""

    id: str
    first: str
    """Where it was read first."""
    second: str
    """Where it was read again."""


class Ids:
    """Remembers which ids it was given, by their 64-bit hashes alone."""

    def __init__(self) -> None:
        self._hashes = array("q")

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, name: str) -> None:
        """Adds one more id."""
        self._hashes.append(hash(name))

    def duplicate(self, read_again: Callable[[], Places]) -> Duplicate | None:
        """The first id that was added twice; None if there is none.

        Ids with equal hashes are only suspects (one pair among 33 million ids is expected in 1 of 30,000 such
        corpora). If there are any, `read_again()` gives all ids and their places once more, and the suspects are
        compared themselves.
        """
        hashes = np.frombuffer(self._hashes, np.int64) if self._hashes else np.zeros(0, np.int64)
        hashes.sort()  # in place: the order of the ids is not needed any more
        suspects = set(hashes[1:][hashes[1:] == hashes[:-1]].tolist())
        first: dict[str, str] = {}
        for name, where in read_again() if suspects else ():
            if name in first:
                return Duplicate(name, first[name], where)
            if hash(name) in suspects:
                first[name] = where
        return None
