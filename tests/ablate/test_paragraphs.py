"""Every figure of a sweep resamples by paragraph: where each question is there twice, it says as much as once."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.made_up_plan import made_up_arm, made_up_plan
from support.paragraphs import table, twice

from hybrid_jax.ablate.changes import changes
from hybrid_jax.ablate.findings import not_supported
from hybrid_jax.ablate.pairs import grouped
from hybrid_jax.ablate.results import Evaluated, Sweep
from hybrid_jax.ablate.statistics import analyse, language_estimates
from hybrid_jax.eval.measures.per_query import Table
from hybrid_jax.eval.report.schema import Report

ARMS = ("a_steps=1", "b_steps=1", "a_steps=9", "b_steps=9")
MUL = ("map", "multilingual")


def sweep(of: Mapping[str, list[Table]]) -> Sweep:
    plan = made_up_plan([made_up_arm(name) for name in ARMS], baseline=["a_steps=1", "a_steps=9"])
    report = Report.model_construct(tasks={})
    runs = {
        arm: tuple(Evaluated(seed, report, {"t": table}, None) for seed, table in enumerate(tables))
        for arm, tables in of.items()
    }
    return Sweep(Path("s"), plan, runs, (), (), None)


def limits(of: Sweep) -> list[float]:
    """All ends of intervals, and all p."""
    analysed = analyse(of)
    found = [end for at in analysed.estimates.values() for end in (at.low, at.high)]
    tests = [test.difference for family in analysed.tables for test in family.tests]
    tests += [changed.change for changed in changes(of, "t")]
    found += [number for test in tests for number in (test.low, test.high, test.p)]
    found += [
        end for arms in language_estimates(of, "t", MUL).values() for at in arms.values() for end in (at.low, at.high)
    ]
    for means in grouped(of, "t").distant.values():
        intervals = [each for mean in means.values() for each in (mean.mean, *mean.against.values())]
        found += [end for each in intervals for end in (each.low, each.high)]
    return found


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_question_that_is_there_twice_says_as_much_as_once(seeds: int):
    once = {arm: [table(10 * place + seed) for seed in range(seeds)] for place, arm in enumerate(ARMS)}
    by_paragraph = {arm: [twice(each, each.ids) for each in tables] for arm, tables in once.items()}
    alone = {arm: [twice(each, ()) for each in tables] for arm, tables in once.items()}
    expected = limits(sweep(once))
    assert len(expected) > 100
    assert limits(sweep(by_paragraph)) == pytest.approx(expected, rel=1e-9)
    assert limits(sweep(alone)) != pytest.approx(expected, rel=0.01)


def test_questions_on_few_paragraphs_have_no_verdict():
    once = {arm: [table(place)] for place, arm in enumerate(ARMS)}
    for arm, lift in (("b_steps=1", 0.5), ("b_steps=9", 2.0)):  # b differs from a, and by more after 9 steps
        (only,) = once[arm]
        raised = {**only.multilingual, "map": only.multilingual["map"] + lift}
        once[arm] = [replace(only, multilingual=raised)]
    few = {
        arm: [replace(each, paragraphs=tuple(str(int(name) % 4) for name in each.ids)) for each in tables]
        for arm, tables in once.items()
    }

    def told(of: Sweep) -> bool:
        sentences = not_supported(of, analyse(of), {})
        return any("fewer than 5 questions or paragraphs" in sentence for sentence in sentences)

    def verdicts(of: Sweep) -> set[str]:
        tests = [test.difference for family in analyse(of).tables for test in family.tests]
        return {test.verdict for test in [*tests, *(changed.change for changed in changes(of, "t"))]}

    assert not told(sweep(once))
    assert told(sweep(few))
    assert "better" in verdicts(sweep(once))
    assert "better" in {changed.change.verdict for changed in changes(sweep(once), "t")}
    assert verdicts(sweep(few)) == {"no evidence"}
    assert all(
        np.isnan(mean.mean.low) for means in grouped(sweep(few), "t").distant.values() for mean in means.values()
    )
