"""Pairing: turns the rows of a plan into (query, passage) pairs in the kind's languages, with hard negatives.

    monolingual     query and passage of one entry; all rows of the batch in one language       (X-X-mono)
    same_language   query and passage of one entry; the rows' languages differ                  (LAReQA's X-X)
    cross_lingual   query and passage of one record, always in different languages              (X-Y)

Works on the numbers of a store's entries and texts, never on the texts themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hybrid_jax.data.hashing import mix
from hybrid_jax.data.schedule import BatchPlan
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
    pool: np.ndarray,
    plan: BatchPlan,
    language_weights: Mapping[str, float],
    hard_negatives: int = 0,
) -> Pairs:
    """The pairs of `plan`, whose rows are positions in `pool` (of the store's records, or entries if monolingual).

    Of the (query language, passage language) combinations that a record has, one is chosen at random, with probability
    proportional to the product of the two languages' weights. A row with fewer than `hard_negatives` negatives is
    filled up with its own positive, which the loss masks.
    """
    rows = pool[plan.rows]
    if plan.kind == "monolingual":
        query_entries = passage_entries = rows
    else:
        query_entries, passage_entries = _choose_entries(store, rows, plan, language_weights)
    queries, passages = store.entries[query_entries], store.entries[passage_entries]
    texts = np.repeat(passages["passage"][:, None], 1 + hard_negatives, axis=1)
    if hard_negatives:
        texts[:, 1:] = _hard_negatives(store, passages, plan.random, hard_negatives)
    return Pairs(
        records=queries["record"],
        query_langs=queries["lang"],
        passage_langs=passages["lang"],
        queries=queries["query"],
        passages=texts,
        groups=store.text_group[texts[:, 0]],
        passage_groups=store.text_group[texts],
    )


def _choose_entries(
    store: Store, records: np.ndarray, plan: BatchPlan, language_weights: Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """int[rows] twice: each record's query entry and passage entry."""
    first, last = store.record_offsets[records], store.record_offsets[records + 1]
    width = int((last - first).max())
    places = first[:, None] + np.arange(width)
    inside = places < last[:, None]
    places = np.minimum(places, len(store.entries) - 1)
    entries = store.entries[places]
    weight = np.array([language_weights[lang] for lang in store.languages])[entries["lang"]]
    as_query = weight * (inside & (entries["query"] >= 0))
    as_passage = weight * (inside & (entries["passage"] >= 0))
    chance = as_query[:, :, None] * as_passage[:, None, :]
    same = np.eye(width, dtype=bool)
    chance[:, ~same if plan.kind == "same_language" else same] = 0
    bounds = chance.reshape(len(records), -1).cumsum(axis=1)
    uniform = (plan.random >> np.uint64(11)).astype(float) / 2**53
    choice = (bounds <= (uniform * bounds[:, -1])[:, None]).sum(axis=1)
    row = np.arange(len(records))
    return places[row, choice // width], places[row, choice % width]


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
