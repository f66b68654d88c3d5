"""Searched pools and mined bitext on a sweep's page: means over seeds that can be worked out by hand."""

from pathlib import Path

from support.made_up_plan import made_up_arm, made_up_plan
from support.made_up_report import made_up_report

from hybrid_jax.ablate.other_tasks import others
from hybrid_jax.ablate.results import Evaluated, Sweep
from hybrid_jax.eval.report.schema import BitextPair, BitextResult, Report


def run(seed: int, accuracy: float, *, searched: bool = True) -> Evaluated:
    report = made_up_report({"tatoeba": ["de-en"]})
    values = {**report.bitext["tatoeba"].metrics, "accuracy": accuracy}
    pairs = {"de-en": BitextPair.model_validate({"sentences": 9, "margin_threshold": 1.0, **values})}
    mined = BitextResult.model_validate({"sentences": 9, "about": "Tatoeba", "pairs": pairs, **values})
    change = {"bitext": {"tatoeba": mined}, "searches": report.searches if searched else {}}
    return Evaluated(seed, Report.model_validate(report.model_copy(update=change)), {}, None)


def sweep(runs: dict[str, tuple[Evaluated, ...]]) -> Sweep:
    return Sweep(Path("s"), made_up_plan([made_up_arm(name) for name in runs], (0, 1)), runs, (), (), None)


def test_an_arm_has_the_mean_of_its_seeds_and_every_one_of_them():
    tables = others(sweep({"a": (run(0, 0.5), run(1, 0.7)), "b": (run(0, 0.25),)}))
    assert [table.key for table in tables] == ["miracl", "miracl_hn", "beir:/data/scifact", "tatoeba"]
    bitext = tables[-1]
    column = bitext.header.index("accuracy")
    assert {arm: cells[column] for arm, cells in bitext.rows.items()} == {
        "a": ("0.6000", "0.5000, 0.7000"),
        "b": ("0.2500", ""),
    }


def test_a_task_that_a_run_lacks_is_left_out():
    tables = others(sweep({"a": (run(0, 0.5),), "b": (run(0, 0.5, searched=False),)}))
    assert [table.key for table in tables] == ["tatoeba"]
