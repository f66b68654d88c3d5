"""Packing: several texts in one row of tokens, so that little is computed for padding.

    lengths ──pack──▶ which row, where in it ──fill──▶ arrays of a few fixed shapes (`layout.py`)

A batch is packed as a whole, from the lengths of its texts alone: every host computes the same rows and fills in its
own. The texts of a batch are numbered: its queries 0, 1, ..., then its passages.
"""

from bisect import bisect_left, insort
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = Any
"""A numpy array on the host; on the devices a jax array. (This package does not import jax.)"""


class PackedTexts(NamedTuple):
    """Rows of texts, in chunks of rows that are encoded one after the other. All int32."""

    tokens: Array
    """[chunks, rows, length]: token ids, the padding id after the last text."""
    segments: Array
    """[chunks, rows, length]: 1, 2, ... for the tokens of the row's first, second, ... text, 0 for padding."""
    numbers: Array
    """[chunks, rows, slots]: the numbers of the row's texts; the number of texts in the batch where there is none."""


class Places(NamedTuple):
    """Where each text stands: int64[texts] each, but `rows`."""

    row: np.ndarray
    slot: np.ndarray
    """0 for the first text of its row, 1 for the second, ..."""
    start: np.ndarray
    """Position of its first token in the row."""
    rows: int
    """How many rows have a text."""


def pack(lengths: np.ndarray, row_length: int, slots: int) -> Places:
    """Best-fit decreasing: from the longest text to the shortest, each into the fullest row that has room for it.

    `lengths` (int[texts]) are at most `row_length`; a row takes at most `slots` texts. If slots do not run out,
    the rows are at most 11/9 of the fewest possible, plus 4 (Johnson et al. 1974, doi 10.1137/0203025).
    """
    row, slot, start = np.zeros((3, len(lengths)), np.int64)
    rows_with_room: dict[int, list[int]] = {}  # positions left -> rows
    rooms: list[int] = []  # its keys, in increasing order
    texts_in: list[int] = []  # of each row
    for text in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[text])
        place = bisect_left(rooms, length)
        if place < len(rooms):
            room = rooms[place]
            chosen = rows_with_room[room].pop()
            if not rows_with_room[room]:
                del rows_with_room[room], rooms[place]
        else:
            room, chosen = row_length, len(texts_in)
            texts_in.append(0)
        row[text], slot[text], start[text] = chosen, texts_in[chosen], row_length - room
        texts_in[chosen] += 1
        left = room - length
        if left and texts_in[chosen] < slots:
            if left not in rows_with_room:
                rows_with_room[left] = []
                insort(rooms, left)
            rows_with_room[left].append(chosen)
    return Places(row, slot, start, len(texts_in))


def fill(
    places: Places,
    numbers: np.ndarray,
    lengths: np.ndarray,
    read: Callable[[np.ndarray], np.ndarray],
    texts: int,
    shape: tuple[int, int, int, int],
    pad_id: int,
    host: int = 0,
    hosts: int = 1,
) -> PackedTexts:
    """One host's rows: of each chunk, the `host`-th of `hosts` equal, contiguous parts.

    Text i of `places` has `lengths[i]` tokens and is text `numbers[i]` of the `texts` in the batch; `read` gives the
    tokens of the texts with these numbers, one after the other. `shape` is (chunks, rows, length, slots).
    """
    chunks, rows, length, slots = shape
    own = rows // hosts
    chunk, row = places.row // rows, places.row % rows
    mine = np.flatnonzero(row // own == host)
    row = chunk[mine] * own + row[mine] % own
    sizes = lengths[mine]

    tokens = np.full(chunks * own * length, pad_id, np.int32)
    segments = np.zeros(chunks * own * length, np.int32)
    first = np.cumsum(sizes) - sizes  # of each text, in what `read` returns
    at = np.repeat(row * length + places.start[mine] - first, sizes) + np.arange(sizes.sum())
    tokens[at] = read(numbers[mine])
    segments[at] = np.repeat(places.slot[mine] + 1, sizes)
    slot_numbers = np.full(chunks * own * slots, texts, np.int32)
    slot_numbers[row * slots + places.slot[mine]] = numbers[mine]
    return PackedTexts(*(array.reshape(chunks, own, -1) for array in (tokens, segments, slot_numbers)))
