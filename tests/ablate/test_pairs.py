"""Cross-lingual mAP by groups of language pairs, with intervals: by what was trained on, and by distance."""

import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.made_up_plan import made_up_arm, made_up_plan
from support.made_up_sweep import made_up_sweep

from hybrid_jax.ablate.arms import Arm
from hybrid_jax.ablate.folder import write_plan
from hybrid_jax.ablate.page import write_page
from hybrid_jax.ablate.pairs import TRAINED, Pair, grouped
from hybrid_jax.ablate.results import Evaluated, Sweep, read_sweep
from hybrid_jax.ablate.typology import distance
from hybrid_jax.eval.measures import per_query
from hybrid_jax.eval.report.schema import Report


def curve_arm(size: int, *languages: str) -> Arm:
    overrides = {"data.datasets": [{"name": "a", "path": "a.jsonl", "languages": languages, "kinds": None}]}
    return Arm(name=f"languages={size}", overrides=overrides, axis={"languages": size})


CURVE = [curve_arm(2, "en", "de"), curve_arm(3, "en", "de", "th")]
ARMS = {"languages=2": 0.5, "languages=3": 1.0}


def mean(sweep: Sweep, arm: str, *pairs: Pair) -> Any:
    """The plain mean over pairs and runs."""
    return pytest.approx(
        np.mean(
            [
                table.cross_lingual["map"][
                    np.array(table.languages) == asking, table.candidate_languages.index(answering)
                ].mean()
                for table in (run.tables["records"] for run in sweep.runs[arm])
                for asking, answering in pairs
            ]
        )
    )


def test_pairs_are_apart_by_what_was_trained_on_and_by_script(tmp_path: Path):
    """Evaluated on de, en and th: an arm was trained on two of them, or all."""
    folder = made_up_sweep(tmp_path / "sweep", ARMS)
    write_plan(folder, made_up_plan(CURVE, (0, 1)))
    sweep = read_sweep(folder)
    of_task = grouped(sweep, "records")
    assert of_task.distant == of_task.limits == {}  # three pairs have no thirds

    both: list[Pair] = [("de", "en"), ("en", "de")]
    with_thai: list[Pair] = [("de", "th"), ("th", "de"), ("en", "th"), ("th", "en")]
    two, three = of_task.trained["languages=2"], of_task.trained["languages=3"]
    expected = {"both seen, same script": both, "one seen, another script": with_thai}
    assert {group: (value.pairs, value.mean.estimate) for group, value in two.items()} == {
        group: (len(pairs), mean(sweep, "languages=2", *pairs)) for group, pairs in expected.items()
    }
    assert all(value.against == {} for value in two.values())  # the baseline
    expected = {"both seen, same script": both, "both seen, another script": with_thai}
    assert list(three) == [group for group in TRAINED if group in expected]
    for group, pairs in expected.items():
        value = three[group]
        assert value.mean.estimate == mean(sweep, "languages=3", *pairs)
        against = value.against["languages=2"]
        assert against.low < against.estimate < against.high
        assert value.mean.estimate - against.estimate == mean(sweep, "languages=2", *pairs)

    page = write_page(folder).read_text(encoding="utf-8")
    assert "By what the arm was trained on: cross-lingual mAP" in page
    assert "By distance of the languages" not in page
    value = three["both seen, same script"]
    difference = "−" + f"{abs(value.against['languages=2'].estimate):.4f}"
    cell = rf"<td>{value.mean.estimate:.4f}<small>2 pairs</small><small>{difference} \[.*?\] from languages=2<"
    assert re.search(cell, page)
    # Of two baselines, one is tested against the other.
    write_plan(folder, made_up_plan(CURVE, (0, 1), baseline=["languages=2", "languages=3"]))
    trained = grouped(read_sweep(folder), "records").trained
    assert {arm: list(of_arm["both seen, same script"].against) for arm, of_arm in trained.items()} == {
        "languages=2": ["languages=3"],
        "languages=3": ["languages=2"],
    }
    # Arms of no curve were trained on what their config says, and have no such groups.
    write_plan(folder, made_up_plan([made_up_arm(name) for name in ARMS], (0, 1)))
    assert grouped(read_sweep(folder), "records").trained == {}


def test_pairs_are_apart_by_the_distance_of_their_languages(tmp_path: Path):
    languages = ("de", "en", "es", "th", "tr")
    folder = made_up_sweep(tmp_path / "sweep", {"alpha=0": 0.5, "alpha=1": 1.0}, languages=languages)
    sweep = read_sweep(folder)
    of_task = grouped(sweep, "records")
    # Ten pairs of two languages, by hand: 4 near, 3 in the middle and 3 far, each in two directions.
    two = sorted(((one, other) for one in languages for other in languages if one < other), key=lambda p: distance(*p))
    thirds = {"near": two[:4], "middle": two[4:7], "far": two[7:]}
    assert of_task.limits == {third: pytest.approx(distance(*pairs[-1])) for third, pairs in thirds.items()}
    assert thirds["near"][0] == ("de", "en")
    for arm in ("alpha=0", "alpha=1"):
        assert list(of_task.distant[arm]) == list(thirds)
        for third, pairs in thirds.items():
            directed = [(one, other) for pair in pairs for one, other in (pair, pair[::-1])]
            assert of_task.distant[arm][third].pairs == len(directed)
            assert of_task.distant[arm][third].mean.estimate == mean(sweep, arm, *directed)
    page = write_page(folder)
    assert "By distance of the languages: cross-lingual mAP" in page.read_text(encoding="utf-8")
    with (page.parent / "pairs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["arm"], row["group"], row["baseline"]) for row in rows] == [
        *(("alpha=0", third, "") for third in thirds),
        *(("alpha=1", third, "alpha=0") for third in thirds),
    ]
    far = of_task.distant["alpha=1"]["far"]
    last = rows[-1]
    assert [float(last[name]) for name in ("mean", "low", "high")] == list(far.mean)
    assert [float(last[f"difference{end}"]) for end in ("", "_low", "_high")] == list(far.against["alpha=0"])


def test_a_mean_over_pairs_of_which_one_has_few_questions_has_no_interval(tmp_path: Path):
    languages = ("de", "en", "es", "th", "tr")
    folder = made_up_sweep(tmp_path / "sweep", {"alpha=0": 0.5, "alpha=1": 1.0}, languages=languages)
    for path in folder.glob("runs/*/*/eval/per_query.npz"):
        tables = per_query.read(path)
        table = tables["records"]
        from_thai = np.array(table.languages) == "th"
        few = from_thai & (np.cumsum(from_thai) > 4)  # the fifth Thai question and those after it
        across = {name: np.where(few[:, None], np.nan, values) for name, values in table.cross_lingual.items()}
        per_query.write(path, {"records": replace(table, cross_lingual=across)})
    far = grouped(read_sweep(folder), "records").distant["alpha=1"]["far"]
    assert not np.isnan(far.mean.estimate)
    assert np.isnan([*far.mean[1:], *far.against["alpha=0"][1:]]).all()
    page = write_page(folder)
    difference = f"{abs(far.against['alpha=0'].estimate):.4f}"
    assert re.search(f"<small>[−+]{difference} from alpha=0</small>", page.read_text(encoding="utf-8"))
    assert "nan" not in (page.parent / "pairs.csv").read_text(encoding="utf-8")


def test_languages_without_features_have_no_distance(tmp_path: Path):
    folder = made_up_sweep(tmp_path / "sweep", {"alpha=0": 0.5}, languages=("de", "en", "es", "mul", "tr"))
    assert grouped(read_sweep(folder), "records").distant == {}
    assert not (write_page(folder).parent / "pairs.csv").exists()


def test_pairs_count_once_and_languages_are_known_by_any_of_their_codes():
    """An arm trained on zh and en, evaluated on zho_Hans, eng_Latn and deu_Latn, with three English questions."""
    languages = ("deu_Latn", "eng_Latn", "zho_Hans")
    nan = np.nan
    values = [[nan, 0.1, 0.2], [0.3, nan, 0.4], [0.3, nan, 0.5], [0.3, nan, 0.9], [0.7, 0.2, nan]]
    table = per_query.Table(
        data_sha256={},
        ids=("1", "1", "2", "3", "1"),
        languages=("deu_Latn", "eng_Latn", "eng_Latn", "eng_Latn", "zho_Hans"),
        candidate_languages=languages,
        cross_lingual={"map": np.array(values)},
        multilingual={"map": np.ones(5)},
    )
    arm = curve_arm(2, "zh", "en")
    runs = {arm.name: (Evaluated(0, Report.model_construct(tasks={}), {"t": table}, None),)}
    found = grouped(Sweep(Path("s"), made_up_plan([arm]), runs, (), (), None), "t").trained[arm.name]
    assert {group: value.mean.estimate for group, value in found.items()} == pytest.approx(
        {
            "both seen, another script": (0.6 + 0.2) / 2,  # en-zh is the mean of .4, .5 and .9
            "one seen, same script": (0.1 + 0.3) / 2,
            "one seen, another script": (0.2 + 0.7) / 2,
        }
    )
