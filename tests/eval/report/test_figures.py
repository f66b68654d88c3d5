"""Figures for a paper: which there are, what is written in them, and that the same report gives the same bytes."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hybrid_jax.eval.full_ranking import run
from hybrid_jax.eval.report import figures
from hybrid_jax.eval.tasks import Candidate, Query, RetrievalTask

SVG = "{http://www.w3.org/2000/svg}"
ELEVEN = ("ar", "de", "el", "en", "es", "hi", "ru", "th", "tr", "vi", "zh")


@pytest.fixture(autouse=True)
def style():
    """That in which `write` draws."""
    with rc_context(figures.STYLE):
        yield


def pairs(asked: Sequence[str], held: Sequence[str]) -> dict[str, Any]:
    """mAP 0.01, 0.02, ... and ranks 1, 3, 9, ... in reading order."""
    cells = [(a, b) for a in asked for b in held]
    found: dict[str, Any] = {code: {} for code in asked}
    for number, (a, b) in enumerate(cells):
        found[a][b] = {"map": (number + 1) / (len(cells) + 1), "translation_rank": 3.0 ** (number % 9), "questions": 7}
    return found


def small_report() -> dict[str, Any]:
    measure = {"value": 0.5, "low": 0.4, "high": 0.6, "unbiased": 0.2}
    result = {"pairs": pairs(["en", "ru"], ["en", "ru"]), "candidates": 9_000}
    result["bias"] = {"same_language_share@20": measure}
    points = [{"step": n, "figures": {"t": {"map": {"multilingual": n / 9, "monolingual": None}}}} for n in (2, 1, 3)]
    return {"tasks": {"t": result}, "others": {}, "label": "model", "curve": points}


def words(path: Path) -> set[str]:
    return {"".join(element.itertext()).strip() for element in ElementTree.parse(path).iter(f"{SVG}text")}


def test_all_that_a_run_measures_is_drawn(make_task, knows_the_record, random_encoder, tmp_path):
    task = make_task(("de", "ru", "th"), 8)
    key = "parallel:long text"
    result = run(knows_the_record(task, 1, 0.5), [task]).tasks["parallel"].model_dump(mode="json")
    other = run(random_encoder, [task]).tasks["parallel"].headline.model_dump(mode="json")
    points = [{"step": step, "figures": {"parallel": result}} for step in (1_000, 2_000)]
    report = {"tasks": {key: result}, "others": {"untrained": {key: other}}, "label": "trained", "curve": points}
    written = figures.write(tmp_path, report)
    kinds = ("map", "translation-rank", "bias")
    names = [*(f"parallel-long-text-{kind}" for kind in kinds), "parallel-curve"]
    assert [path.name for path in written] == [f"{name}.{form}" for name in names for form in ("png", "svg", "pdf")]
    for path in written:
        assert path.read_bytes().startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[path.suffix])
    scripts = {"Latin", "Cyrillic", "Thai", "de", "ru", "th", "query language", "candidate language"}
    assert words(tmp_path / f"{names[0]}.svg") >= scripts | {
        "mAP",
        f"{result['pairs']['de']['ru']['map']:.2f}".removeprefix("0"),
    }
    assert words(tmp_path / f"{names[1]}.svg") >= scripts
    assert words(tmp_path / f"{names[2]}.svg") >= {"trained", "untrained", "no bias", "Rank distance", "LPR"}
    assert words(tmp_path / f"{names[3]}.svg") >= {"step", "mAP", "monolingual", "cross-lingual", "multilingual"}
    assert b"/FontFile2" in (tmp_path / f"{names[0]}.pdf").read_bytes()  # TrueType: text that can be searched


def test_a_task_without_pairs_or_bias_has_no_figure(random_encoder, tmp_path):
    rows = [(code, str(number)) for code in ("fi", "te") for number in range(4)]
    task = RetrievalTask(
        name="apart",
        queries=tuple(Query(name, code, f"{code} {name}?") for code, name in rows),
        candidates=tuple(Candidate(name, "fi", (f"{code} {name}",)) for code, name in rows[:4]),
        relevance=np.array([(n, n) for n in range(4)] + [(n + 4, n) for n in range(4)]),
        candidate_texts=("passage",),
    )
    report = {"tasks": {"apart": run(random_encoder, [task]).tasks["apart"].model_dump(mode="json")}, "curve": []}
    assert {path.stem for path in figures.write(tmp_path, report)} == {"apart-map", "apart-translation-rank"}
    for language in ("fi", "te"):
        report["tasks"]["apart"]["pairs"] = {language: {language: report["tasks"]["apart"]["pairs"]["fi"]["fi"]}}
        assert figures.write(tmp_path / language, report) == []


def test_another_process_on_another_day_writes_the_same_bytes(tmp_path):
    source = "import json, sys, pathlib; from hybrid_jax.eval.report import figures;"
    source += "figures.write(pathlib.Path(sys.argv[1]), json.load(sys.stdin))"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "SOURCE_DATE_EPOCH": "86400", "TZ": "Asia/Tokyo"}
    subprocess.run(
        [sys.executable, "-c", source, str(tmp_path / "there")],
        input=json.dumps(small_report()).encode(),
        env=environment,
        check=True,
    )
    here = figures.write(tmp_path / "here", small_report())
    assert len(here) == 12
    for path in here:
        assert path.read_bytes() == (tmp_path / "there" / path.name).read_bytes(), path.name
        assert b"2026" not in path.read_bytes() or path.suffix == ".png"


@pytest.mark.parametrize("codes", [ELEVEN[:7], ELEVEN, (*ELEVEN, "bn", "fa", "fi", "fr", "ja", "ko", "te")])
def test_values_in_cells_can_be_read(codes):
    for figure in (figures.quality_map(pairs(codes, codes)), figures.depth_map(pairs(codes, codes), 13_014)):
        axes = figure.axes[0]
        assert figure.get_figwidth() <= figures.FULL_WIDTH + 1e-9
        cells = {cell.get_xy(): cell for cell in axes.patches if isinstance(cell, Rectangle) and cell.get_fill()}
        labels = [text for text in axes.texts if text.get_text()[0] in ".0123456789"]
        assert len(cells) == len(labels) == len(codes) ** 2
        inch = axes.get_position().width * figure.get_figwidth() / axes.get_xlim()[1]
        for text, cell in zip(labels, cells.values(), strict=True):
            assert np.hypot(*np.subtract(text.get_position(), np.add(cell.get_xy(), 0.5))) < 0.1
            assert contrast(text.get_color(), cell.get_facecolor()) > 3.4
            size = float(text.get_fontsize())
            assert size >= 5
            assert len(text.get_text()) * 0.6 * size / 72 < inch


def contrast(one, other) -> float:
    light, dark = sorted((luminance(to_rgb(one)), luminance(to_rgb(other))), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: Sequence[float]) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_languages_of_a_script_stand_together_and_the_diagonal_is_outlined():
    figure = figures.quality_map(pairs(ELEVEN, ELEVEN))
    axes = figure.axes[0]
    order = [label.get_text() for label in axes.get_yticklabels()]
    assert order == ["de", "en", "es", "tr", "vi", "ar", "ru", "hi", "el", "zh", "th"]
    assert [label.get_text() for label in axes.get_xticklabels()] == order
    places = axes.get_yticks()
    steps = dict(zip(order[1:], np.diff(places), strict=True))
    assert steps["vi"] == pytest.approx(1)
    assert steps["ar"] == steps["th"] > 1.1
    outlined = [cell.get_xy() for cell in axes.patches if isinstance(cell, Rectangle) and not cell.get_fill()]
    assert len(outlined) == 11
    assert all(x == pytest.approx(y) for x, y in outlined)


def test_one_query_language_is_one_row():
    figure = figures.quality_map(pairs(["en"], ["ar", "en", "zh_Hans"]))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["en"]
    inside(figure)


def test_nothing_is_cut_off():
    codes = ["zho_Hans", "eng_Latn", "xxx"]
    inside(figures.depth_map(pairs(codes, codes), 9_000))
    inside(figures.quality_map(pairs(ELEVEN, ELEVEN)))
    panel = {"same_language_share@20": {"value": 0.5, "low": 0.4, "high": 0.6, "unbiased": 0.1}}
    inside(figures.bias_panel("trained", panel, {"untrained": panel, "lsar": panel, "shift": panel, "lir": panel}))


def inside(figure: Figure) -> None:
    """All that is drawn lies on the page."""
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert box.x0 > -0.02
    assert box.y0 > -0.02
    assert box.x1 < width + 0.02
    assert box.y1 < height + 0.02


def test_bias_grows_to_the_right_whichever_way_a_measure_runs():
    here = {
        "language_preference": {"value": 0.9, "low": 0.8, "high": 0.95, "unbiased": 0.1},  # higher is bias
        "complete@20": {"value": 0.2, "low": 0.1, "high": 0.3, "unbiased": None},  # lower is bias
        "language_probe": {"value": 0.7, "low": None, "high": None, "unbiased": 0.7},  # nothing to span
        "rank_distance": {"value": None, "low": None, "high": None, "unbiased": None},
    }
    fairer = {"language_preference": {**here["language_preference"], "value": 0.3}}
    fairer["complete@20"] = {**here["complete@20"], "value": 0.6}
    figure = figures.bias_panel("trained", here, {"lsar": fairer})
    assert len(figure.axes) == 3
    labels = [text.get_text() for text in figure.texts]
    assert [label for label in labels if label in ("LPR", "Complete@20", "Language probe", "Rank distance")] == [
        *("Complete@20", "LPR", "Language probe")
    ]

    def across(number: int, value: float) -> float:
        return float(figure.axes[number].transData.transform((value, 0))[0])

    assert across(0, 0.6) < across(0, 0.2)
    assert across(1, 0.1) < across(1, 0.3) < across(1, 0.9)


def test_a_curve_is_drawn_by_step_and_only_of_what_has_one():
    figure = figures.curve(small_report()["curve"], "t")
    assert figure is not None
    (line,) = figure.axes[0].lines
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3])
    np.testing.assert_array_equal(line.get_ydata(), np.array([1, 2, 3]) / 9)
    assert figures.curve([{"step": 1, "figures": {"miracl": {"ndcg@10": 0.4}}}] * 2, "miracl") is None
