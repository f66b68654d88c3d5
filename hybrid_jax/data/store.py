"""The store: a dataset's rows as memory-mapped arrays, for random access whatever the dataset's format was.

`write_store` (store_writer.py) reads a dataset once; `Store` opens the folder in milliseconds and reads from disk only
what is used. A *record* is all rows of one id, an *entry* a record in one language, a *text* a distinct string.

    texts.bin, texts_offsets.npy  all distinct texts, UTF-8           text_group.npy    int32 per text
    ids.bin, ids_offsets.npy      the records' ids, likewise          record_hash.npy   uint64 per record
    entries.npy                   ENTRY per entry, by record          negatives.npy     int32 text numbers
    record_offsets.npy            first entry of each record          meta.json         counts and notes
"""

import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hybrid_jax.data.hashing import mix
from hybrid_jax.data.on_disk import Strings
from hybrid_jax.data.schedule import KINDS, Kind, Pools

ENTRY = np.dtype(
    [
        ("record", np.int32),
        ("lang", np.int16),
        ("query", np.int32),  # text number, -1 where this language has no query
        ("passage", np.int32),
        ("first_negative", np.int32),
        ("negatives", np.int32),
    ]
)


class Store:
    """A dataset on disk: `store.texts[i]`, `store.ids[i]`, `store.entries`, `store.pools(...)`.

    Attributes: `texts` and `ids` (of records), read from disk one at a time; `languages` (codes; entries have their
    numbers), `entries` (ENTRY[entries], sorted by record), `record_offsets` (int64[records + 1]), `text_group`
    (int32[texts]), `negatives` (int32), `meta`, and `kinds` (of pairs that the dataset is used for).

    A *group* is a passage with its translations, its copies and whatever else answers the same record's query: two
    texts are in one group if they are positives of the same record, have the same document id, are equal in plain form
    with or without their titles (see `links`), or are linked by a chain of such texts. A passage in the group of a
    query's positive is never that query's negative.
    """

    def __init__(self, folder: Path, kinds: tuple[Kind, ...] = KINDS):
        self.folder = folder
        self.kinds = kinds
        self.meta: dict[str, Any] = json.loads((folder / "meta.json").read_text())
        self.languages: list[str] = self.meta["languages"]
        self.entries, self.record_offsets, self.text_group, self.negatives = (
            np.load(folder / f"{name}.npy", mmap_mode="r")
            for name in ("entries", "record_offsets", "text_group", "negatives")
        )
        self.texts, self.ids = Strings(folder, "texts"), Strings(folder, "ids")

    @cached_property
    def record_group(self) -> np.ndarray:
        """int32[records]: the group of each record's passages, -1 if it has none."""
        groups = np.full(len(self.record_offsets) - 1, -1, np.int32)
        with_passage = self.entries[self.entries["passage"] >= 0]
        groups[with_passage["record"]] = self.text_group[with_passage["passage"]]
        return groups

    @cached_property
    def pair_languages(self) -> np.ndarray:
        """int64[records]: in how many languages each record has both a query and a passage."""
        both = (self.entries["query"] >= 0) & (self.entries["passage"] >= 0)
        return np.bincount(self.entries["record"][both], minlength=len(self.record_offsets) - 1)

    @cached_property
    def in_two_languages(self) -> np.ndarray:
        """bool[records]: whether a record has a query and a passage in two different languages."""
        record, size = self.entries["record"], len(self.record_offsets) - 1
        has_query, has_passage = self.entries["query"] >= 0, self.entries["passage"] >= 0
        queries, passages, pairs = (
            np.bincount(record[mask], minlength=size) for mask in (has_query, has_passage, has_query & has_passage)
        )
        return queries * passages > pairs

    def describe_uses(self, kinds: Iterable[Kind]) -> list[str]:
        """Lines that count the records which give pairs of some of `kinds` only, or of none. Aligned ones are apart."""
        one, two = self.pair_languages > 0, self.in_two_languages
        in_one, in_two = not {"monolingual", "same_language"}.isdisjoint(kinds), "cross_lingual" in kinds
        both = in_one and in_two
        counts = {
            "serve monolingual only: their query and passage are in one language": both & one & ~two,
            "serve cross_lingual only: no language has both their query and their passage": both & two & ~one,
            "serve no batch: a query or a passage is missing": both & ~one & ~two,
            "serve no batch: no language has both their query and their passage": (in_one and not in_two) & ~one,
            "serve no batch: no query and passage in two languages": (in_two and not in_one) & ~two,
        }
        return [f"{mask.sum():,} records {text}" for text, mask in counts.items() if mask.any()]

    def describe_aligned(self) -> str:
        """A line: the number of records in aligned batches, by number of languages, and of those that cannot be."""
        languages, records = np.unique(self.pair_languages, return_counts=True)
        counts = {int(number): int(count) for number, count in zip(languages, records, strict=True)}
        alone = sum(counts.pop(number, 0) for number in (0, 1))
        parts = [f"{count:,} in {number}" for number, count in counts.items()]
        drawn = f"aligned batches draw from {sum(counts.values()):,} records"
        drawn += f" ({', '.join(parts)} languages)" if parts else ""
        return drawn + (f"; {alone:,} have query and passage in fewer than two languages" if alone else "")

    def held_out(self, fraction: float) -> np.ndarray:
        """bool[records]: a share of the records, chosen by hash, for the held-out loss.

        Whole groups are chosen, so that no held-out passage is in the training data of this dataset in another record
        or language as a passage. It may be a hard negative there, and other datasets may have it.
        """
        hashes = np.load(self.folder / "record_hash.npy")
        group = np.where(self.record_group >= 0, self.record_group, len(self.texts) + np.arange(len(hashes)))
        smallest = np.full(len(self.texts) + len(hashes), np.iinfo(np.uint64).max, np.uint64)
        np.minimum.at(smallest, group, hashes)
        return mix(smallest[group]) / 2.0**64 < fraction

    def pools(self, kind: Kind, records: np.ndarray) -> dict[str | None, np.ndarray]:
        """The rows of each pool of a kind, among `records` (bool[records]).

        For the monolingual kind, entry numbers by language code. For kinds that mix languages, record numbers under the
        key None. {} if the dataset is not used for this kind.
        """
        if kind not in self.kinds:
            return {}
        has_query, has_passage = self.entries["query"] >= 0, self.entries["passage"] >= 0
        record = self.entries["record"]
        both = has_query & has_passage & records[record]
        if kind == "monolingual":
            langs = self.entries["lang"]
            pools = {self.languages[lang]: np.flatnonzero(both & (langs == lang)) for lang in np.unique(langs[both])}
            return dict(sorted(pools.items()))
        if kind == "same_language":
            return {None: np.unique(record[both])}
        if kind == "aligned":
            return {None: np.flatnonzero(records & (self.pair_languages >= 2))}
        return {None: np.flatnonzero(records & self.in_two_languages)}


def pool_sizes(store: Store, pools: dict[Kind, dict[str | None, np.ndarray]]) -> Pools:
    """The sizes of the store's pools, for the schedule."""
    monolingual = {str(lang): len(rows) for lang, rows in pools.get("monolingual", {}).items() if len(rows)}
    mixed = {kind: sum(map(len, by_language.values())) for kind, by_language in pools.items()}
    aligned = [store.pair_languages[records] for records in pools.get("aligned", {}).values()]
    return Pools(
        monolingual,
        mixed.get("same_language", 0),
        mixed.get("cross_lingual", 0),
        np.concatenate([np.zeros(0, np.int64), *aligned]),
    )
