"""Writing a store: rows are appended to columns on disk as they are read, and grouped when the last one is there.

Memory holds digests in flat arrays, about 200 bytes at most for a row of two texts, and no Python object per row.
"""

import json
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_jax.data.digests import DigestNumbers
from hybrid_jax.data.hashing import hash_ints
from hybrid_jax.data.links import Links
from hybrid_jax.data.on_disk import StringWriter, writing
from hybrid_jax.data.records import DataError, Passage, Row
from hybrid_jax.data.store import ENTRY
from hybrid_jax.disk.manifest import sealed_folder

_PACK_ENTRY = struct.Struct("<ihiiii").pack
_PACK_HASH = struct.Struct("<Q").pack
_PACK_NUMBER = struct.Struct("<i").pack


def write_store(rows: Iterable[Row], folder: Path, meta: Callable[[], dict[str, Any]]) -> None:
    """Reads all rows and writes their store to `folder` atomically.

    `meta()` is called after the last row, so that it can report on the reading. Raises DataError if there are no rows.
    """
    with sealed_folder(folder) as part:
        links = Links()
        languages = _write_columns(rows, part, links)
        table, negatives = np.load(part / "entries.npy"), np.load(part / "negatives.npy")
        if not len(table):
            raise DataError(f"{part.name.split('-')[0]}: a dataset without rows")
        records = int(table["record"].max()) + 1
        if (np.diff(table["record"]) < 0).any():  # a record's rows lie apart
            table = table[np.argsort(table["record"], kind="stable")]
            np.save(part / "entries.npy", table)
        np.save(part / "record_offsets.npy", np.searchsorted(table["record"], np.arange(records + 1)).astype(np.int64))
        text_group, linked = links.groups(table, negatives, records)
        np.save(part / "text_group.npy", text_group)
        counts = {"records": records, "entries": len(table), "texts": len(text_group)}
        (part / "meta.json").write_text(json.dumps({**meta(), **counts, "linked": linked, "languages": languages}))


def _write_columns(rows: Iterable[Row], part: Path, links: Links) -> list[str]:
    """Writes what is known of a row as soon as it is read: texts, ids, entries in the order of the rows.

    Returns the languages, in the order of their numbers.
    """
    records, languages = DigestNumbers(), dict[str, int]()
    negatives = 0
    with writing(part) as columns:
        texts = _TextWriter(columns.strings("texts"), links)
        ids, hashes = columns.strings("ids"), columns.array("record_hash", np.uint64)
        entries, negative_texts = columns.array("entries", ENTRY), columns.array("negatives", np.int32)
        for row in rows:
            name = row.id.encode()
            record, is_new = records.add(name)
            if is_new:
                ids.add(name)
                hashes.add(_PACK_HASH(hash_ints(row.id)))
            lang = languages.setdefault(row.lang, len(languages))
            query = -1 if row.query is None else texts.add(row.query)
            positive = None if row.passage is None else Passage(row.passage, row.title, row.passage_id)
            passage = -1 if positive is None else texts.add_passage(positive)
            entries.add(_PACK_ENTRY(record, lang, query, passage, negatives, len(row.negatives)))
            for negative in row.negatives:
                negative_texts.add(_PACK_NUMBER(texts.add_passage(negative)))
            negatives += len(row.negatives)
            links.add_record(record, row)
    return list(languages)


class _TextWriter:
    """Gives each distinct text a number, appends new ones to a file, and links those that are one passage."""

    def __init__(self, out: StringWriter, links: Links):
        self._out, self._links, self._numbers = out, links, DigestNumbers()

    def add(self, text: str) -> int:
        """The text's number."""
        data = text.encode()
        number, is_new = self._numbers.add(data)
        if is_new:
            self._out.add(data)
            self._links.add_text(text)
        return number

    def add_passage(self, passage: Passage) -> int:
        """The number of the passage's text with its title."""
        number = self.add(passage.with_title)
        self._links.add_passage(number, passage)
        return number
