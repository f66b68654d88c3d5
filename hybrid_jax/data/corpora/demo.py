"""The demo corpus: facts from Unicode CLDR as aligned questions and passages in 11 languages, generated on demand.

A record is one relation of one entity, a territory, language or currency: "TR-currency" in Arabic, German, Greek and so
on. Only facts that CLDR states unambiguously, with names in every language, are used. The held-out split consists of
(entity, relation) combinations that are not in the training split, although each entity and each relation is: to answer
them, a model has to recombine what it learned. Sentences come from `demo_templates.py`; the facts need no file and no
network, only the `babel` package, which contains the CLDR.
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
"""Currencies change; the corpus must not depend on the day on which it is generated."""


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
    """The rows of a split, in a fixed order: each record in all 11 languages before the next record.

    Raises DataError if there is no such split.
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
            # The paraphrase depends on the language too, so a question does not tell how its translation is worded.
            paraphrase = int(_unit_hash(f"{fact.id}/{lang}") * len(template.questions))
            query = template.questions[paraphrase].format(entity=entity)
            passage = template.passage.format(entity=entity, answer=answer)
            yield Row(id=fact.id, lang=lang, query=query, passage=passage, where=f"demo:{fact.id}")


def describe() -> str:
    """A paragraph for reports: the texts' source, licence and number."""
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
    """A number in [0, 1) that, unlike `hash`, is the same in every process and on every machine."""
    # 53 bits, as a float64 has no more: 64 bits could round up to 1.0, which would index past the last paraphrase.
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 11) / 2**53


@cache
def _heldout() -> frozenset[str]:
    """Ids of the held-out records: a share chosen by hash, which leaves at least one record of each entity."""
    ids_by_entity: dict[str, list[str]] = {}
    for fact in _facts():
        ids_by_entity.setdefault(fact.entity, []).append(fact.id)
    always_train = {max(ids, key=_unit_hash) for ids in ids_by_entity.values()}
    every_id = (id_ for ids in ids_by_entity.values() for id_ in ids)
    return frozenset(id_ for id_ in every_id if _unit_hash(id_) < HELDOUT_SHARE and id_ not in always_train)


@cache
def _facts() -> tuple[_Fact, ...]:
    """All facts whose entity and answer have a name in every language, in a fixed order."""
    territories = _territories()
    facts = [fact for territory in territories for fact in _about_territory(territory)]
    facts += [fact for language in _official_languages(territories) for fact in _about_language(language)]
    facts += [fact for currency in _currencies(territories) for fact in _about_currency(currency)]
    return tuple(facts)


@cache
def _locales() -> dict[str, Locale]:
    return {lang: Locale(lang) for lang in LANGUAGES}


def _names(table: Literal["territories", "languages", "scripts", "currencies"], code: str) -> Names | None:
    """The name of `code` in each language, or None if CLDR has none in one of them."""
    names = {lang: getattr(locale, table).get(code) for lang, locale in _locales().items()}
    return names if all(names.values()) else None


def _same_in_all(text: str) -> Names:
    """An answer that is the same in every language: a code or a number."""
    return dict.fromkeys(LANGUAGES, text)


def _fact(entity: str, relation: str, entity_names: Names | None, answers: Names | None) -> Iterator[_Fact]:
    """Yields the fact, unless CLDR has no unambiguous answer or lacks a name."""
    if entity_names and answers:
        yield _Fact(entity, relation, entity_names, answers)


def _territories() -> list[str]:
    """Codes of territories that have an official language; codes of other than two letters are continents."""
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
    """Language codes without script ("sr_Cyrl" and "sr_Latn" are one), most speakers first."""
    return list(dict.fromkeys(code.split("_")[0] for code in get_official_languages(territory, de_facto=True)))


def _official_languages_of(territory: str) -> Names | None:
    codes = _official_languages_in(territory)
    names_of_all = [names for code in codes if (names := _names("languages", code))]
    if len(names_of_all) < len(codes) or len(codes) > MAX_OFFICIAL_LANGUAGES:
        return None
    return {lang: format_list([names[lang] for names in names_of_all], locale=lang) for lang in LANGUAGES}


def _likely_subtags(*tags: str) -> tuple[str, str, str] | None:
    """(language, script, territory) that CLDR considers likely for the first of the tags that it lists, if any."""
    likely = get_global("likely_subtags")
    for tag in tags:
        if tag in likely:
            language, script, territory = likely[tag].split("_")
            return language, script, territory
    return None


def _script_of_territory(territory: str) -> Names | None:
    """The script of the official languages, if they share one."""
    likely = [_likely_subtags(f"{code}_{territory}", code) for code in _official_languages_in(territory)]
    scripts = {subtags[1] for subtags in likely if subtags}
    return _names("scripts", scripts.pop()) if len(scripts) == 1 and None not in likely else None


def _first_weekday_of(territory: str) -> Names | None:
    try:
        day = Locale.parse(f"und_{territory}").first_week_day
    except UnknownLocaleError:
        return None
    return {lang: locale.days["stand-alone"]["wide"][day] for lang, locale in _locales().items()}


def _zones_of(territory: str) -> list[str]:
    return get_global("territory_zones").get(territory, [])


def _clock_city_of(territory: str) -> Names | None:
    """The city after which the time zone is named, if the territory has only one zone."""
    zones = _zones_of(territory)
    if len(zones) != 1:
        return None
    cities = {lang: locale.time_zones.get(zones[0], {}).get("city") for lang, locale in _locales().items()}
    # CLDR leaves out cities that the identifier ("Europe/Rome") names already (UTS 35, "Time Zone Format").
    from_identifier = zones[0].split("/")[-1].replace("_", " ")
    cities |= {lang: cities[lang] or from_identifier for lang in LATIN_SCRIPT}
    # Zones of islands may be named after the island itself ("Pacific/Fiji"), which is no answer.
    named_after_itself = cities["en"] == _locales()["en"].territories.get(territory)
    return cities if all(cities.values()) and not named_after_itself else None


def _time_name_of(territory: str) -> Names | None:
    """The name of standard time, if all time zones of the territory share one."""
    meta_zones = {get_global("meta_zones").get(zone) for zone in _zones_of(territory)}
    meta_zone = meta_zones.pop() if len(meta_zones) == 1 else None
    if meta_zone is None:
        return None
    names = {
        lang: locale.meta_zones.get(meta_zone, {}).get("long", {}).get("standard")
        for lang, locale in _locales().items()
    }
    return names if all(names.values()) else None


def _official_languages(territories: list[str]) -> list[str]:
    """Codes of languages that are official in some territory or region, sorted."""
    tags = {tag for code in territories for tag in get_official_languages(code, regional=True, de_facto=True)}
    return sorted({tag.split("_")[0] for tag in tags})


def _about_language(language: str) -> Iterator[_Fact]:
    names, likely = _names("languages", language), _likely_subtags(language)
    if likely:
        yield from _fact(language, "writing", names, _names("scripts", likely[1]))
        yield from _fact(language, "home", names, _names("territories", likely[2]))
    yield from _fact(language, "language_code", names, _same_in_all(language))


def _currencies(territories: list[str]) -> list[str]:
    """Codes of currencies that are legal tender in some territory, sorted."""
    return sorted({currency for territory in territories for currency in _tender(territory)})


def _about_currency(currency: str) -> Iterator[_Fact]:
    names = _names("currencies", currency)
    yield from _fact(currency, "currency_code", names, _same_in_all(currency))
    yield from _fact(currency, "decimals", names, _same_in_all(str(get_currency_precision(currency))))
