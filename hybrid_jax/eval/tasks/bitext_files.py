"""Anybody's bitext as a task: a file with a column for each language, or a folder with a text file for each.

    FILE                 rows of the formats `bitext` and `bitext_pairs` (docs/data.md): JSON lines, CSV, TSV or Parquet
    FOLDER/test.en       line i of each file translates line i of the others; a part of a file's name between dots is
    FOLDER/test.de       the code of its language

All pairs of languages are scored; of more than ten languages, English (or the first) with each other. A line is left
out of the pairs in which it lacks a text. Texts are stripped of white space around them.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path

from hybrid_jax.data.columns import renamed
from hybrid_jax.data.fields import Place, Repairs
from hybrid_jax.data.formats import BITEXTS, LINE_FORMATS
from hybrid_jax.data.languages import is_language_key, language_tag
from hybrid_jax.data.recognise import detect_format
from hybrid_jax.data.records import DataError
from hybrid_jax.data.tables import first_record, is_table, places, read_records
from hybrid_jax.eval.tasks.base import BitextTask
from hybrid_jax.eval.tasks.files import read_lines, sha256

FIX = (
    "a bitext is a file with a column for each language (en, de, …) or a folder with a text file for each (test.en, "
    "test.de, …)"
)
MOST_SENTENCES = 10_000
"""All similarities of a pair are in memory, several times: 0.8 GB for so many each time."""
MOST_LANGUAGES = 10
"""More are paired with one language instead of with each other."""

_Texts = Mapping[str, str]
"""The texts of one line by language."""


def bitext(path: Path) -> BitextTask:
    """The bitext of a file or folder. Raises DataError for one without two languages, and with more than 10,000
    sentences in a pair of them."""
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; {FIX}")
    lines, sources = _of_folder(path) if path.is_dir() else (_of_file(path), {path.name: sha256(path)})
    name = path.resolve().name if path.is_dir() else path.name.partition(".")[0]
    pairs, numbers, incomplete = _pairs(lines)
    if not pairs:
        raise DataError(f"{path}: no line has texts in two languages; {FIX}")
    for (left, right), (sentences, _) in pairs.items():
        if len(sentences) > MOST_SENTENCES:
            raise DataError(
                f"{path}: {len(sentences):,} sentences in {left} and {right}, but each is compared with all others, of "
                f"at most {MOST_SENTENCES:,}: take a part of the lines"
            )
    languages = list(dict.fromkeys(language for pair in pairs for language in pair))
    about = f"{path.name}, {len(pairs)} pairs of {len(languages)} languages"
    about += f"; {incomplete:,} lines lack a text in some of them" if incomplete else ""
    return BitextTask(f"bitext:{name}", pairs, about, sources, numbers)


def _of_file(path: Path) -> list[_Texts]:
    first, repairs, place_of = first_record(path), Repairs(), places(path)
    noun = "column" if is_table(path) else "key"

    def place(number: int) -> Place:
        where = place_of(number)
        return Place(where, where, repairs, noun=noun)

    try:
        name = detect_format(first and renamed(first, {}, place(1)), path)
    except DataError:
        name = "unknown"
    if name not in BITEXTS:
        raise DataError(f"{path}: fewer than two {noun}s are codes of languages ({place(1).names(first or {})}); {FIX}")
    lines: list[_Texts] = []
    for number, record in read_records(path, _refuse):
        rows = LINE_FORMATS[name](renamed(record, {}, place(number)), place(number))
        lines.append({row.lang: row.passage for row in rows if row.passage is not None})
    return lines


def _of_folder(folder: Path) -> tuple[Iterator[_Texts], dict[str, str]]:
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        language = _language_in_name(path)
        if language is None:
            continue
        if language in files:
            raise DataError(f"{folder}: {files[language].name} and {path.name} are both {language}, keep one of them")
        files[language] = path
    if len(files) < 2:
        raise DataError(f"{folder}: {len(files)} files are named by a language, a bitext needs two; {FIX}")
    texts: dict[str, tuple[str, ...]] = {}
    sources: dict[str, str] = {}
    for language, path in files.items():
        texts[language], sources[path.name] = read_lines(path, FIX)
    counts = {language: len(lines) for language, lines in texts.items()}
    if len(set(counts.values())) > 1:
        shown = ", ".join(f"{count:,} in {files[language].name}" for language, count in counts.items())
        raise DataError(f"{folder}: the files have different numbers of lines ({shown}): line i must translate line i")
    rows = (map(str.strip, row) for row in zip(*texts.values(), strict=True))
    return ({language: text for language, text in zip(texts, row, strict=True) if text} for row in rows), sources


def _language_in_name(path: Path) -> str | None:
    """ "de" for test.de, deu_Latn.devtest and news.de.txt; None for hidden files and what names no language."""
    codes = [part for part in path.name.split(".") if is_language_key(part)]
    return language_tag(codes[-1]) if codes and path.is_file() and not path.name.startswith(".") else None


def _pairs(
    lines: Iterable[_Texts],
) -> tuple[dict[tuple[str, str], tuple[list[str], list[str]]], dict[tuple[str, str], list[int]], int]:
    """The sentences of each pair of languages, the numbers of their lines, and how many lines lack a text in some
    language."""
    lines = list(lines)
    languages = list(dict.fromkeys(language for line in lines for language in line))
    couples = list(combinations(languages, 2))
    if len(languages) > MOST_LANGUAGES:
        centre = "en" if "en" in languages else languages[0]
        couples = [(centre, language) for language in languages if language != centre]
    pairs: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
    numbers: dict[tuple[str, str], list[int]] = {}
    for left, right in couples:
        both = {number: line for number, line in enumerate(lines, start=1) if left in line and right in line}
        if both:
            pairs[left, right] = [line[left] for line in both.values()], [line[right] for line in both.values()]
            numbers[left, right] = list(both)
    return pairs, numbers, sum(len(line) < len(languages) for line in lines)


def _refuse(error: DataError) -> None:
    raise error
