"""Texts of a test as a packed batch."""

from collections.abc import Mapping

import numpy as np

from hybrid_jax.data.batch import PackedBatch
from hybrid_jax.data.layout import Layout
from hybrid_jax.data.packing import fill, pack


def packed(
    rows: Mapping[str, np.ndarray],
    length: int,
    slots: int = 1,
    devices: int = 8,
    microbatch_rows: int | None = None,
    apart: bool = False,
    host: int = 0,
    hosts: int = 1,
) -> PackedBatch:
    """One host's part of a batch whose texts stand one to a row: {query,passage}_{tokens,segments,group}."""
    texts = [
        tokens[inside > 0]
        for side in ("query", "passage")
        for tokens, inside in zip(rows[f"{side}_tokens"], rows[f"{side}_segments"], strict=True)
    ]
    layout = Layout(length, slots, (), 1.0, devices, microbatch_rows)
    every, lengths = np.arange(len(texts)), np.array([len(text) for text in texts])
    sides = []
    for numbers in np.split(every, [len(rows["query_group"])]) if apart else [every]:
        places = pack(lengths[numbers], length, slots)
        shape = layout.shape(places.rows)
        read = lambda chosen: np.concatenate([texts[i] for i in chosen] or [np.zeros(0, np.int32)])  # noqa: E731
        sides.append(fill(places, numbers, lengths[numbers], read, len(texts), shape, 0, host, hosts))
    query, passage = (np.split(rows[f"{side}_group"], hosts)[host] for side in ("query", "passage"))
    return PackedBatch(tuple(sides), query, passage)
