"""The curve's file survives kills, refuses what would make it lie, and names the best step."""

import json
from itertools import count
from pathlib import Path

import pytest
from support.made_up_report import ranked, searched

from hybrid_jax.eval.evaluation import Evaluation
from hybrid_jax.eval.report.schema import CurvePoint, CurveSettings
from hybrid_jax.eval.tasks import SearchTask
from hybrid_jax.eval.tasks.base import Query
from hybrid_jax.eval.watch import curve
from hybrid_jax.eval.watch.curve import Curve, CurveError

MAP = CurveSettings(metric="demo.map.multilingual", tasks=("demo",), data_sha256="d" * 64, run_sha256="r" * 64)
DISTANCE = MAP.model_copy(update={"metric": "demo.rank_distance"})


def point(step: int, value: float, settings: CurveSettings = MAP) -> CurvePoint:
    figures: curve.Figures = {"demo": {"map": {"monolingual": 0.5, "multilingual": value}, "rank_distance": None}}
    written = "2026-11-22T06:00:00+00:00"
    return CurvePoint(
        step=step, pairs=8 * step, written=written, seconds=1, value=value, figures=figures, settings=settings
    )


def write(path: Path, values: dict[int, float], settings: CurveSettings = MAP) -> Curve:
    with Curve(path, settings) as written:
        for step, value in values.items():
            written.append(point(step, value, settings))
    return written


def test_what_was_appended_is_read_by_the_next_and_by_others(tmp_path: Path):
    path = tmp_path / "eval" / "curve.jsonl"
    assert curve.read(path) == []
    write(path, {20: 0.25, 40: 1 / 3})
    with Curve(path, MAP) as again:
        assert again.points == curve.read(path) == [point(20, 0.25), point(40, 1 / 3)]
        again.append(point(60, 0.5))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40, 60]
    assert lines[2]["figures"]["demo"]["map"] == {"monolingual": 0.5, "multilingual": 0.5}


@pytest.mark.parametrize("left", [1, 40, -1])
def test_a_line_cut_by_a_kill_is_dropped_and_the_next_one_is_whole(tmp_path: Path, left: int):
    path = tmp_path / "curve.jsonl"
    write(path, {20: 0.25, 40: 0.3})
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + second[:left])
    assert curve.read(path) == [point(20, 0.25)]
    assert write(path, {40: 0.4}).points == [point(20, 0.25), point(40, 0.4)]
    assert curve.read(path) == [point(20, 0.25), point(40, 0.4)]


def test_a_damaged_line_is_named(tmp_path: Path):
    path = tmp_path / "curve.jsonl"
    write(path, {20: 0.25, 40: 0.3})
    before = path.read_text().replace('"step":40', '"step":"x"')
    path.write_text(before)
    with pytest.raises(CurveError, match=rf"{path}:2: not a point of this version \(step: .*: remove the line"):
        Curve(path, MAP).__enter__()
    assert path.read_text() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": ("xquad_r",)}, r"is of demo by \S+, not of xquad_r by \S+: give the same --tasks and --metric"),
        (
            {"metric": "demo.mrr.multilingual"},
            r"not of demo by demo.mrr.multilingual: give the same --tasks and --metric",
        ),
        ({"data_sha256": "e" * 64}, "was measured on other files of demo"),
        ({"run_sha256": "s" * 64}, "is of a run with another config.yaml"),
    ],
)
def test_other_settings_are_refused_and_nothing_is_changed(tmp_path: Path, change: dict, message: str):
    path = tmp_path / "curve.jsonl"
    write(path, {20: 0.25})
    before = path.read_bytes()
    with pytest.raises(CurveError, match=message):
        Curve(path, MAP.model_copy(update=change)).__enter__()
    assert path.read_bytes() == before


def test_two_watches_cannot_write_one_curve(tmp_path: Path):
    path = tmp_path / "curve.jsonl"
    with Curve(path, MAP), pytest.raises(CurveError, match="is being written by another watch"):
        Curve(path, MAP).__enter__()
    with Curve(path, MAP):
        pass


@pytest.mark.parametrize(
    ("settings", "values", "best"),
    [
        (MAP, {20: 0.2, 40: 0.5, 60: 0.4}, 40),
        (DISTANCE, {20: 11.0, 40: 7.0, 60: 9.0}, 40),
        (MAP, {20: 0.2, 40: 0.5, 60: 0.5}, 40),
        (DISTANCE, {20: 7.0, 40: 7.0}, 20),
    ],
)
def test_the_best_step_is_the_first_of_the_best_value(tmp_path: Path, settings: CurveSettings, values: dict, best: int):
    actual = write(tmp_path / "curve.jsonl", values, settings).best
    assert actual is not None
    assert actual.step == best


def test_an_empty_curve_has_no_best_step():
    assert curve.best([]) is None


def test_every_name_is_known_before_anything_is_evaluated(make_task):
    task = make_task(["de", "en"], 3)
    result = ranked(["de"], ["de"], "passage", (number / 100 for number in count(1)))
    means = {"monolingual": 0.5, "cross_lingual": None, "multilingual": 0.25}
    result = result.model_validate({**result.model_dump(), "map": means, "rank_distance": 2.0})
    actual = curve.by_name(curve.figures(Evaluation({task.name: result}, {})))
    expected_values = curve.names({"parallel": [task]})
    assert expected_values[0] == "parallel.map.multilingual"
    assert set(actual) == set(expected_values)
    assert (actual[expected_values[0]], actual["parallel.map.cross_lingual"], actual["parallel.rank_distance"]) == (
        0.25,
        None,
        2.0,
    )


def test_a_searched_pool_of_any_name_has_its_figures():
    pool = SearchTask("scifact", (Query("q", "en", "?"),), lambda: iter(()), {"q": {"d": 1}})
    result = searched(["en"], (number / 100 for number in count(1)))
    actual = curve.by_name(curve.figures(Evaluation({}, {}, searches={"beir:data/v1.0/scifact": result})))
    assert actual["beir:data/v1.0/scifact.ndcg@10"] == result["ndcg@10"]
    assert list(actual) == curve.names({"beir:data/v1.0/scifact": [pool]})


def test_a_mistyped_name_is_told_its_neighbours():
    expected_values = ["demo.map.multilingual", "demo.mrr.multilingual", "demo.rank_distance"]
    assert curve.check_name("demo.rank_distance", expected_values) == "demo.rank_distance"
    with pytest.raises(CurveError, match=r"--metric demo.mAP.multilingual: .*, such as demo.map.multilingual, "):
        curve.check_name("demo.mAP.multilingual", expected_values)
