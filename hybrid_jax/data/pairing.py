"""Pairing: from the rows of a plan to (query, passage) pairs in the asked languages, hard negatives along.

    monolingual     query and passage of one entry; all rows of the batch in one language       (X-X-mono)
    same_language   query and passage of one entry; each row in a language of its own           (LAReQA's X-X)
    cross_lingual   query and passage of one record, always in different languages              (X-Y)

Knows: entries of a store. Does not know: texts, tokens, how rows were chosen.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hybrid_jax.data.schedule import BatchPlan
from hybrid_jax.data.shares import mix
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
    """int[rows]: text numbers."""
    passages: np.ndarray
    """int[rows, 1 + hard negatives]: text numbers."""
    groups: np.ndarray
    """int[rows]: the group of each row's positive."""
    passage_groups: np.ndarray
    """int[rows, 1 + hard negatives]."""


def pair(
    store: Store,
    pool: np.ndarray,
    plan: BatchPlan,
    language_weights: Mapping[str, float],
    hard_negatives: int = 0,
) -> Pairs:
    """The pairs of `plan`, whose rows are positions in `pool`.

    Among a record's possible (query language, passage language) choices, one is drawn with probability proportional to
    the product of the two languages' weights. A row with fewer hard negatives than asked is filled up with its own
    positive, which the loss masks.
    """
    rows = pool[plan.rows]
    if plan.kind == "monolingual":
        query_entries = passage_entries = rows
    else:
        query_entries, passage_entries = _draw_entries(store, rows, plan, language_weights)
    queries, passages = store.entries[query_entries], store.entries[passage_entries]
    texts = np.repeat(passages["passage"][:, None], 1 + hard_negatives, axis=1)
    if hard_negatives:
        texts[:, 1:] = _hard_negatives(store, passages, plan.draws, hard_negatives)
    return Pairs(
        records=queries["record"],
        query_langs=queries["lang"],
        passage_langs=passages["lang"],
        queries=queries["query"],
        passages=texts,
        groups=store.text_group[texts[:, 0]],
        passage_groups=store.text_group[texts],
    )


def _draw_entries(
    store: Store, records: np.ndarray, plan: BatchPlan, language_weights: Mapping[str, float]
) -> tuple[np.ndarray, np.ndarray]:
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
    uniform = (plan.draws >> np.uint64(11)).astype(float) / 2**53
    choice = (bounds <= (uniform * bounds[:, -1])[:, None]).sum(axis=1)
    row = np.arange(len(records))
    return places[row, choice // width], places[row, choice % width]


def _hard_negatives(store: Store, passages: np.ndarray, draws: np.ndarray, count: int) -> np.ndarray:
    """int[rows, count]: distinct negatives of each passage entry, from a random place of its list on."""
    held = passages["negatives"]
    start = mix(draws) % np.maximum(held, 1).astype(np.uint64)
    turn = (start.astype(np.int64)[:, None] + np.arange(count)) % np.maximum(held, 1)[:, None]
    texts = (
        store.negatives[np.minimum(passages["first_negative"][:, None] + turn, max(len(store.negatives) - 1, 0))]
        if len(store.negatives)
        else np.zeros((len(passages), count), np.int32)
    )
    return np.where(np.arange(count) < held[:, None], texts, passages["passage"][:, None])
