"""Languages as a reader of results groups them: by script, by family, and by whether a model was trained on them.

Knows: codes as benchmarks write them ("zh", "zho_Hans", "pt-BR"); names and usual scripts from Unicode CLDR (babel);
families from languages.tsv. Does not know: results, runs, how a group's mean is taken.

languages.tsv has a line per family: its name, a tab, the codes of its languages, as CLDR writes them. Families are
Glottolog's top level (Afro-Asiatic, Turkic, ...) but for Indo-European, which is told apart by branch (Germanic,
Slavic, ...) because it would hold every other language of a benchmark: Balto-Slavic is Baltic and Slavic, what descends
from Latin is Romance and Latin itself Italic. A creole stands, as in Glottolog, with the language of its words.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

from babel import Locale
from babel.core import get_global

RIGHT_TO_LEFT = frozenset({"Adlm", "Arab", "Aran", "Hebr", "Mand", "Nkoo", "Rohg", "Samr", "Syrc", "Thaa", "Yezi"})
"""Scripts in use today; ISO 15924."""
UNKNOWN = "unknown"
"""The group of the codes that nobody here knows: they are shown, and compared with nothing."""

# CLDR has no English names of these, which FLORES-200, NTREX and Tatoeba hold; the names are those of ISO 639-3.
_NAMES = {
    "acm": "Mesopotamian Arabic",
    "acq": "Ta'izzi-Adeni Arabic",
    "apc": "Levantine Arabic",
    "azb": "South Azerbaijani",
    "cbk": "Chavacano",
    "cjk": "Chokwe",
    "fuv": "Nigerian Fulfulde",
    "hne": "Chhattisgarhi",
    "kbp": "Kabiyè",
    "max": "North Moluccan Malay",
    "mey": "Hassaniyya",
    "orv": "Old Russian",
    "pbt": "Southern Pashto",
    "quy": "Ayacucho Quechua",
    "swg": "Swabian",
    "taq": "Tamasheq",
    "tzl": "Talossan",
}
# CLDR shortens the names of these two, "Simplified" and "Traditional", because it shows them after "Chinese".
_SCRIPT_NAMES = {"Hans": "Simplified Han", "Hant": "Traditional Han"}


class Language(NamedTuple):
    """What a language's code stands for."""

    code: str
    """As it was asked for."""
    name: str
    """In English; the code where nobody names it."""
    script: str
    """ISO 15924: the one the code names, or the one the language is usually written in."""
    family: str | None
    """See the module; None for a language that is not in languages.tsv."""
    direction: Literal["ltr", "rtl"]
    """Of its script, as HTML writes it."""


@cache
def language(code: str) -> Language | None:
    """Facts about a code of ISO 639 that may name a script or a region; None for a code that CLDR does not know.

    Case and "-" or "_" do not matter. Three letters are the language of the two where there are such ("deu", "arb").
    """
    parsed = _parse(code)
    if parsed is None:
        return None
    base, canonical, script = parsed
    named = {**_NAMES, **Locale("en").languages}
    name = next((named[known] for known in (base, _unaliased(base), canonical) if known in named), code)
    family = _families().get(canonical) or _families().get(base)
    return Language(code, name, script, family, "rtl" if script in RIGHT_TO_LEFT else "ltr")


def script_name(script: str) -> str:
    """In English; the code itself where CLDR has none."""
    return _SCRIPT_NAMES.get(script) or Locale("en").scripts.get(script) or script


def groups(codes: Iterable[str], seen: set[str] | None = None) -> dict[str, dict[str, list[str]]]:
    """{"script": {name: codes}, "family": {name: codes}, "seen": {"seen": codes, "unseen": codes}}, all sorted.

    `seen` holds the codes of what a model was trained on; without it there is no "seen". A language counts as seen
    whatever script or region either code names: "zh-Hant" has been seen by a model that was trained on "zh".
    A group that no code belongs to is left out.
    """
    found: dict[str, dict[str, list[str]]] = {"script": {}, "family": {}}
    for code in sorted(set(codes)):
        known = language(code)
        found["script"].setdefault(script_name(known.script) if known else UNKNOWN, []).append(code)
        found["family"].setdefault(known.family if known and known.family else UNKNOWN, []).append(code)
        if seen is not None:
            trained = _identity(code) in {_identity(other) for other in seen}
            found.setdefault("seen", {}).setdefault("seen" if trained else "unseen", []).append(code)
    return {kind: dict(sorted(members.items())) for kind, members in found.items()}


def _identity(code: str) -> str:
    parsed = _parse(code)
    return code if parsed is None else parsed[1]


def _parse(code: str) -> tuple[str, str, str] | None:
    """The language as written, as CLDR writes it, and its script; None for an unknown language."""
    match = re.fullmatch(r"([a-z]{2,3})(?:[-_]([a-z]{4}))?(?:[-_]([a-z]{2}|\d{3}))?", code, re.IGNORECASE)
    if match is None:
        return None
    base, script, region = match[1].lower(), match[2], match[3]
    canonical, *implied = _unaliased(base).split("_")
    likely: Mapping[str, str] = get_global("likely_subtags")
    usual = likely.get(f"{canonical}_{region.upper()}") if region else None
    usual = usual or likely.get("_".join([canonical, *implied])) or likely.get(canonical)
    if usual is None or canonical == "und":
        return None
    scripts = [script.title() if script else "", *implied, *usual.split("_")[1:]]
    return base, canonical, next(part for part in scripts if len(part) == 4)


def _unaliased(base: str) -> str:
    """As CLDR writes it, with what the code implies: "deu" is "de", "prs" is "fa_AF", "sh" is "sr_Latn"."""
    return get_global("language_aliases").get(base, base)


@cache
def _families() -> Mapping[str, str]:
    """{language: family}."""
    _, *lines = (files("hybrid_jax.eval") / "languages.tsv").read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in lines)
    return {code: family for family, codes in rows for code in codes.split()}
