"""A sweep's statistics: values worked out by hand, and how often arms that are the same are called different."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom
from support.made_up_plan import made_up_arm, made_up_plan

from hybrid_jax.ablate.charts import pareto_front
from hybrid_jax.ablate.findings import not_supported
from hybrid_jax.ablate.results import Evaluated, Sweep
from hybrid_jax.ablate.statistics import analyse, language_estimates, space_measures
from hybrid_jax.ablate.tables import latex
from hybrid_jax.eval.measures.holm import holm
from hybrid_jax.eval.measures.per_query import Table
from hybrid_jax.eval.report.rows import amount
from hybrid_jax.eval.report.schema import BiasValue, RankedResult, Report

MUL = ("map", "multilingual")
DISTANCE = ("rank_distance", "multilingual")
LEVEL = 0.05


def table(by_language: dict[str, list[float]], distance: list[float] | None = None) -> Table:
    """One value per question and language, the same in Mo. and Mul.; no cross-lingual answers."""
    languages = list(by_language)
    values = np.concatenate([np.array(by_language[language]) for language in languages])
    questions = len(values) // len(languages)
    return Table(
        data_sha256={"made up": "0" * 64},
        ids=tuple(str(number) for number in range(questions)) * len(languages),
        languages=tuple(np.repeat(languages, questions).tolist()),
        candidate_languages=tuple(languages),
        monolingual={"map": values},
        cross_lingual={"map": np.full((len(values), len(languages)), np.nan)},
        multilingual={"map": values, "rank_distance": np.tile(distance or np.arange(questions) + 1.0, len(languages))},
    )


def sweep(arms: dict[str, list[Table]], baseline: tuple[str, ...] = ()) -> Sweep:
    """A sweep whose runs have these values; the reports are not read by the statistics of values per query."""
    report = Report.model_construct(tasks={})
    plan = made_up_plan([made_up_arm(name) for name in arms], baseline=list(baseline))
    runs = {
        name: tuple(Evaluated(seed, report, {"t": table}, None) for seed, table in enumerate(tables))
        for name, tables in arms.items()
    }
    return Sweep(Path("s"), plan, runs, (), (), None)


def test_estimates_and_differences_are_those_worked_out_by_hand():
    first = table({"de": [0.1, 0.3], "en": [0.5, 0.7]})  # macro mean (.2 + .6) / 2
    again = table({"de": [0.3, 0.3], "en": [0.7, 0.7]})  # .5
    other = table({"de": [0.5, 0.5], "en": [0.9, 0.9]}, [4.0, 8.0])  # .7
    found = analyse(sweep({"a": [first, again], "b": [other, other]}))
    assert found.estimates["t", "a", MUL].estimate == pytest.approx(0.45)
    assert found.estimates["t", "b", MUL].estimate == pytest.approx(0.7)
    assert found.estimates["t", "b", DISTANCE].estimate == pytest.approx(6.0)
    [headline] = found.of_task("t", "headline")
    test = headline.test("b", MUL)
    assert test is not None
    assert test.difference.difference == pytest.approx(0.25)
    assert headline.test("a", MUL) is None
    assert found.figures("t", "headline") == [("map", "monolingual"), MUL, DISTANCE]
    by_language = language_estimates(sweep({"a": [first, again]}), "t", MUL)
    assert {code: arms["a"].estimate for code, arms in by_language.items()} == pytest.approx({"de": 0.25, "en": 0.65})


def test_what_a_run_lacks_or_has_of_other_queries_is_left_out_aloud():
    whole = table({"de": [0.1, 0.3], "en": [0.5, 0.7]})
    bare = replace(whole, multilingual={"map": whole.multilingual["map"]})
    holed = table({"de": [0.1, 0.3], "en": [0.5, 0.7]}, [4.0, np.nan])
    for other in (bare, holed):
        found = analyse(sweep({"a": [whole, whole], "b": [whole, other]}))
        assert found.left_out == {"t": ["rank_distance"]}
        assert found.figures("t", "headline") == [("map", "monolingual"), MUL]
    assert analyse(sweep({"a": [bare], "b": [bare]})).left_out == {}
    assert analyse(sweep({"a": [holed], "b": [holed]})).figures("t", "headline")[-1] == DISTANCE


def test_p_is_corrected_over_a_table_and_q_over_the_sweep():
    rng = np.random.default_rng(0)

    def runs(gain: float) -> list[Table]:
        return [table({"de": list(rng.uniform(0, 1, 40) + gain), "en": list(rng.uniform(0, 1, 40))}) for _ in range(3)]

    arms = {"a": runs(0.0), "b": runs(0.1), "c": runs(0.3)}
    found = analyse(sweep(arms, ("a", "b")))
    assert [part.baseline for part in found.tables] == ["a", "b"]
    every = [test for part in found.tables for test in part.tests]
    for part in found.tables:
        p = [test.difference.p for test in part.tests]
        assert [test.difference.p_holm for test in part.tests] == holm(p)
    # Benjamini and Hochberg: the smallest of p_k m / k over the ranks from a test's own on.
    ordered = sorted(test.difference.p for test in every)
    for test in every:
        later = range(ordered.index(test.difference.p), len(ordered))
        expected = min(ordered[rank] * len(ordered) / (rank + 1) for rank in later)
        assert test.q == pytest.approx(min(1.0, expected))


def test_arms_are_tested_within_their_group():
    rng = np.random.default_rng(0)

    def runs() -> list[Table]:
        return [table({"de": list(rng.uniform(0, 1, 9)), "en": list(rng.uniform(0, 1, 9))}) for _ in range(2)]

    names = ["a_steps=1", "b_steps=1", "c_steps=1", "a_steps=9", "b_steps=9", "b_steps=99"]
    arms = {name: runs() for name in names}
    found = {
        part.baseline: part.arms() for part in analyse(sweep(arms, ("a_steps=1", "a_steps=9"))).of_task("t", "headline")
    }
    # The group without a baseline is tested against all of them.
    assert found == {"a_steps=1": ["b_steps=1", "c_steps=1", "b_steps=99"], "a_steps=9": ["b_steps=9", "b_steps=99"]}
    [alone] = analyse(sweep(arms, ("a_steps=1",))).of_task("t", "headline")
    assert alone.arms() == names[1:]


def test_a_single_seed_speaks_of_checkpoints():
    one, two = table({"de": [0.1, 0.2], "en": [0.3, 0.4]}), table({"de": [0.2, 0.2], "en": [0.3, 0.5]})
    recipes = {
        arm: test.recipes
        for arm in "bc"
        for test in analyse(sweep({"a": [one, two], "b": [two, one], "c": [two]})).tables[0].tests
        if test.arm == arm
    }
    assert recipes == {"b": True, "c": False}
    single = analyse(sweep({"a": [one], "b": [two, one]})).tables[0].tests
    assert [test.recipes for test in single] == [False] * len(single)


def test_the_front_holds_what_nothing_beats_in_both():
    means = {
        "worst": (9.0, 0.1),
        "cheap": (1.0, 0.3),
        "good": (5.0, 0.9),
        "middle": (3.0, 0.5),
        "same bias": (3.0, 0.4),
    }
    assert pareto_front(means) == {"cheap", "middle", "good"}
    assert pareto_front({"a": (1.0, 0.5), "twin": (1.0, 0.5)}) == {"a", "twin"}


SWEEPS, SEEDS, QUESTIONS = 120, 3, 40


@pytest.mark.parametrize("spread", [0.0, 0.02, 0.2], ids=["questions alone", "both", "seeds alone"])
def test_arms_that_are_the_same_are_rarely_called_different(spread: float):
    """Three arms of one recipe: `spread` is the standard deviation between seeds, against .013 over questions."""
    rng = np.random.default_rng(7)
    single, by_table, by_sweep, tests = 0, 0, 0, 0
    for _ in range(SWEEPS):
        hard = rng.uniform(0.2, 0.8, (1, QUESTIONS))

        def run(hard: np.ndarray = hard) -> Table:
            values = hard + spread * rng.standard_normal() + 0.1 * rng.standard_normal((2, QUESTIONS))
            distance = 50 + 100 * spread * rng.standard_normal() + 10 * rng.standard_normal(QUESTIONS)
            return table({"de": values[0].tolist(), "en": values[1].tolist()}, distance.tolist())

        found = analyse(sweep({arm: [run() for _ in range(SEEDS)] for arm in "abc"}))
        every = [test for part in found.tables for test in part.tests]
        tests += len(every)
        single += sum(test.difference.p < LEVEL for test in every)
        by_table += any(test.difference.verdict != "no evidence" for test in every)
        by_sweep += any(test.q < LEVEL for test in every)
    # At most the nominal rate, within what 95 % of such simulations of an exact test would find. Tests of a sweep
    # depend on one another (a shared baseline), so their number is no larger than the sweeps' for this bound.
    assert single / tests <= binom.ppf(0.95, SWEEPS, LEVEL) / SWEEPS
    assert by_table <= binom.ppf(0.95, SWEEPS, LEVEL)
    assert by_sweep <= binom.ppf(0.95, SWEEPS, LEVEL)


def noisy(average_precision: float, distance: float, seeds: int = 3) -> list[Table]:
    """Runs with these values of mAP and rank distance, but for some noise above them."""
    rng = np.random.default_rng([int(1000 * average_precision), int(distance)])
    return [
        table(
            {code: list(rng.uniform(0, 0.1, 40) + average_precision) for code in ("de", "en")},
            list(rng.uniform(0, 1, 40) + distance),
        )
        for _ in range(seeds)
    ]


def test_verdicts_are_signs_in_the_latex_table():
    made_up = sweep({"a": noisy(0.3, 5.0), "b": noisy(0.6, 9.0), "same": noisy(0.301, 5.0), "one": noisy(0.6, 9.0, 1)})
    found = analyse(made_up)
    [headline] = found.of_task("t", "headline")
    source = latex(made_up, found)
    for arm, figure, verdict, sign in (
        ("b", MUL, "better", "^{+}"),
        ("b", DISTANCE, "worse", "^{-}"),
        ("same", MUL, "no evidence", ""),
        ("one", MUL, "better", "^{+*}"),
    ):
        test = headline.test(arm, figure)
        assert test is not None
        assert test.difference.verdict == verdict
        mean = amount(figure[0], found.estimates["t", arm, figure].estimate)
        assert f"${mean}{sign}$" in source


def test_without_a_verdict_the_largest_possible_difference_is_said():
    made_up = sweep({"a": noisy(0.3, 5.0), "same": noisy(0.301, 5.0)})
    found = analyse(made_up)
    [headline] = found.of_task("t", "headline")
    test = headline.test("same", MUL)
    assert test is not None
    ends = sorted((abs(test.difference.low), abs(test.difference.high)))
    assert f"{ends[0]:.4f}" != f"{ends[1]:.4f}"
    [line] = [line for line in not_supported(made_up, found, {"t": ()}) if line.startswith("t, Mul. mAP: no evidence")]
    assert line.endswith(f"nor that they are equal: differences up to {ends[1]:.4f} are possible.")


def test_measures_of_the_space_are_shown_where_every_run_has_them():
    def run(seed: int, probe: float | None) -> Evaluated:
        values = {"language_probe": probe, "favoured_language": 0.1, "hubness@20": 3.0}
        bias = {name: BiasValue(value=value, low=None, high=None, unbiased=None) for name, value in values.items()}
        report = Report.model_construct(tasks={"t": RankedResult.model_construct(bias=bias)})
        return Evaluated(seed, report, {"t": table({"de": [0.1, 0.2]})}, None)

    def of(probes: dict[str, list[float | None]]) -> dict[str, Any]:
        runs = {arm: tuple(run(seed, probe) for seed, probe in enumerate(row)) for arm, row in probes.items()}
        return space_measures(
            Sweep(Path("s"), made_up_plan([made_up_arm(arm) for arm in runs]), runs, (), (), None), "t"
        )

    favoured = {"favoured_language": {"a": [0.1, 0.1], "b": [0.1]}}  # hubness only describes
    assert of({"a": [0.5, 0.7], "b": [0.4]}) == {"language_probe": {"a": [0.5, 0.7], "b": [0.4]}} | favoured
    assert of({"a": [0.5, None], "b": [0.4]}) == favoured
    assert of({"a": [0.5, 0.7], "b": [None]}) == favoured
