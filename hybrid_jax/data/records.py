"""Rows of aligned text: what every source yields and everything after it relies on.

Knows: one row, its language codes, and how a bad row is reported. Does not know: files, tokens, batches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from babel import Locale

MAX_TEXT_CHARS = 100_000
"""A text longer than this is cut, counted and reported: no encoder reads that far."""


class DataError(ValueError):
    """Data that cannot be used. The message is one line: the place, what is wrong, what to do about it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record in one language. Rows with the same `id` are translations of one another.

    `query` or `passage` is None where this language has only the other side (such a row can still serve
    cross-lingual pairs); never both, never empty. `passage_id` names the passage across records: rows with the same
    `passage_id` (in any language) hold the same passage and never count as each other's negatives.
    `where` is "file:line", for error messages.
    """

    id: str
    lang: str
    query: str | None
    passage: str | None
    title: str | None = None
    negatives: tuple[str, ...] = ()
    passage_id: str | None = None
    where: str = ""


OnBadRow = Callable[[DataError], None]
"""Called with every bad row. To stop, raise the error; to skip the row, count it and return."""


@cache
def known_languages() -> frozenset[str]:
    """The language codes of Unicode CLDR, ISO 639 ("en", "sw", "yue"); a row may add a script or region to one."""
    return frozenset(Locale("en").languages)


def check_language(code: str) -> None:
    """Raises ValueError when `code` ("de", "zh-Hant", "pt_BR") does not start with a language known to Unicode CLDR."""
    base = code.replace("_", "-").split("-")[0]
    if base not in known_languages() or code != code.strip():
        raise ValueError(f"unknown language code {code!r} (expected ISO 639 such as 'de', 'th' or 'zh-Hant')")
