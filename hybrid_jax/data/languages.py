"""One code per language: `language_tag` turns what people write into the shortest tag that says the same.

    en, eng, en_US, eng_Latn -> en      arb_Arab -> ar      iw -> he      cmn_Hans, zh-CN -> zh      zh-TW -> zh-Hant

A tag is a language (ISO 639: two letters where there are two), then a script and a region where these are not the usual
ones of the language. Equal tags are the same language everywhere here, and different tags are different languages.
"""

import difflib
import re
from collections.abc import Mapping
from functools import cache

import langcodes
from babel import Locale
from babel.core import get_global

CODE_EXAMPLES = "such as 'de', 'deu', 'zh-Hant' or 'arb_Arab'"

_SHAPE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_NO_LANGUAGE = frozenset({"mis", "mul", "und", "zxx"})
"""ISO 639's codes for uncoded, multiple, undetermined and no languages."""


@cache
def language_tag(code: str) -> str:
    """The one tag of a language: canonical by BCP 47, without the script and the region that are likely anyway.

    Retired codes, three-letter codes and the individual language that usually stands for a macrolanguage become the
    code in use (CLDR's aliases, through `langcodes`): "iw" is "he", "arb" is "ar", "cmn" is "zh". Then "Remove Likely
    Subtags" of Unicode Technical Standard 35 section 4.3 is applied, scripts first. Raises ValueError for a code that
    the IANA registry does not have, with the nearest one.
    """
    language = _parsed(code)
    if language is None:
        raise ValueError(f"unknown language code {code!r}, {_advice(code)}")
    base, script, region = language.language or "", language.script, language.territory
    alias = get_global("language_aliases").get(base, base)
    base = base if "_" in alias else alias  # babel's is newer here, too: "ajp" is "apc" since 2023
    script = "Kore" if (base, script) == ("ko", "Hang") else script  # Hangul is how Korean is written, says FLORES
    full = _likely(base, script, region)
    tags = ((base, None, None), (base, full[1], None), (base, None, region), (base, script, region))
    shortest = next(tag for tag in tags if tag == (base, script, region) or _likely(*tag) == full)
    return "-".join([*filter(None, shortest), *(language.variants or ())])


def tag_or_code(code: str) -> str:
    """`language_tag`, or the code itself where it is of no language that is known."""
    try:
        return language_tag(code)
    except ValueError:
        return code


def base_language(tag: str) -> str:
    """The language of a tag of `language_tag`, without its script, region and variants."""
    return tag.split("-")[0]


def usual_script(tag: str) -> str | None:
    """The script that a tag names, or else the one in which its language is usually written; None if not known."""
    language = langcodes.Language.get(tag, normalize=False)
    return _likely(base_language(tag), language.script, language.territory)[1]


def is_language_key(key: str) -> bool:
    """Whether a key or column is taken for a language where nothing else says what it is.

    Every second word of three letters is the code of some language ("set", "tag", "doc"), so a code without script or
    region counts only if Unicode CLDR has an English name for it.
    """
    try:
        language_tag(key)
    except ValueError:
        return False
    return re.split("[-_]", key.lower(), maxsplit=1)[0] in _well_known() or re.search("[-_]", key) is not None


def _parsed(code: str) -> langcodes.Language | None:
    """The language of a code, canonical; None for what is no language, script, region or variant."""
    text = code.strip().replace("_", "-")
    if not code.isascii() or not _SHAPE.fullmatch(text):
        return None
    try:
        base, *subtags = text.split("-")
        if base.lower() in Locale("en").languages:  # babel's table is the newer of the two: it has "tok"
            base = "en"
        if not langcodes.tag_is_valid("-".join([base, *subtags])):
            return None
        language = langcodes.Language.get(langcodes.standardize_tag(text, macro=True), normalize=False)
    except ValueError:
        return None
    base, region = language.language or "und", language.territory
    if language.private or language.extensions or "qaa" <= base <= "qtz" or base in _NO_LANGUAGE:
        return None
    return language if region is None or region in Locale("en").territories else None


def _likely(language: str, script: str | None, region: str | None) -> tuple[str, str | None, str | None]:
    """The same with the script and region filled in that CLDR finds likely ("Add Likely Subtags" of the standard)."""
    likely: Mapping[str, str] = get_global("likely_subtags")
    for present in ((language, script, region), (language, script), (language, region), (language,)):
        if all(present) and (value := likely.get("_".join(map(str, present)))):
            _, usual, where = value.split("_")
            return language, script or usual, region or where
    return language, script, region


@cache
def _well_known() -> frozenset[str]:
    names = {str(code).split("_")[0] for code in Locale("en").languages} - _NO_LANGUAGE
    aliases: Mapping[str, str] = get_global("language_aliases")
    return frozenset({*names, *(alias for alias, code in aliases.items() if code in names)})


def _advice(code: str) -> str:
    """What to write in place of an unknown code: by its English name, as a country's code, or by its letters."""
    text = code.strip()
    if text.lower() in _NO_LANGUAGE:
        return f"which says that there is no one language: write the texts' own, {CODE_EXAMPLES}"
    names: Mapping[str, str] = {str(tag): str(name) for tag, name in Locale("en").languages.items()}
    territories = Locale("en").territories
    by_name = {name.casefold(): tag for tag, name in names.items() if "_" not in tag}
    if (country := text.upper()) in territories and (spoken := get_global("likely_subtags").get(f"und_{country}")):
        tag = spoken.split("_")[0]
        return f"did you mean {tag!r} ({names.get(tag, tag)})? {text!r} is the country {territories[country]}"
    near = difflib.get_close_matches(text.casefold(), by_name, n=1, cutoff=0.8)
    if near:
        return f"write {by_name[near[0]]!r}"
    parts = re.split("[-_]", text)
    if len(parts) > 1 and _parsed(parts[0]) is not None:
        return f"write {language_tag(parts[0])!r}, or add a script or region as in 'zh-Hant' or 'pt-BR'"
    near = difflib.get_close_matches(text.lower(), [tag for tag in names if "_" not in tag], n=1, cutoff=0.6)
    if len(text) > 2 and near:
        return f"the nearest is {near[0]!r} ({names[near[0]]})"
    return f"write one of ISO 639, {CODE_EXAMPLES}"
