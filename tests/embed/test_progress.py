"""What a person sees while texts are encoded: a bar on a terminal, lines elsewhere, and nothing where that is asked."""

import re
import sys
from pathlib import Path

import pytest

from hybrid_jax.embed import progress
from hybrid_jax.embed.load import load
from hybrid_jax.embed.progress import Progress

FIXTURES = Path(__file__).parents[1] / "fixtures" / "pretrained"
TEXTS = ["word " * (number % 60) for number in range(400)]


@pytest.fixture(scope="module")
def e5():
    return load(FIXTURES / "e5")


def test_elsewhere_than_on_a_terminal_there_is_a_line_every_half_minute(e5, monkeypatch, capsys):
    assert progress.SECONDS == 30
    e5.encode_queries(TEXTS)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(progress, "SECONDS", 0)
    e5.encode_queries(TEXTS)
    e5.encode_passages(text for text in TEXTS)
    lines = capsys.readouterr().err.splitlines()
    form = r"encoding queries: \d+ of 400 texts, about \d\d:\d\d left|encoding passages: \d+ texts"
    assert len(lines) >= 4
    assert [line for line in lines if not re.fullmatch(form, line)] == []
    assert "encoding queries: 400 of 400 texts, about 00:00 left" in lines
    assert "encoding passages: 400 texts" in lines


def test_a_terminal_shows_a_bar(monkeypatch, capsys):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress("queries", 3, None) as shown:
        shown.tokenized(3, 30)
        shown.encoded(2, 20)
        shown.encoded(1, 10)
    assert re.search(r"encoding queries: +0%.* 0 of 3 texts", capsys.readouterr().err)


def test_false_shows_nothing_and_true_a_bar(e5, monkeypatch, capsys):
    monkeypatch.setattr(progress, "SECONDS", 0)
    e5.encode_queries(TEXTS, progress=False)
    assert capsys.readouterr().err == ""
    e5.encode_queries(TEXTS, progress=True)
    assert "encoding queries:   0%" in capsys.readouterr().err


def test_the_time_left_goes_by_tokens_and_counts_texts_that_are_not_read_yet(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress("passages", 400, None) as shown:
        shown.tokenized(100, 5_000)
        now[0] = 60.0
        shown.encoded(10, 2_500)  # the longest first: 2,500 of what should be 20,000 tokens
        now[0] = 80.0
        shown.encoded(90, 2_500)  # 20 s after the last line
        shown.tokenized(300, 5_000)
        now[0] = 100.0
        shown.encoded(150, 2_500)
    assert capsys.readouterr().err.splitlines() == [
        "encoding passages: 10 of 400 texts, about 07:00 left",
        "encoding passages: 250 of 400 texts, about 00:33 left",
    ]
