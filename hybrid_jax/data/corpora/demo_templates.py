"""The wording of the demo corpus: every question and passage in each language, read from `wording/<language>.txt`.

To correct a language, edit its file; to add one, add a file. Under each [relation], lines that begin with "?" are
paraphrases of its question, and the line that begins with "=" is the passage. Names of countries inflect, take articles
or harmonise their vowels in many languages, and Unicode CLDR has only the dictionary form, so a sentence puts them
beside a colon or in quotation marks.
"""

from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

from hybrid_jax.data.records import DataError


class Template(NamedTuple):
    """One relation in one language. Questions contain `{entity}`, the passage `{entity}` and `{answer}`, once each."""

    questions: tuple[str, ...]
    passage: str


TERRITORY_RELATIONS = ("currency", "official", "script", "week", "clock", "time")
LANGUAGE_RELATIONS = ("writing", "home", "language_code")
CURRENCY_RELATIONS = ("currency_code", "decimals")
RELATIONS = TERRITORY_RELATIONS + LANGUAGE_RELATIONS + CURRENCY_RELATIONS


def parse(text: str, file: str) -> dict[str, Template]:
    """relation -> template, from the text of one language's file; `file` is its name, for errors.

    Raises DataError with file and line for a relation that is unknown, missing or there twice, a line that is neither
    question nor passage, a wrong placeholder, fewer than two different questions, or more or less than one passage.
    """
    first_line: dict[str, int] = {}
    questions: dict[str, list[str]] = {}
    passages: dict[str, list[str]] = {}
    relation = None
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{file}:{number}"
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("[") and line.endswith("]"):
            relation = line[1:-1]
            if relation not in RELATIONS:
                raise DataError(f"{where}: unknown relation {relation!r}, use one of {', '.join(RELATIONS)}")
            if relation in first_line:
                raise DataError(f"{where}: [{relation}] is in line {first_line[relation]} already, remove one of them")
            first_line[relation], questions[relation], passages[relation] = number, [], []
            continue
        sign, sentence = line[0], line[1:].strip()
        if relation is None or sign not in "?=":
            raise DataError(f'{where}: expected [relation], "? question" or "= passage", got {line[:40]!r}')
        placeholders = ("{entity}",) if sign == "?" else ("{entity}", "{answer}")
        _check_placeholders(sentence, placeholders, where)
        (questions if sign == "?" else passages)[relation].append(sentence)
    for relation in RELATIONS:
        if relation not in first_line:
            raise DataError(f"{file}: no [{relation}], add its questions and passage")
        where = f"{file}:{first_line[relation]}"
        if len(set(questions[relation])) < max(2, len(questions[relation])):
            raise DataError(f"{where}: [{relation}] needs two or more different questions (lines that begin with ?)")
        if len(passages[relation]) != 1:
            raise DataError(f"{where}: [{relation}] has {len(passages[relation])} passages (=), write exactly one")
    return {relation: Template(tuple(questions[relation]), passages[relation][0]) for relation in RELATIONS}


def _check_placeholders(sentence: str, placeholders: tuple[str, ...], where: str) -> None:
    rest = sentence
    for placeholder in placeholders:
        if sentence.count(placeholder) != 1:
            raise DataError(f"{where}: {placeholder} must occur once, occurs {sentence.count(placeholder)} times")
        rest = rest.replace(placeholder, "")
    if "{" in rest or "}" in rest:
        raise DataError(f"{where}: only {' and '.join(placeholders)} can be filled in here, remove other braces")


def _read(file: Traversable) -> dict[str, Template]:
    try:
        return parse(file.read_text(encoding="utf-8"), str(file))
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 at byte {error.start}, save it as UTF-8") from None


_FOLDER = files("hybrid_jax.data.corpora") / "wording"
_FILES = {file.name.removesuffix(".txt"): file for file in _FOLDER.iterdir() if file.name.endswith(".txt")}

LANGUAGES = tuple(sorted(_FILES))

TEMPLATES: dict[str, dict[str, Template]] = {lang: _read(_FILES[lang]) for lang in LANGUAGES}
"""language -> relation -> its wording"""
