"""The demo corpus: facts of Unicode CLDR as aligned questions and passages in 11 languages, built when it is asked for.

Knows: which facts CLDR states beyond doubt (about territories, languages and currencies), their names in each
language, and which records are held out. Does not know: how a sentence is worded (`demo_templates`), files, batches.

A record is one relation of one entity: "TR-currency" in Arabic, German, Greek and so on. The held-out split keeps
(entity, relation) combinations that training never sees, while every entity and every relation is trained on: answering
it takes recombination. It needs no file and no network, only the `babel` package, which carries the CLDR.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Literal, get_args

import babel
from babel import Locale, UnknownLocaleError
from babel.core import get_global
from babel.languages import get_official_languages
from babel.lists import format_list
from babel.numbers import get_currency_precision, get_territory_currencies

from hybrid_jax.data.corpora.demo_templates import LANGUAGES, RELATIONS, TEMPLATES
from hybrid_jax.data.records import DataError, Row

Split = Literal["train", "heldout"]
Names = dict[str, str]
"""language -> what something is called in it"""

HELDOUT_SHARE = 0.15
MAX_OFFICIAL_LANGUAGES = 3
LATIN_SCRIPT = ("de", "en", "es", "tr", "vi")
AS_OF = date(2026, 1, 1)
"""Currencies change; the corpus must not change with the clock of the machine that builds it."""


@dataclass(frozen=True, slots=True)
class _Fact:
    entity: str
    relation: str
    entity_names: Names
    answers: Names

    @property
    def id(self) -> str:
        return f"{self.entity}-{self.relation}"


def rows(split: Split) -> Iterator[Row]:
    """The records of a split, each in all 11 languages, in a fixed order. Rows of one id follow one another.

    Raises DataError when there is no such split.
    """
    if split not in get_args(Split):
        raise DataError(f"demo: unknown split {split!r}: choose 'train' or 'heldout'")
    heldout = _heldout()
    for fact in _facts():
        if (fact.id in heldout) != (split == "heldout"):
            continue
        for lang in LANGUAGES:
            template = TEMPLATES[lang][fact.relation]
            entity, answer = fact.entity_names[lang], fact.answers[lang]
            # The paraphrase depends on the language too, so that translations do not give their wording away.
            paraphrase = int(_unit_hash(f"{fact.id}/{lang}") * len(template.questions))
            query = template.questions[paraphrase].format(entity=entity)
            passage = template.passage.format(entity=entity, answer=answer)
            yield Row(id=fact.id, lang=lang, query=query, passage=passage, where=f"demo:{fact.id}")


def describe() -> str:
    """One paragraph for reports: where the texts come from, under which licence, and how many there are."""
    facts, heldout = _facts(), _heldout()
    entities = len({fact.entity for fact in facts})
    return (
        f"Demo corpus: {len(facts)} aligned records ({len(facts) - len(heldout)} train, {len(heldout)} held out) about "
        f"{entities} entities and {len(RELATIONS)} relations, each in {len(LANGUAGES)} languages "
        f"({', '.join(LANGUAGES)}). Names and facts: Unicode CLDR (licence Unicode-3.0) as carried by babel "
        f"{babel.__version__}; question and passage wording: hybrid_jax. Held-out records are combinations of a "
        f"trained entity and a trained relation that are never trained on together."
    )


def _unit_hash(text: str) -> float:
    """A number in [0, 1) that is the same in every process and on every machine, unlike `hash`."""
    # 53 bits, not 64: a float64 holds no more, and rounding up to exactly 1.0 would index past the last paraphrase.
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 11) / 2**53


@cache
def _heldout() -> frozenset[str]:
    """Ids of the held-out records: a share by hash, sparing one record of every entity for training."""
    of_entity: dict[str, list[str]] = {}
    for fact in _facts():
        of_entity.setdefault(fact.entity, []).append(fact.id)
    spared = {max(ids, key=_unit_hash) for ids in of_entity.values()}
    return frozenset(
        id_ for ids in of_entity.values() for id_ in ids if _unit_hash(id_) < HELDOUT_SHARE and id_ not in spared
    )


@cache
def _facts() -> tuple[_Fact, ...]:
    """Every fact whose entity and answer have a name in all languages, in a fixed order."""
    territories = _territories()
    facts = [fact for territory in territories for fact in _about_territory(territory)]
    facts += [fact for language in _official_languages(territories) for fact in _about_language(language)]
    facts += [fact for currency in _currencies(territories) for fact in _about_currency(currency)]
    return tuple(facts)


@cache
def _locales() -> dict[str, Locale]:
    return {lang: Locale(lang) for lang in LANGUAGES}


def _names(table: Literal["territories", "languages", "scripts", "currencies"], code: str) -> Names | None:
    """What `code` is called in each language, or None where CLDR leaves one of them out."""
    names = {lang: getattr(locale, table).get(code) for lang, locale in _locales().items()}
    return names if all(names.values()) else None


def _same(text: str) -> Names:
    """An answer that reads alike in every language: a code or a number."""
    return dict.fromkeys(LANGUAGES, text)


def _fact(entity: str, relation: str, entity_names: Names | None, answers: Names | None) -> Iterator[_Fact]:
    """The fact, unless CLDR lacks one of its names or does not settle its answer."""
    if entity_names and answers:
        yield _Fact(entity, relation, entity_names, answers)


def _territories() -> list[str]:
    """Countries and territories (two letters; the other codes are continents) that have an official language."""
    codes = sorted(str(code) for code in _locales()["en"].territories)
    return [code for code in codes if len(code) == 2 and get_official_languages(code, de_facto=True)]


def _about_territory(territory: str) -> Iterator[_Fact]:
    names = _names("territories", territory)
    yield from _fact(territory, "currency", names, _currency_of(territory))
    yield from _fact(territory, "official", names, _official_languages_of(territory))
    yield from _fact(territory, "script", names, _script_of_territory(territory))
    yield from _fact(territory, "week", names, _first_weekday_of(territory))
    yield from _fact(territory, "clock", names, _clock_city_of(territory))
    yield from _fact(territory, "time", names, _time_name_of(territory))


def _tender(territory: str) -> list[str]:
    return get_territory_currencies(territory, start_date=AS_OF, end_date=AS_OF, tender=True)


def _currency_of(territory: str) -> Names | None:
    tender = _tender(territory)
    return _names("currencies", tender[0]) if len(tender) == 1 else None


def _official_languages_in(territory: str) -> list[str]:
    """Languages without their script ("sr_Cyrl" and "sr_Latn" are one), most speakers first."""
    return list(dict.fromkeys(code.split("_")[0] for code in get_official_languages(territory, de_facto=True)))


def _official_languages_of(territory: str) -> Names | None:
    codes = _official_languages_in(territory)
    each = [names for code in codes if (names := _names("languages", code))]
    if len(each) < len(codes) or len(each) > MAX_OFFICIAL_LANGUAGES:
        return None
    return {lang: format_list([names[lang] for names in each], locale=lang) for lang in LANGUAGES}


def _likely_subtags(*tags: str) -> tuple[str, str, str] | None:
    """(language, script, territory) that CLDR takes the first tag it knows ("pa_PK", else "pa") to stand for."""
    known = get_global("likely_subtags")
    for tag in tags:
        if tag in known:
            language, script, territory = known[tag].split("_")
            return language, script, territory
    return None


def _script_of_territory(territory: str) -> Names | None:
    """The script of the official languages, where they share one."""
    each = [_likely_subtags(f"{code}_{territory}", code) for code in _official_languages_in(territory)]
    scripts = {subtags[1] for subtags in each if subtags}
    return _names("scripts", scripts.pop()) if len(scripts) == 1 and None not in each else None


def _first_weekday_of(territory: str) -> Names | None:
    try:
        day = Locale.parse(f"und_{territory}").first_week_day
    except UnknownLocaleError:
        return None
    return {lang: locale.days["stand-alone"]["wide"][day] for lang, locale in _locales().items()}


def _zones_of(territory: str) -> list[str]:
    return get_global("territory_zones").get(territory, [])


def _clock_city_of(territory: str) -> Names | None:
    """The city that stands for the only time zone."""
    zones = _zones_of(territory)
    if len(zones) != 1:
        return None
    cities = {lang: locale.time_zones.get(zones[0], {}).get("city") for lang, locale in _locales().items()}
    # Where CLDR names no city, the identifier ("Europe/Rome") does (UTS 35, "Time Zone Format"), in Latin letters.
    from_identifier = zones[0].split("/")[-1].replace("_", " ")
    cities |= {lang: cities[lang] or from_identifier for lang in LATIN_SCRIPT}
    # Island zones may be named after the island itself ("Pacific/Fiji"): that is no city, and no answer.
    named_after_itself = cities["en"] == _locales()["en"].territories.get(territory)
    return cities if all(cities.values()) and not named_after_itself else None


def _time_name_of(territory: str) -> Names | None:
    """What standard time is called, where all time zones of the territory share a name."""
    kinds = {get_global("meta_zones").get(zone) for zone in _zones_of(territory)}
    kind = kinds.pop() if len(kinds) == 1 else None
    if kind is None:
        return None
    names = {
        lang: locale.meta_zones.get(kind, {}).get("long", {}).get("standard") for lang, locale in _locales().items()
    }
    return names if all(names.values()) else None


def _official_languages(territories: list[str]) -> list[str]:
    """Languages that are official somewhere, if only in a region, in alphabetical order."""
    tags = {tag for code in territories for tag in get_official_languages(code, regional=True, de_facto=True)}
    return sorted({tag.split("_")[0] for tag in tags})


def _about_language(language: str) -> Iterator[_Fact]:
    names, likely = _names("languages", language), _likely_subtags(language)
    if likely:
        yield from _fact(language, "writing", names, _names("scripts", likely[1]))
        yield from _fact(language, "home", names, _names("territories", likely[2]))
    yield from _fact(language, "language_code", names, _same(language))


def _currencies(territories: list[str]) -> list[str]:
    """Currencies that are legal tender somewhere, in alphabetical order."""
    return sorted({currency for territory in territories for currency in _tender(territory)})


def _about_currency(currency: str) -> Iterator[_Fact]:
    names = _names("currencies", currency)
    yield from _fact(currency, "currency_code", names, _same(currency))
    yield from _fact(currency, "decimals", names, _same(str(get_currency_precision(currency))))
