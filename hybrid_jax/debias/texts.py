"""Reads the texts that debiasing is fitted on, leaves out those of the evaluation, selects some, and encodes them.

Files hold rows of {"lang", "text"}, or of those formats of `data/formats.py` that name languages, as JSON lines, CSV,
TSV or Parquet. All their texts are in memory at once.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from hybrid_jax.data import fields, formats
from hybrid_jax.data.recognise import detect_format
from hybrid_jax.data.records import DataError, Row
from hybrid_jax.data.tables import first_record, places, read_records
from hybrid_jax.debias.fit import fit
from hybrid_jax.debias.methods import Debiaser, Method
from hybrid_jax.embed.encoder import TextEncoder
from hybrid_jax.embed.identity import model_identity

LEAST_TEXTS = 50
"""The fewest texts of a language: fewer represent their own content more than the language."""
PER_LANGUAGE = 1000
"""The most texts of a language, by default."""
_FIX = "name more texts with --debias-text"
_SHAPES = ("aligned", "qa", "bitext", "bitext_pairs")
"""The formats whose rows have a language."""


@dataclass(frozen=True)
class FittingText:
    """The selected texts of each language. `ids` has the record of each text; texts of one record are translations."""

    texts: Mapping[str, tuple[str, ...]]
    ids: Mapping[str, tuple[str, ...]]
    left_out: int
    """How many texts were left out: those of the evaluation, and their translations."""

    @property
    def sha256(self) -> str:
        """The hash of the selected texts, whichever files they came from."""
        return sha256(json.dumps({name: list(texts) for name, texts in self.texts.items()}).encode()).hexdigest()


def read_text(
    paths: Sequence[Path],
    avoid: Collection[str],
    per_language: int = PER_LANGUAGE,
    languages: Collection[str] | None = None,
) -> FittingText:
    """Selects up to `per_language` texts of each of `languages`, by default of every language in the files.

    A line is {"lang", "text"}, with an "id" if it has translations, or a line of the formats aligned, qa, bitext and
    bitext_pairs. Of the latter the passage is taken, or the query if there is no passage. Duplicates within a language
    count once. Texts in `avoid` (those of the evaluation, which are cleaned as the files' are) are left out, and so are
    their translations. The texts whose record ids have the smallest hashes are selected, so that translations are
    selected together and the order of lines and files does not matter.

    Raises DataError for a bad line, and for a language with fewer than `LEAST_TEXTS` texts.
    """
    if per_language < LEAST_TEXTS:
        raise DataError(f"--debias-texts-per-language {per_language}: give {LEAST_TEXTS} or more")
    avoided = {fields.cleaned(text) for text in avoid}
    rows = [row for path in paths for row in _rows(path)]
    avoided_records = {row.id for row in rows if _text(row) in avoided}
    candidates: dict[str, dict[str, tuple[bytes, str]]] = {name: {} for name in languages or ()}
    left_out: set[tuple[str, str]] = set()
    for row in rows:
        if languages is not None and row.lang not in languages:
            continue
        if row.id in avoided_records:
            left_out.add((row.lang, _text(row)))
            continue
        texts, key = candidates.setdefault(row.lang, {}), (sha256(row.id.encode()).digest(), row.id)
        texts[_text(row)] = min(key, texts.get(_text(row), key))
    counts = {name: len(texts) for name, texts in sorted(candidates.items())}
    if too_few := [f"{count} in {name}" for name, count in counts.items() if count < LEAST_TEXTS]:
        raise DataError(
            f"{', '.join(map(str, paths))}: too few texts to fit on: {', '.join(too_few)}, and {LEAST_TEXTS} are "
            f"needed ({len(left_out)} are left out because the evaluation has them): {_FIX}"
        )
    if not candidates:
        raise DataError(f"{', '.join(map(str, paths)) or 'no file'}: no text to fit on: {_FIX}")
    chosen = {
        name: sorted(texts.items(), key=lambda item: (item[1], item[0]))[:per_language]
        for name, texts in sorted(candidates.items())
    }
    return FittingText(
        {name: tuple(text for text, _ in pairs) for name, pairs in chosen.items()},
        {name: tuple(record for _, (_, record) in pairs) for name, pairs in chosen.items()},
        len(left_out),
    )


def all_texts(paths: Sequence[Path]) -> frozenset[str]:
    """Every text of the files that could be fitted on, cleaned (`fields.cleaned`). Raises DataError for a bad line."""
    return frozenset(_text(row) for path in paths for row in _rows(path))


def fit_all(encoder: TextEncoder, methods: Sequence[Method], texts: FittingText) -> dict[str, Debiaser]:
    """Encodes the texts as passages, and fits every method to their vectors."""
    languages = [name for name, selected in texts.texts.items() for _ in selected]
    vectors = encoder.encode_passages([text for selected in texts.texts.values() for text in selected])
    records = [record for ids in texts.ids.values() for record in ids]
    fitted_on = {"text_sha256": texts.sha256, "texts_left_out": texts.left_out, "model": model_identity(encoder.origin)}
    debiasers = {name: fit(name, vectors, languages, parallel=records) for name in methods}
    return {
        name: replace(debiaser, facts=debiaser.facts.model_copy(update=fitted_on))
        for name, debiaser in debiasers.items()
    }


def _text(row: Row) -> str:
    return row.passage if row.passage is not None else row.query or ""


def _rows(path: Path) -> Iterator[Row]:
    """Yields the rows of a file. Raises DataError at the first bad line."""
    first = first_record(path)
    if first is not None and {"lang", "text"} <= first.keys():
        shape = _text_rows
    else:
        shape = formats.LINE_FORMATS[_shape(first, path)]
    repairs, place_of = fields.Repairs(), places(path)
    for number, record in read_records(path, _stop):
        # Rows without an id get the hash of their content, so that the order of lines does not matter.
        content = sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
        yield from shape(record, fields.Place(place_of(number), content, repairs))


def _text_rows(record: dict[str, Any], place: fields.Place) -> list[Row]:
    """Reads {"lang", "text"} with an optional "id"; a text without one has no translations."""
    text, lang = place.text(record, "text"), place.language(place.get(record, "lang"), "lang")
    return [Row(place.record_id(record) if "id" in record else text, lang, None, text, where=place.where)]


def _shape(first: dict[str, Any] | None, path: Path) -> str:
    try:
        name = detect_format(first, path)
    except DataError:
        name = "unknown"
    if name not in _SHAPES:
        keys = ", ".join(list(first or {})[:12]) or "none"
        raise DataError(
            f"{path}:1: no texts with their language (format {name}, keys {keys}): write lines of "
            f'{{"lang": "de", "text": "…"}}'
        )
    return name


def _stop(error: DataError) -> None:
    raise error
