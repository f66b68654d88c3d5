"""Packing loses no token, wastes little, and gives every host its part of the same rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybrid_jax.data.layout import SAVING, WASTE, Layout, choose
from hybrid_jax.data.packing import fill, pack

LENGTHS = st.lists(st.integers(1, 32), min_size=1, max_size=60)


@given(LENGTHS, st.integers(1, 8))
def test_every_text_stands_in_one_row_and_none_overlap(lengths: list[int], slots: int):
    places = pack(np.array(lengths), 32, slots)
    assert set(places.row.tolist()) == set(range(places.rows))
    for row in range(places.rows):
        texts = sorted(np.flatnonzero(places.row == row), key=lambda text: places.start[text])
        assert places.slot[texts].tolist() == list(range(len(texts)))
        assert len(texts) <= slots
        ends = np.cumsum([lengths[text] for text in texts])
        assert places.start[texts].tolist() == [0, *ends[:-1]]  # side by side from the left
        assert ends[-1] <= 32


@given(LENGTHS)
def test_a_row_begins_only_with_a_text_that_no_row_before_has_room_for(lengths: list[int]):
    sizes = np.array(lengths)
    places = pack(sizes, 32, len(lengths))
    filled = np.bincount(places.row, weights=sizes)
    first = sizes[places.slot == 0][np.argsort(places.row[places.slot == 0])]
    assert all(filled[before] + first[row] > 32 for row in range(places.rows) for before in range(row))


def test_packing_of_a_case_by_hand():
    places = pack(np.array([5, 3, 7, 2, 1]), 8, 3)  # 7 | 5 + 3 | then 2 in a new row; 1 beside 7, the fullest with room
    assert places.row.tolist() == [1, 1, 0, 2, 0]
    assert places.start.tolist() == [0, 5, 0, 0, 7]
    assert places.slot.tolist() == [0, 1, 0, 0, 1]
    assert places.rows == 3


@given(LENGTHS, st.sampled_from([1, 2, 4]), st.sampled_from([None, 4, 8]))
def test_hosts_together_hold_every_token_once(lengths: list[int], hosts: int, microbatch_rows: int | None):
    sizes, numbers = np.array(lengths), 3 + np.arange(len(lengths))
    texts = {int(number): np.full(size, number) for number, size in zip(numbers, sizes, strict=True)}
    places = pack(sizes, 32, 4)
    shape = Layout(32, 4, (), 1.0, hosts, microbatch_rows).shape(places.rows)
    read = lambda chosen: np.concatenate([texts[int(i)] for i in chosen] or [np.zeros(0)])  # noqa: E731
    parts = [fill(places, numbers, sizes, read, 99, shape, 0, host, hosts) for host in range(hosts)]
    assert all(part.tokens.shape == (shape[0], shape[1] // hosts, 32) for part in parts)
    tokens, segments, held = (np.concatenate(arrays, axis=1) for arrays in zip(*parts, strict=True))
    assert np.bincount(tokens[segments > 0].ravel(), minlength=3)[3:].tolist() == lengths
    assert sorted(held[held < 99].tolist()) == numbers.tolist()
    # A position's token is the text that its row's slot names: texts here consist of their own number.
    named = np.take_along_axis(held, np.maximum(segments - 1, 0), axis=2)
    assert (np.where(segments > 0, named, 0) == tokens).all()
    assert microbatch_rows is None or shape[1] <= microbatch_rows


def batches(random: np.random.Generator, count: int, texts: int, low: int, high: int) -> list[np.ndarray]:
    return [random.integers(low, high, texts) for _ in range(count)]


def test_rows_are_as_long_as_the_longest_text_where_that_wastes_little():
    layout = choose(batches(np.random.default_rng(0), 20, 400, 3, 30), longest=60)
    assert layout.length == 64
    assert layout.text_share >= 1 - WASTE
    assert len(layout.rows) <= 3


def test_rows_are_longer_where_texts_just_over_half_would_waste_the_rest():
    layout = choose([np.full(60, 40)] * 4, longest=64)
    assert layout.length == 128  # three texts of 40 in 128, one in 64
    assert layout.rows == (20,)


def test_a_further_program_must_save_positions():
    random = np.random.default_rng(1)
    alike = choose([np.full(64, 16) for _ in range(20)], 64)
    assert alike.rows == (16,)
    few, many = ([np.full(size, 64)] * 10 for size in (50, 100))
    assert choose(few + many, 64).rows == (50, 100)
    nearly = [np.full(99, 64)] * 10  # a program of 99 rows would save less than SAVING
    assert SAVING > 0.01
    assert choose(nearly + many, 64).rows == (100,)
    spread = choose(batches(random, 40, 60, 5, 60) + batches(random, 40, 20, 5, 60), 64)
    assert len(spread.rows) <= 3


@pytest.mark.parametrize(("devices", "microbatch_rows"), [(1, None), (4, None), (4, 8), (8, 16)])
def test_every_batch_has_a_shape_that_holds_it(devices: int, microbatch_rows: int | None):
    random = np.random.default_rng(2)
    sampled = batches(random, 30, 70, 5, 60)
    layout = choose(sampled, 64, devices=devices, microbatch_rows=microbatch_rows)
    shapes = set()
    for lengths in sampled:
        needed = pack(lengths, layout.length, layout.slots).rows
        chunks, rows, length, slots = layout.shape(needed)
        assert chunks * rows >= needed
        assert rows % devices == 0
        assert (length, slots) == (layout.length, layout.slots)
        assert chunks == 1 if microbatch_rows is None else rows <= microbatch_rows
        shapes.add((chunks, rows))
    assert len(shapes) <= 3
    chunks, rows, *_ = layout.shape(10_000)  # more than any batch that was seen
    assert chunks * rows >= 10_000


def test_a_layout_says_what_it_is():
    assert str(Layout(256, 8, (24, 32), 0.94, 1, None)) == (
        "rows of 256 tokens, 24 or 32 a step: 94% of positions are text"
    )
    assert str(Layout(128, 8, (96,), 0.94, 1, 48)) == "rows of 128 tokens, 2 x 48 a step: 94% of positions are text"
