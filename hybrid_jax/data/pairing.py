"""Pairing: turns the rows of a plan into (query, passage) pairs in the kind's languages, with hard negatives.

    monolingual     query and passage of one entry; all rows of the batch in one language       (X-X-mono)
    same_language   query and passage of one entry; the rows' languages differ                  (LAReQA's X-X)
    cross_lingual   query and passage of one record, always in different languages              (X-Y)
    aligned         a record's entries in several languages, one after another, each a pair     (ours)

Works on the numbers of a store's entries and texts, never on the texts themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np

from hybrid_jax.data.hashing import mix
from hybrid_jax.data.schedule import BatchPlan, Kind, Part
from hybrid_jax.data.store import Store


@dataclass(frozen=True)
class Pairs:
    """The pairs of a batch; row i's passages are its positive and then its hard negatives."""

    records: np.ndarray
    """int[rows]: record numbers."""
    query_langs: np.ndarray
    """int[rows]: numbers into the store's languages."""
    passage_langs: np.ndarray
    queries: np.ndarray
    """int[rows]: numbers into the store's texts."""
    passages: np.ndarray
    """int[rows, 1 + hard negatives]: numbers into the store's texts."""
    groups: np.ndarray
    """int[rows]: the group of each row's positive (see `Store`)."""
    passage_groups: np.ndarray
    """int[rows, 1 + hard negatives]: the group of each passage."""


def pair(
    store: Store,
    pools: Mapping[Kind, Mapping[str | None, np.ndarray]],
    plan: BatchPlan,
    language_weights: Mapping[str, float],
    hard_negatives: int = 0,
) -> Pairs:
    """The pairs of the plan's parts, one part after another (see `pair_part`). `pools` are by kind and language."""
    parts = [
        pair_part(store, pools[part.kind][part.language], part, language_weights, hard_negatives) for part in plan.parts
    ]
    return Pairs(*(np.concatenate([getattr(part, column.name) for part in parts]) for column in fields(Pairs)))


def pair_part(
    store: Store,
    pool: np.ndarray,
    part: Part,
    language_weights: Mapping[str, float],
    hard_negatives: int = 0,
) -> Pairs:
    """The pairs of `part`, whose rows are positions in `pool` (of the store's records, or entries if monolingual).

    Of the (query language, passage language) combinations that a record has, one is chosen at random, with probability
    proportional to the product of the two languages' weights. An aligned record's languages are drawn one after another
    without replacement, each by its weight among those that are left. A row with fewer than `hard_negatives` negatives
    is filled up with its own positive, which the loss masks.
    """
    rows = pool[part.rows]
    if part.kind == "monolingual":
        query_entries = passage_entries = rows
    elif part.kind == "aligned":
        query_entries = passage_entries = _choose_languages(store, rows, part, language_weights)
    else:
        query_entries, passage_entries = _choose_entries(store, rows, part, language_weights)
    queries, passages = store.entries[query_entries], store.entries[passage_entries]
    texts = np.repeat(passages["passage"][:, None], 1 + hard_negatives, axis=1)
    if hard_negatives:
        texts[:, 1:] = _hard_negatives(store, passages, part.random, hard_negatives)
    return Pairs(
        records=queries["record"],
        query_langs=queries["lang"],
        passage_langs=passages["lang"],
        queries=queries["query"],
        passages=texts,
        groups=store.text_group[texts[:, 0]],
        passage_groups=store.text_group[texts],
    )


def _weights_by_place(
    store: Store, records: np.ndarray, language_weights: Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[rows, most entries of a record] three times: entry numbers, and their languages' weights as query and as
    passage, 0 where the record has no such entry or text."""
    first, last = store.record_offsets[records], store.record_offsets[records + 1]
    places = first[:, None] + np.arange(int((last - first).max()))
    inside = places < last[:, None]
    places = np.minimum(places, len(store.entries) - 1)
    entries = store.entries[places]
    weight = np.array([language_weights[lang] for lang in store.languages])[entries["lang"]]
    as_query, as_passage = (weight * (inside & (entries[side] >= 0)) for side in ("query", "passage"))
    return places, as_query, as_passage


def _choose_entries(
    store: Store, records: np.ndarray, part: Part, language_weights: Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """int[rows] twice: each record's query entry and passage entry."""
    places, as_query, as_passage = _weights_by_place(store, records, language_weights)
    width = places.shape[1]
    same = np.eye(width, dtype=bool)
    if part.kind == "same_language":  # one language is drawn, so that its weight counts once
        chance = as_query[:, :, None] * ((as_passage > 0)[:, None, :] & same)
    else:
        chance = as_query[:, :, None] * as_passage[:, None, :] * ~same
    bounds = chance.reshape(len(records), -1).cumsum(axis=1)
    uniform = (part.random >> np.uint64(11)).astype(float) / 2**53
    choice = (bounds <= (uniform * bounds[:, -1])[:, None]).sum(axis=1)
    row = np.arange(len(records))
    return places[row, choice // width], places[row, choice % width]


def _choose_languages(
    store: Store, records: np.ndarray, part: Part, language_weights: Mapping[str, float]
) -> np.ndarray:
    """int[rows]: an entry with query and passage for each row; rows of one record, which are neighbours, differ in it.

    The n-th row of a record has the entry with the n-th smallest Exp(weight) variate, which is a draw by weight without
    replacement (Efraimidis & Spirakis, Information Processing Letters 97, 2006). The variates of a record come from the
    random number of its first row.
    """
    row = np.arange(len(records))
    is_first = np.concatenate([[True], records[1:] != records[:-1]])
    first = np.maximum.accumulate(np.where(is_first, row, 0))
    places, as_query, as_passage = _weights_by_place(store, records, language_weights)
    weight = np.where(as_passage > 0, as_query, 0)
    bits = mix(part.random[first][:, None] ^ mix(np.arange(places.shape[1], dtype=np.uint64)))
    uniform = ((bits >> np.uint64(11)).astype(float) + 0.5) / 2**53
    with np.errstate(divide="ignore"):  # weight 0: an infinite variate, so never among the first
        order = np.argsort(-np.log(uniform) / weight, axis=1, kind="stable")
    return places[row, order[row, row - first]]


def _hard_negatives(store: Store, passages: np.ndarray, random: np.ndarray, count: int) -> np.ndarray:
    """int[rows, count]: distinct negatives of each passage entry, consecutive ones from a random start of its list."""
    available = passages["negatives"]
    start = mix(random) % np.maximum(available, 1).astype(np.uint64)
    turn = (start.astype(np.int64)[:, None] + np.arange(count)) % np.maximum(available, 1)[:, None]
    texts = (
        store.negatives[np.minimum(passages["first_negative"][:, None] + turn, max(len(store.negatives) - 1, 0))]
        if len(store.negatives)
        else np.zeros((len(passages), count), np.int32)
    )
    return np.where(np.arange(count) < available[:, None], texts, passages["passage"][:, None])
