"""A sweep's page: its numbers are the reports', and an unfinished sweep says what is missing."""

import csv
import json
import re
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.made_up_plan import made_up_arm, made_up_plan
from support.made_up_sweep import made_up_sweep

from hybrid_jax.ablate.axis import axis_of
from hybrid_jax.ablate.effects import axis_of_groups, effects
from hybrid_jax.ablate.folder import write_plan
from hybrid_jax.ablate.page import write_page
from hybrid_jax.ablate.results import read_sweep
from hybrid_jax.ablate.statistics import analyse
from hybrid_jax.eval.leakage.result import Leakage, Side

ARMS = {"alpha=0": 0.1, "alpha=0.5": 0.6, "alpha=1": 2.5}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def text(page: Path) -> str:
    """What a reader reads, in one line."""
    parts: list[str] = []

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            parts.append(data)

    Reader().feed(re.sub(r"<style>.*?</style>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL))
    return " ".join(" ".join(parts).split())


def report(sweep: Path, arm: str, seed: int) -> Mapping:
    return json.loads((sweep / "runs" / arm / f"seed-{seed}" / "eval" / "report.json").read_text(encoding="utf-8"))[
        "tasks"
    ]["records"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    sweep = made_up_sweep(tmp_path_factory.mktemp("s") / "bias", ARMS, unequal=["rows are read in another order"])
    assert write_page(sweep) == sweep / "page" / "index.html"
    return sweep


def test_the_numbers_in_the_csv_are_the_reports(finished: Path):
    of_runs, of_arms = rows(finished / "page" / "runs.csv"), rows(finished / "page" / "table.csv")
    for arm in ARMS:
        reported = [report(finished, arm, seed) for seed in (0, 1)]
        for metric, setting in [("map", s) for s in ("monolingual", "cross_lingual", "multilingual")] + [
            ("rank_distance", "multilingual")
        ]:
            values = [run[metric][setting] if metric == "map" else run[metric] for run in reported]
            key = {"task": "records", "metric": metric, "setting": setting, "arm": arm}
            listed = [float(row["value"]) for row in of_runs if row.items() >= key.items()]
            assert listed == values
            [row] = [row for row in of_arms if row.items() >= key.items()]
            assert float(row["mean"]) == pytest.approx(sum(values) / 2, rel=1e-12)
            assert float(row["low"]) <= float(row["mean"]) <= float(row["high"])
            assert row["seeds"] == "2"
            assert (row["baseline"], row["verdict"] != "") == (("", False) if arm == "alpha=0" else ("alpha=0", True))
        for name, measure in reported[0]["bias"].items():
            listed = [
                float(row["value"])
                for row in of_runs
                if row["metric"] == name and row["arm"] == arm and row["seed"] == "0"
            ]
            assert listed in ([], [measure["value"]])
    assert {row["metric"] for row in of_runs} >= {"language_preference", "language_probe"}


def test_the_page_and_the_latex_table_show_the_means_of_the_csv(finished: Path):
    seen = text(finished / "page" / "index.html")
    latex = (finished / "page" / "table.tex").read_text(encoding="utf-8")
    for row in rows(finished / "page" / "table.csv"):
        if row["metric"] == "map":
            assert f"{float(row['mean']):.4f}" in seen
            assert f"{float(row['low']):.4f} – {float(row['high']):.4f}" in seen
            assert f"{float(row['mean']):.4f}" in latex
    assert latex.count("\\begin{tabular}") == latex.count("\\end{tabular}") == 1
    assert "rows are read in another order" in seen
    assert (
        "Mean encoded tokens of the finished runs: alpha=0: 1,000; alpha=0.5: 1,100; alpha=1: 1,200, 20.0% apart"
        in seen
    )
    assert "2 seeds an arm" in seen


def test_a_real_difference_is_named_with_its_direction(finished: Path):
    # The language weighs 25 times as much in the last arm as in the first: answers in other languages come last.
    [row] = [
        row
        for row in rows(finished / "page" / "table.csv")
        if row["metric"] == "rank_distance" and row["arm"] == "alpha=1"
    ]
    assert row["verdict"] == "worse"
    assert float(row["difference"]) > 0
    assert re.search(r"Rank distance: worse than alpha=0: [^.]*alpha=1 by \+", text(finished / "page" / "index.html"))


def test_the_page_is_one_file_and_every_figure_is_there_in_three_formats(finished: Path):
    source = (finished / "page" / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script|<img|<link|src=|url\((?!#)|@import", source)
    assert {*re.findall(r'href="([^"#]+)"', source)} == {"table.csv", "runs.csv", "table.tex"}
    assert "#0072b2" not in source.partition("</style>")[2].lower()  # the page's colours, which dark mode changes
    names = {path.stem for path in (finished / "page" / "figures").iterdir()}
    assert names == {f"records-{name}" for name in ("curves", "front", "bias", "languages", "languages-bias")}
    for name in names:
        for form, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
            assert (finished / "page" / "figures" / f"{name}.{form}").read_bytes().startswith(start)


def test_the_page_quotes_the_leakage_check(finished: Path, tmp_path: Path):
    assert "Leakage:" not in text(finished / "page" / "index.html")
    sweep = made_up_sweep(tmp_path / "s", {"alpha=0": 0.1}, seeds=(0,))
    side = Side(
        task="records",
        language="de",
        side="queries",
        texts=1200,
        short=3,
        exact=0,
        normalised=0,
        partial=0,
        examples=[],
    )
    for found, sentence in (
        (0, "Leakage: none of the 1,200 evaluation texts is in the 5,000 training texts (leakage.json)."),
        (
            2,
            "Leakage: 2 exact of the 1,200 evaluation texts in training (records): figures of what was found may be "
            "too high (leakage.json).",
        ),
    ):
        sides = [side.model_copy(update={"exact": found})]
        result = Leakage(training=["a: a.jsonl"], training_texts=5000, sides=sides)
        (sweep / "leakage.json").write_text(result.model_dump_json(), encoding="utf-8")
        assert sentence in text(write_page(sweep))


def test_an_unfinished_sweep_says_what_is_missing(tmp_path: Path):
    lost = [("alpha=0.5", 1), ("alpha=1", 0), ("alpha=1", 1)]
    sweep = made_up_sweep(tmp_path / "s", ARMS, missing=lost)
    for run, steps in (("alpha=1/seed-0", 20), ("alpha=0.5/seed-1", 40)):
        (sweep / "runs" / run / "train.log").write_text("$ python\n")
        lines = (json.dumps({"step": step}) + "\n" for step in range(steps))
        (sweep / "runs" / run / "metrics.jsonl").write_text("".join(lines))
    (sweep / "runs" / "alpha=0" / "seed-1" / "cost.json").unlink()
    seen = text(write_page(sweep))
    assert "3 of 6 runs are missing" in seen
    for run in (
        "alpha=0.5 seed 1 (trained, not evaluated)",
        "alpha=1 seed 0 (begun, 20 of 40 steps)",
        "alpha=1 seed 1 (not started)",
    ):
        assert run in seen
    assert "Nothing is known yet of alpha=1." in seen
    assert "The cost of alpha=0 is not known yet" in seen
    assert "One seed of alpha=0.5" in seen
    assert {row["arm"] for row in rows(sweep / "page" / "table.csv")} == {"alpha=0", "alpha=0.5"}
    assert {row["about"] for row in rows(sweep / "page" / "table.csv")} == {"", "checkpoints"}
    latex = (sweep / "page" / "table.tex").read_text(encoding="utf-8")
    assert "% * one of the two has a single seed" in latex
    assert {*re.findall(r"\^\{(.*?)\}", latex)} <= {"+*", "-*"}


def test_each_baseline_has_tests_of_its_own(tmp_path: Path):
    sweep = made_up_sweep(tmp_path / "s", ARMS, baseline=["alpha=1", "alpha=0"])
    seen = text(write_page(sweep))
    assert "compared with alpha=1, alpha=0" in seen
    tested = {(row["baseline"], row["arm"]) for row in rows(sweep / "page" / "table.csv") if row["metric"] == "map"}
    assert tested == {(baseline, arm) for baseline in ("alpha=1", "alpha=0") for arm in ARMS if arm != baseline}
    assert (sweep / "page" / "table.tex").read_text(encoding="utf-8").count("\\begin{tabular}") == 2


def test_differences_within_groups_are_drawn_along_them(tmp_path: Path):
    arms = {"a_steps=10": 0.5, "b_steps=10": 2.0, "a_steps=20": 0.5, "b_steps=20": 0.1, "c_steps=20": 0.6}
    folder = made_up_sweep(tmp_path / "s", arms, baseline=["a_steps=10", "a_steps=20"])
    seen = text(write_page(folder))
    assert "How the differences change" in seen
    assert "tested against a_steps=10 and a_steps=20, each within its own group" in seen
    assert (folder / "page" / "figures" / "records-effects.pdf").is_file()
    sweep = read_sweep(folder)
    axis = axis_of_groups(sweep)
    assert axis is not None
    assert (axis.label, axis.ticks) == ("steps (0 is a)", [(0.0, "10"), (1.0, "20")])
    charts = effects(axis, sweep, analyse(sweep), "records")
    assert [chart.title for chart in charts] == ["Mo. mAP", "Cr. mAP", "Mul. mAP", "Rank distance"]
    assert charts[-1].about == "difference from a; below 0 is better"
    tested = {
        row["arm"]: tuple(float(row[name]) for name in ("difference", "difference_low", "difference_high"))
        for row in rows(folder / "page" / "table.csv")
        if row["metric"] == "rank_distance" and row["baseline"]
    }
    drawn = {
        line.label: [(x, tuple(value.model_dump().values())) for x, value in line.joined] for line in charts[-1].lines
    }
    assert drawn == {
        "b": [(0.0, tested["b_steps=10"]), (1.0, tested["b_steps=20"])],
        "c": [(1.0, tested["c_steps=20"])],
    }
    assert (folder / "page" / "changes.csv").is_file()
    tabulars = (folder / "page" / "table.tex").read_text(encoding="utf-8").split("\n\n")
    assert [re.findall(r"^([abc]).*?steps=(\d+) ", tabular, re.M) for tabular in tabulars] == [
        [("a", "10"), ("b", "10")],
        [("a", "20"), ("b", "20"), ("c", "20")],  # the first is compared with, the others are tested
    ]
    mine = folder / "page" / "figures" / "mine.txt"
    mine.write_text("notes")
    write_plan(folder, sweep.plan.model_copy(update={"baseline": ["a_steps=10"]}))
    write_page(folder)
    assert not (folder / "page" / "changes.csv").exists()  # what only the page against two baselines has
    assert not list((folder / "page" / "figures").glob("*-effects.*"))
    assert mine.exists()


def test_each_of_several_baselines_has_charts_of_its_own(tmp_path: Path):
    arms = {f"{arm}_steps={steps}": gain for steps in (10, 20) for arm, gain in (("a", 0.5), ("b", 2.0), ("c", 0.1))}
    baselines = [f"{arm}_steps={steps}" for arm in "ab" for steps in (10, 20)]
    sweep = read_sweep(made_up_sweep(tmp_path / "s", arms, baseline=baselines))
    statistics, axis = analyse(sweep), axis_of_groups(sweep)
    assert axis is not None
    charts = [chart for chart in effects(axis, sweep, statistics, "records") if chart.title == "Mul. mAP"]
    assert [chart.about.partition(";")[0] for chart in charts] == ["difference from a", "difference from b"]
    for chart, baseline, others in zip(charts, "ab", ("bc", "ac"), strict=True):
        drawn = {line.label: [value.estimate for _, value in line.joined] for line in chart.lines}
        tables = {table.baseline: table for table in statistics.of_task("records", "headline")}
        tests = {
            arm: [
                tables[f"{baseline}_steps={steps}"].test(f"{arm}_steps={steps}", ("map", "multilingual"))
                for steps in (10, 20)
            ]
            for arm in others
        }
        assert drawn == {arm: [test.difference.difference for test in of_arm if test] for arm, of_arm in tests.items()}


def test_without_the_baseline_nothing_is_tested(tmp_path: Path):
    sweep = made_up_sweep(tmp_path / "s", ARMS, (0,), [("alpha=1", 0)], baseline="alpha=1")
    seen = text(write_page(sweep))
    assert "The baseline alpha=1 has no evaluated run" in seen
    assert "Nothing was tested" in seen
    assert {row["p"] for row in rows(sweep / "page" / "table.csv")} == {""}


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, "is no sweep"),
        ({"arms": []}, "at least 1"),
        ({"version": 2}, "version"),
        ({"baseline": "b"}, "'b' is no arm"),
        ({"extra": 1}, "extra"),
        ({}, "none of its 1 runs"),
    ],
)
def test_what_is_no_sweep_is_refused_in_one_line(tmp_path: Path, content: dict | None, error: str):
    if content is not None:
        plan = made_up_plan([made_up_arm("a")]).model_dump(mode="json")
        (tmp_path / "sweep.json").write_text(json.dumps(plan | content))
    with pytest.raises(ValueError, match=error) as caught:
        read_sweep(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_axis_is_the_first_field_with_numbers():
    line = axis_of(
        [
            made_up_arm("a", alpha=1.0, data=5),
            made_up_arm("b", alpha=0.0, data=5),
            made_up_arm("c", alpha=0.25, data=5),
            made_up_arm("x"),
        ]
    )
    assert line.series == {"data 5": {"b": 0.0, "c": 0.25, "a": 1.0}}
    assert list(line.beside) == ["x"]
    assert line.beside["x"] > 1
    grid = axis_of([made_up_arm(f"{a}{d}", alpha=a, data=d) for a in (0, 1) for d in (5, 9)])
    assert grid.series == {"data 5": {"05": 0.0, "15": 1.0}, "data 9": {"09": 0.0, "19": 1.0}}
    sizes = axis_of([made_up_arm(str(size), batch=size) for size in (16, 64, 256)])
    assert list(sizes.series[""].values()) == [0.0, 0.5, 1.0]  # equal ratios, equal distances
    assert "log" in sizes.label
    names = axis_of([made_up_arm("X-X"), made_up_arm("X-Y")])
    assert not names.numeric
    assert list(names.beside.values()) == [0.0, 1.0]
