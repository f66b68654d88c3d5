"""Rows of aligned text, which every source yields; their language codes; and errors in data."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from babel import Locale
from babel.core import get_global

MAX_TEXT_CHARS = 100_000
"""Longer texts are cut, counted and reported; no encoder reads that far."""


class DataError(ValueError):
    """Data that cannot be used. The message is one line: the place, what is wrong, what to do about it."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage with its title and document id, where the data has them."""

    text: str
    title: str | None = None
    id: str | None = None
    """Passages with the same id, positive or negative, in any record and language, are the same or translations."""

    @property
    def with_title(self) -> str:
        """What a model reads: "title text", or the text if there is no title."""
        return self.text if self.title is None else f"{self.title} {self.text}"


@dataclass(frozen=True, slots=True)
class Row:
    """One record in one language. Rows with the same `id` are translations of one another.

    `query` or `passage`, but not both, is None if the language lacks it; such a row can still be one side of a
    cross-lingual pair. Neither is empty. `title` and `passage_id` are the title and document id of `passage`, which is
    trained on; `further_positives` also answer the query, and are never negatives of it. `where` is "file:line", for
    errors.
    """

    id: str
    lang: str
    query: str | None
    passage: str | None
    title: str | None = None
    negatives: tuple[Passage, ...] = ()
    passage_id: str | None = None
    where: str = ""
    further_positives: tuple[Passage, ...] = ()


OnBadRow = Callable[[DataError], None]
"""Called with the error of every bad row. It may raise the error to stop, or return to skip the row."""


_WITHOUT_ENGLISH_NAME = frozenset(
    {
        *("acm", "acq", "apc", "azb", "cbk", "cjk", "fuv", "hne", "kbp"),
        *("max", "mey", "orv", "pbt", "quy", "swg", "taq", "tzl"),
    }
)
"""Languages of FLORES-200, NTREX and Tatoeba that CLDR has no English name for."""
_CODE = re.compile(
    r"([A-Za-z]{2,3})(?:[-_]([A-Za-z]{4}))?(?:[-_]([A-Za-z]{2}|[0-9]{3}))?((?:[-_](?:[A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*)"
)
"""A language, then a script, a region and variants: "de", "zh-Hant", "pt_BR", "ca-valencia"."""


@cache
def known_languages() -> frozenset[str]:
    """The language codes of Unicode CLDR, ISO 639 ("en", "sw", "yue"); a row may add a script or region to one."""
    return frozenset(Locale("en").languages) | _WITHOUT_ENGLISH_NAME


@cache
def check_language(code: str) -> None:
    """Raises ValueError unless `code` ("de", "zh-Hant", "pt_BR") is a language that Unicode CLDR knows, in the usual
    case: the language in small letters, a script such as "Hant", a region such as "BR".

    Codes of another case, three-letter codes of languages that have two letters ("deu"), and English names are refused
    too, with the code to write: two spellings of one language would count as two languages.
    """
    usual = _usual_code(code)
    if usual is None:
        raise ValueError(f"unknown language code {code!r} (expected ISO 639 such as 'de', 'th' or 'zh-Hant')")
    if usual != code:
        raise ValueError(f"unknown language code {code!r}, write {usual!r}")


def _usual_code(code: str) -> str | None:
    """The code in the case and the spelling that CLDR uses; None for an unknown language, script or region."""
    names = Locale("en")
    match = _CODE.fullmatch(code.strip())
    if match is None:
        return _code_of_name().get(code.strip().casefold())
    language, script, region, variants = match[1].lower(), match[2], match[3], match[4]
    if language not in known_languages():
        language = get_global("language_aliases").get(language, "")
    if language not in known_languages():
        return _code_of_name().get(code.strip().casefold())
    script, region = script and script.title(), region and region.upper()
    if (script and script not in names.scripts) or (region and region not in names.territories):
        return None
    separator = "_" if "_" in code else "-"
    return separator.join(filter(None, (language, script, region))) + variants.lower()


@cache
def _code_of_name() -> dict[str, str]:
    return {name.casefold(): code for code, name in Locale("en").languages.items() if "_" not in code}
