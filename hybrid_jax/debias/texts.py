"""The texts that a debiasing is fitted on: read, kept apart from the evaluation's, chosen, encoded.

Knows: JSON lines of texts with their languages, in the shapes that `data/formats.py` reads and in {"lang", "text"}.
Does not know: the methods (`debias_fit.py`), what is evaluated. The texts of all files are held in memory while some
are chosen.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from hybrid_jax.data import formats
from hybrid_jax.data.jsonl import first_object, read_objects
from hybrid_jax.data.records import DataError, Row
from hybrid_jax.debias.fit import fit
from hybrid_jax.debias.methods import Debiaser, Method
from hybrid_jax.embed.encoder import TextEncoder
from hybrid_jax.embed.identity import model_identity

LEAST_TEXTS = 50
"""Fewer texts of a language say more about themselves than about the language."""
PER_LANGUAGE = 1000
_FIX = "name more texts with --debias-text"
_SHAPES = ("aligned", "qa", "bitext", "bitext_pairs")
"""The formats whose rows name their language."""


@dataclass(frozen=True)
class FittingText:
    """Texts by language, sorted; `ids` names the record of each: texts of one record are translations."""

    texts: Mapping[str, tuple[str, ...]]
    ids: Mapping[str, tuple[str, ...]]
    left_out: int
    """How many others were left out: those that the evaluation has too, and the other texts of their records."""

    @property
    def sha256(self) -> str:
        """Of the chosen texts, whatever files they came in."""
        return sha256(json.dumps({name: list(texts) for name, texts in self.texts.items()}).encode()).hexdigest()


def read_text(
    paths: Sequence[Path],
    avoid: Collection[str],
    per_language: int = PER_LANGUAGE,
    languages: Collection[str] | None = None,
) -> FittingText:
    """Up to `per_language` texts of every language, or of each of `languages`.

    A line is {"lang", "text"}, with an "id" where it has translations, or a line of the formats aligned, qa, bitext and
    bitext_pairs, whose passage is taken, or the query where there is no passage. A text counts once per language.
    Left out are the texts that `avoid` holds (the evaluation's; compared without spaces around them), and every other
    text of the same record. Those with the smallest hashes of their records' ids are chosen, so that translations are
    chosen together and the order of lines and files does not matter.

    Raises DataError for a bad line, and for a language with fewer than `LEAST_TEXTS` texts.
    """
    if per_language < LEAST_TEXTS:
        raise DataError(f"--debias-texts-per-language {per_language}: give {LEAST_TEXTS} or more")
    avoided = {text.strip() for text in avoid}
    rows = [row for path in paths for row in _rows(path)]
    tainted = {row.id for row in rows if _text(row) in avoided}
    held: dict[str, dict[str, tuple[bytes, str]]] = {name: {} for name in languages or ()}
    left_out: set[tuple[str, str]] = set()
    for row in rows:
        if languages is not None and row.lang not in languages:
            continue
        if row.id in tainted:
            left_out.add((row.lang, _text(row)))
            continue
        texts, key = held.setdefault(row.lang, {}), (sha256(row.id.encode()).digest(), row.id)
        texts[_text(row)] = min(key, texts.get(_text(row), key))
    if few := [f"{len(texts)} in {name}" for name, texts in sorted(held.items()) if len(texts) < LEAST_TEXTS]:
        raise DataError(
            f"{', '.join(map(str, paths))}: too few texts to fit on: {', '.join(few)}, and {LEAST_TEXTS} are needed "
            f"({len(left_out)} are left out because the evaluation has them): {_FIX}"
        )
    if not held:
        raise DataError(f"{', '.join(map(str, paths)) or 'no file'}: no text to fit on: {_FIX}")
    chosen = {
        name: sorted(texts.items(), key=lambda item: (item[1], item[0]))[:per_language]
        for name, texts in sorted(held.items())
    }
    return FittingText(
        {name: tuple(text for text, _ in pairs) for name, pairs in chosen.items()},
        {name: tuple(record for _, (_, record) in pairs) for name, pairs in chosen.items()},
        len(left_out),
    )


def fit_all(encoder: TextEncoder, methods: Sequence[Method], texts: FittingText) -> dict[str, Debiaser]:
    """Every method fitted on the texts, which are encoded once, as passages."""
    languages = [name for name, held in texts.texts.items() for _ in held]
    vectors = encoder.encode_passages([text for held in texts.texts.values() for text in held])
    about = {"text_sha256": texts.sha256, "texts_left_out": texts.left_out, "model": model_identity(encoder.origin)}
    records = [record for ids in texts.ids.values() for record in ids]
    return {name: fit(name, vectors, languages, parallel=records, about=about) for name in methods}


def _text(row: Row) -> str:
    return row.passage if row.passage is not None else row.query or ""


def _rows(path: Path) -> Iterator[Row]:
    """Raises DataError for the first bad line."""
    first = first_object(path)
    if first is not None and {"lang", "text"} <= first.keys():
        shape = _text_rows
    else:
        shape = formats.LINE_FORMATS[_shape(first, path)]
    repairs = formats.Repairs()
    for number, record in read_objects(path, _stop):
        # A pair of sentences has no id: its own content, so that the order of lines does not matter.
        content = sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
        yield from shape(record, formats.Place(f"{path}:{number}", content, repairs))


def _text_rows(record: dict[str, Any], place: formats.Place) -> list[Row]:
    """{"lang", "text", "id"?}: without an id, a text has no translation."""
    text, lang = place.text(record, "text"), place.language(place.get(record, "lang"), "lang")
    return [Row(place.record_id(record) if "id" in record else text, lang, None, text, where=place.where)]


def _shape(first: dict[str, Any] | None, path: Path) -> str:
    try:
        name = formats.detect_format(first, path)
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
