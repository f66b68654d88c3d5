"""The held-out pool: some held-out records, in all of their languages, as one small retrieval task of tokens.

Queries and passages are numbered as the texts of a batch: the queries, then the passages. A passage is relevant to a
query if it is in the group of the query's record (see `Store`): the positive, its translations and its copies.
A text of a bitext is its own positive, so a record of one has a query in one of its languages, chosen by its hash, and
passages in the others.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from hybrid_jax.data.batch import PackedBatch
from hybrid_jax.data.layout import Layout
from hybrid_jax.data.packing import fill, pack
from hybrid_jax.data.records import DataError
from hybrid_jax.data.store import Store
from hybrid_jax.data.tokens import TokenTable


@dataclass(frozen=True)
class PoolText:
    """A query or a passage of the pool."""

    id: str
    """Dataset and record of a query, dataset and number of the text of a passage: unique in a language."""
    language: str
    group: tuple[str, int]
    """Dataset and group: equal for a query and the passages that are relevant to it."""
    table: TokenTable
    """Where its tokens are, under the number `text`."""
    text: int


@dataclass(frozen=True)
class HeldoutPool:
    """The texts of the pool. Every query has a relevant passage."""

    queries: tuple[PoolText, ...]
    passages: tuple[PoolText, ...]
    records: int
    pad_id: int

    @property
    def relevance(self) -> np.ndarray:
        """int64[pairs, 2]: (query, passage) of each relevant pair, sorted."""
        by_group: dict[tuple[str, int], list[int]] = {}
        for number, passage in enumerate(self.passages):
            by_group.setdefault(passage.group, []).append(number)
        pairs = [(n, passage) for n, query in enumerate(self.queries) for passage in by_group[query.group]]
        return np.array(pairs, np.int64).reshape(-1, 2)

    @property
    def settings(self) -> list[str]:
        """Of monolingual, cross_lingual and multilingual those for which the pool has a relevant pair."""
        same = {self.queries[q].language == self.passages[p].language for q, p in self.relevance.tolist()}
        has = {"monolingual": True in same, "cross_lingual": False in same, "multilingual": bool(same)}
        return [setting for setting, exists in has.items() if exists]

    def __str__(self) -> str:
        languages = len({text.language for text in (*self.queries, *self.passages)})
        return (
            f"held-out pool: {len(self.queries):,} queries and {len(self.passages):,} passages of {self.records:,} "
            f"records in {languages} {'language' if languages == 1 else 'languages'}"
        )

    def pack(self, layouts: Sequence[Layout], devices: int, host: int = 0, hosts: int = 1) -> PackedBatch:
        """The rows of process `host`, as of a batch: in chunks of at most as many rows as a training step encodes.

        Queries and passages are filled up to multiples of `devices` by numbers that have no text. All groups are 0.
        """
        counts = [-(-len(texts) // devices) * devices for texts in (self.queries, self.passages)]
        texts = (*self.queries, *self.passages)
        numbers = np.concatenate([np.arange(len(self.queries)), counts[0] + np.arange(len(self.passages))])
        lengths = np.array([text.table.lengths(np.array([text.text]))[0] for text in texts])
        text_of_number = dict(zip(numbers.tolist(), texts, strict=True))

        def read(wanted: np.ndarray) -> np.ndarray:
            wanted_texts = [text_of_number[number] for number in wanted.tolist()]
            tokens = (text.table.tokens(np.array([text.text])) for text in wanted_texts)
            return np.concatenate([np.zeros(0, np.int32), *tokens])

        sides = []
        for side, layout in enumerate(layouts):
            here = np.arange(len(texts)) if len(layouts) == 1 else np.flatnonzero((numbers >= counts[0]) == bool(side))
            places = pack(lengths[here], layout.length, layout.slots)
            at_once = layout.microbatch_rows or max(layout.rows)
            shape = replace(layout, rows=(), microbatch_rows=at_once).shape(places.rows)
            sides.append(fill(places, numbers[here], lengths[here], read, sum(counts), shape, self.pad_id, host, hosts))
        query_group, passage_group = (np.zeros(count // hosts, np.int32) for count in counts)
        return PackedBatch(tuple(sides), query_group, passage_group)


def choose_pool(
    stores: Mapping[str, Store],
    heldout: Mapping[str, np.ndarray],
    tables: Mapping[str, tuple[TokenTable, TokenTable]],
    records: int,
    pad_id: int,
) -> HeldoutPool:
    """The pool of at most so many records, chosen by their hashes among all datasets' `heldout` (bool[records] each).

    `tables` are the tokens of queries and passages. Only records with a query and a passage count. Raises DataError if
    there is none.
    """
    candidates: list[tuple[int, str, int]] = []
    for name, store in stores.items():
        with_query = np.zeros(len(store.ids), bool)
        with_query[store.entries["record"][store.entries["query"] >= 0]] = True
        numbers = np.flatnonzero(heldout[name] & with_query & (store.record_group >= 0))
        hashes = np.load(store.folder / "record_hash.npy")[numbers]
        candidates += zip(hashes.tolist(), [name] * len(numbers), numbers.tolist(), strict=True)
    chosen = sorted(candidates)[:records]
    queries: dict[tuple[str, str], PoolText] = {}
    passages: dict[tuple[str, str], PoolText] = {}
    for record_hash, name, record in chosen:
        store, group = stores[name], (name, int(stores[name].record_group[record]))
        entries = store.entries[slice(*store.record_offsets[record : record + 2])]
        for entry, asks, answers in zip(entries, *_roles(entries, record_hash), strict=True):
            language = store.languages[entry["lang"]]
            for texts, table, number, own, has_role in (
                (queries, tables[name][0], int(entry["query"]), record, asks),
                (passages, tables[name][1], int(entry["passage"]), int(entry["passage"]), answers),
            ):
                if number >= 0 and has_role:
                    identity = f"{name}:{own}"
                    texts.setdefault((language, identity), PoolText(identity, language, group, table, number))
    # Of two records of a bitext that share a text, one may ask with it and the other answer.
    texts_asked = {(query.language, query.group, query.text) for query in queries.values()}
    kept_passages = tuple(p for p in passages.values() if (p.language, p.group, p.text) not in texts_asked)
    answered = {passage.group for passage in kept_passages}
    queries_with_a_passage = tuple(query for query in queries.values() if query.group in answered)
    if not queries_with_a_passage:
        raise DataError(
            f"data.heldout_pool {records}: no held-out record has a query and a passage: raise data.heldout_fraction, "
            f"or set heldout_pool 0"
        )
    return HeldoutPool(queries_with_a_passage, kept_passages, len(chosen), pad_id)


def _roles(entries: np.ndarray, record_hash: int) -> tuple[np.ndarray, np.ndarray]:
    """bool[entries] each: which of a record's entries give a query to the pool, and which a passage."""
    if not (entries["query"] == entries["passage"]).any():
        return np.ones(len(entries), bool), np.ones(len(entries), bool)
    languages = np.unique(entries["lang"])
    asks = entries["lang"] == languages[record_hash % len(languages)]
    return asks, ~asks
