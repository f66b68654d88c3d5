"""Whether a difference changes from group to group: a value worked out by hand, and how often the test is wrong."""

import csv
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom
from support.made_up_plan import made_up_arm, made_up_plan
from support.made_up_sweep import made_up_sweep

from hybrid_jax.ablate.changes import changes
from hybrid_jax.ablate.page import write_page
from hybrid_jax.ablate.results import Evaluated, Sweep
from hybrid_jax.eval.measures.holm import holm
from hybrid_jax.eval.measures.per_query import Table
from hybrid_jax.eval.report.schema import Report

MUL = ("map", "multilingual")
NAMES = ("a_steps=1", "b_steps=1", "a_steps=9", "b_steps=9")


def table(values: np.ndarray) -> Table:
    """Mul. mAP of questions in one language, and nothing else."""
    return Table(
        data_sha256={"made up": "0" * 64},
        ids=tuple(map(str, range(len(values)))),
        languages=("de",) * len(values),
        candidate_languages=("de",),
        monolingual={},
        cross_lingual={},
        multilingual={"map": values},
    )


def sweep(arms: dict[str, list[np.ndarray]], baseline: list[str]) -> Sweep:
    """A sweep whose runs have these values."""
    report = Report.model_construct(tasks={})
    plan = made_up_plan([made_up_arm(name) for name in arms], baseline=baseline)
    runs = {
        name: tuple(Evaluated(seed, report, {"t": table(values)}, None) for seed, values in enumerate(of_seeds))
        for name, of_seeds in arms.items()
    }
    return Sweep(Path("s"), plan, runs, (), (), None)


def test_a_change_is_that_worked_out_by_hand():
    values = dict(zip(NAMES, ([0.1, 0.3], [0.2, 0.4], [0.5, 0.5], [0.9, 0.8]), strict=True))
    arms = {name: [np.array(row), np.array(row) + 0.01] for name, row in values.items()}
    arms["a_steps=9"].append(np.array([0.5, 0.5]) + 0.005)  # an unfinished sweep has more seeds of some arms
    [found] = changes(sweep(arms, ["a_steps=1", "a_steps=9"]), "t")
    assert (found.arm, found.first, found.figure) == ("b_steps=9", "b_steps=1", MUL)
    assert found.change.difference == pytest.approx((0.85 - 0.5) - (0.3 - 0.2))
    assert found.change.low < 0.25 < found.change.high


def test_each_baseline_is_followed_by_itself():
    arms = {name: [np.array([0.1, 0.2])] * 2 for name in (*NAMES, "c_steps=1", "c_steps=9", "d_steps=9")}
    found = changes(sweep(arms, ["a_steps=1", "b_steps=1", "b_steps=9", "a_steps=9"]), "t")
    # d has no first group; and of two baselines each is an arm that the other tests.
    assert [(one.arm, one.baseline, one.first) for one in found] == [
        *(("a_steps=9", "b_steps=9", "a_steps=1"), ("c_steps=9", "b_steps=9", "c_steps=1")),
        *(("b_steps=9", "a_steps=9", "b_steps=1"), ("c_steps=9", "a_steps=9", "c_steps=1")),
    ]
    assert all(one.recipes for one in found)


def test_a_single_seed_makes_it_a_change_of_checkpoints():
    arms = {name: [np.array([0.1, 0.2])] * (1 if name == "a_steps=1" else 2) for name in NAMES}
    [found] = changes(sweep(arms, ["a_steps=1", "a_steps=9"]), "t")
    assert not found.recipes


def test_without_groups_there_is_nothing_to_test():
    arms = {name: [np.array([0.1, 0.2])] * 2 for name in NAMES}
    assert changes(sweep(arms, ["a_steps=1"]), "t") == []


@pytest.mark.parametrize("seeds", [1, 3])
def test_changes_are_seldom_found_where_there_are_none_and_mostly_where_there_are(seeds: int):
    """Arms differ by .3 in both groups, or by .4 more in the second; seeds and questions vary. One test a sweep."""
    rng, trials, questions = np.random.default_rng(seeds), 100, 60

    def rate(more: float) -> int:
        count = 0
        for _ in range(trials):
            by_question = rng.standard_normal(questions)
            gains = (0.0, 0.3, 0.0, 0.3 + more)
            arms = {
                name: [
                    gain
                    + by_question
                    + (0.05 * rng.standard_normal() if seeds > 1 else 0)  # one seed is taken as that checkpoint
                    + 0.3 * rng.standard_normal(questions)
                    for _ in range(seeds)
                ]
                for name, gain in zip(NAMES, gains, strict=True)
            }
            [found] = changes(sweep(arms, ["a_steps=1", "a_steps=9"]), "t")
            count += found.change.verdict != "no evidence"
        return count

    assert rate(0.0) <= binom.ppf(0.999, trials, 0.05)
    assert rate(0.4) >= 90  # five standard errors with three seeds


def test_the_page_says_which_differences_change(tmp_path: Path):
    arms = {"a_steps=10": 0.5, "b_steps=10": 2.0, "a_steps=20": 0.5, "b_steps=20": 0.1}
    folder = made_up_sweep(tmp_path / "s", arms, range(4), baseline=["a_steps=10", "a_steps=20"])
    page = write_page(folder)
    with (folder / "page" / "changes.csv").open(encoding="utf-8") as file:
        [mul] = [row for row in csv.DictReader(file) if (row["metric"], row["setting"]) == MUL]
    assert (mul["arm"], mul["first"], mul["verdict"]) == ("b_steps=20", "b_steps=10", "better")
    assert float(mul["low"]) > 0
    seen = page.read_text(encoding="utf-8")
    stands = "b_steps=20 stands better against a_steps=20 than b_steps=10 against its own baseline by"
    assert f"{stands} +{float(mul['change']):.4f}" in seen
    assert "<small>from a_steps=20, less b_steps=10</small>" in seen
    assert (mul["baseline"], mul["about"]) == ("a_steps=20", "recipes")
    with (folder / "page" / "changes.csv").open(encoding="utf-8") as file:
        assert f"Besides them, {len(list(csv.DictReader(file)))} tests ask if a difference changes" in seen


def test_a_page_without_groups_has_no_changes(tmp_path: Path):
    folder = made_up_sweep(tmp_path / "s", {"a_steps=10": 0.5, "b_steps=10": 2.0})
    page = write_page(folder).read_text(encoding="utf-8")
    assert "How the differences change" not in page
    assert "tests ask if" not in page
    assert not (folder / "page" / "changes.csv").exists()


def test_changes_are_corrected_over_the_task():
    rng = np.random.default_rng(3)
    gains = dict(zip((*NAMES, "c_steps=1", "c_steps=9"), (0, 0.1, 0, 0.3, 0, 0.2), strict=True))
    arms = {name: [gain + rng.uniform(0, 1, 40) for _ in range(3)] for name, gain in gains.items()}
    found = [one.change for one in changes(sweep(arms, ["a_steps=1", "a_steps=9"]), "t")]
    assert len(found) == 2
    assert [change.p_holm for change in found] == holm([change.p for change in found])
    assert min(change.p_holm for change in found) == 2 * min(change.p for change in found)
