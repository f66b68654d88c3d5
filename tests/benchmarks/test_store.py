"""The benchmark of stores: what it measures is there at a small size, and its exponent is the growth."""

import pytest

from benchmarks.common import last_json
from benchmarks.store import exponent, measure, rows


def test_the_exponent_of_a_power_is_found():
    assert exponent([10, 40, 160], [3.0 * size**1.5 for size in (10, 40, 160)]) == pytest.approx(1.5)


def test_rows_differ_and_are_the_same_at_every_size():
    made = list(rows(5000))
    assert len({(row.query, row.passage) for row in made}) == len({row.id for row in made}) == 5000
    assert made[:50] == list(rows(50))


def test_a_small_store_is_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    measure(1000)
    figures = last_json(capsys.readouterr().out)
    assert figures["rows"] == 1000
    assert min(figures[name] for name in ("build_clock", "build_gib", "open", "seek", "tokens_per_second")) > 0
    assert list((tmp_path / "runs" / "bench").iterdir()) == []
