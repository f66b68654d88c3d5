"""The name, script, family and direction of a language code, and groups of languages by these.

Codes are written as in benchmarks ("zh", "zho_Hans", "pt-BR"). Names and usual scripts are from Unicode CLDR (babel),
families from languages.tsv, which has a line per family: its name, a tab, and the codes of its languages as CLDR writes
them. Families are Glottolog's top level (Afro-Asiatic, Turkic, ...), except that Indo-European, which would hold half
of a benchmark's languages, is divided into branches: Germanic, Slavic, Baltic, Italic (Latin), Romance (the languages
that descend from Latin) and so on. A creole is in the family of the language that its words come from, as in Glottolog.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

from babel import Locale
from babel.core import get_global

from hybrid_jax.data.languages import base_language, language_tag, usual_script

RIGHT_TO_LEFT = frozenset({"Adlm", "Arab", "Aran", "Hebr", "Mand", "Nkoo", "Rohg", "Samr", "Syrc", "Thaa", "Yezi"})
"""Scripts in use today; ISO 15924."""
UNKNOWN = "unknown"
"""The group of codes that CLDR or languages.tsv does not have."""

# Languages of FLORES-200, NTREX and Tatoeba without an English name in CLDR; these names are from ISO 639-3.
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
# CLDR calls these two "Simplified" and "Traditional", because it shows them after "Chinese".
_SCRIPT_NAMES = {"Hans": "Simplified Han", "Hant": "Traditional Han"}


class Language(NamedTuple):
    """What a language's code stands for."""

    code: str
    """As given."""
    name: str
    """In English; the code where CLDR has no name."""
    script: str
    """ISO 15924: the script in the code, or else the one that the language is usually written in."""
    family: str | None
    """None for a language that is not in languages.tsv."""
    direction: Literal["ltr", "rtl"]
    """Of its script, as HTML writes it."""


@cache
def language(code: str) -> Language | None:
    """The language of an ISO 639 code, which may name a script or a region; None for a code that CLDR lacks.

    Case does not matter, and "-" is "_". Three-letter codes stand for the same language as two-letter ones ("deu").
    """
    parsed = _parse(code)
    if parsed is None:
        return None
    base, canonical, script = parsed
    named = {**_NAMES, **Locale("en").languages}
    alias = get_global("language_aliases").get(base, base)  # with the script or region it implies: "prs" is "fa_AF"
    name = next((named[key] for key in (base, alias, canonical) if key in named), code)
    family = _families().get(canonical) or _families().get(base)
    return Language(code, name, script, family, "rtl" if script in RIGHT_TO_LEFT else "ltr")


def script_name(script: str) -> str:
    """In English; the code itself where CLDR has none."""
    return _SCRIPT_NAMES.get(script) or Locale("en").scripts.get(script) or script


def identity(code: str) -> str:
    """The code that all codes of a language share, whatever their script or region: "zh" of "zho_Hant"."""
    parsed = _parse(code)
    return code if parsed is None else parsed[1]


def groups(codes: Iterable[str], trained_on: set[str] | None = None) -> dict[str, dict[str, list[str]]]:
    """{"script": {name: codes}, "family": {name: codes}, "seen": {"seen": codes, "unseen": codes}}, all sorted.

    `trained_on` holds the codes of the languages that a model was trained on; without it there is no "seen". Scripts
    and regions do not matter: a model trained on "zh" has seen "zh-Hant". Empty groups are left out.
    """
    members: dict[str, dict[str, list[str]]] = {"script": {}, "family": {}}
    for code in sorted(set(codes)):
        facts = language(code)
        members["script"].setdefault(script_name(facts.script) if facts else UNKNOWN, []).append(code)
        members["family"].setdefault(facts.family if facts and facts.family else UNKNOWN, []).append(code)
        if trained_on is not None:
            seen = identity(code) in {identity(trained) for trained in trained_on}
            members.setdefault("seen", {}).setdefault("seen" if seen else "unseen", []).append(code)
    return {kind: dict(sorted(by_name.items())) for kind, by_name in members.items()}


def _parse(code: str) -> tuple[str, str, str] | None:
    """The code's language, the same as CLDR writes it, and the script; None for an unknown language."""
    try:
        tag = language_tag(code)
    except ValueError:
        return None
    base, *subtags = re.split("[-_]", code.strip())
    script = next((part.title() for part in subtags if len(part) == 4 and part.isalpha()), usual_script(tag))
    return None if script is None else (base.lower(), base_language(tag), script)


@cache
def _families() -> Mapping[str, str]:
    """{language: family}."""
    _, *lines = (files("hybrid_jax.eval") / "languages.tsv").read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in lines)
    return {code: family for family, codes in rows for code in codes.split()}
