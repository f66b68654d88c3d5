"""What the page and the Markdown both show: the rows of a report's tables, before anyone draws them.

Knows: report.json (`build.py`). Does not know: HTML, Markdown, colours.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from hybrid_jax.eval.measures.catalogue import BIAS, FULL_RANKING, SETTINGS

SHORT = {"monolingual": "Mo.", "cross_lingual": "Cr.", "multilingual": "Mul."}
LABELS = {
    "map": "mAP",
    "recall@1": "R@1",
    "recall@10": "R@10",
    "mrr": "MRR",
    "ndcg@10": "nDCG@10",
    "rank_distance": "Rank distance",
    "rank_distance_median": "Rank distance, median",
}
BIASED = {"lower": "higher", "higher": "lower", "neither": "neither"}
KINDS = {"script": "script", "family": "family", "seen": "in training"}

Report = Mapping[str, Any]


class Cell(NamedTuple):
    """A figure and its 95 % interval, as they are printed; `within` is empty where there is none."""

    figure: str
    within: str = ""


class Row(NamedTuple):
    """One line of a comparison."""

    model: str
    cells: tuple[Cell, ...]
    source: str = ""
    """Where a figure that is not ours was published; ours have none."""


class BiasRow(NamedTuple):
    """One measure of the panel: of the evaluated model, of a model without bias, and of the others."""

    name: str
    label: str
    asks: str
    biased: str
    here: Mapping[str, Any]
    others: tuple[tuple[str, Mapping[str, Any]], ...]


def number(value: float | None, digits: int = 4) -> str:
    """A figure with fixed decimals, or a dash where there is none."""
    # Adding 0.0 makes what rounds to -0.0 a 0.0.
    return "–" if value is None else f"{round(value, digits) + 0.0:,.{digits}f}"


def amount(name: str, value: float | None) -> str:
    """A figure with the decimals that its measure deserves: depths are in the thousands, shares below 1."""
    return number(value, 1 if name in ("rank_distance", "rank_distance_median", "max_rank") else 3)


def models(report: Report, key: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The evaluated model's headline first, then the others'."""
    yield report["label"], report["tasks"][key]
    for label, tasks in report["others"].items():
        if key in tasks:
            yield label, tasks[key]


def facts(result: Mapping[str, Any]) -> str:
    """What was ranked, and over what each mean is taken."""
    settings = result["settings"]
    return (
        f"{result['about']}; candidates written as {result['candidate_text']}; {result['questions']:,} questions, "
        f"{result['candidates']:,} candidates; means over {settings['monolingual']} languages (Mo.), "
        f"{settings['cross_lingual']} ordered pairs (Cr.), {settings['multilingual']} query languages (Mul.)"
    )


def compared_metric(report: Report, key: str) -> str:
    """What a comparison is of: mAP, unless others published only another metric."""
    printed = {metric for theirs in report["published"].get(key, []) for metric in theirs["values"]}
    return next((metric for metric in FULL_RANKING if metric in printed), "map")


def compared_rows(report: Report, key: str) -> list[Row]:
    """The evaluated models on `compared_metric` in the three settings, the rank distance last; then what others
    published."""
    metric = compared_metric(report, key)
    rows = []
    for model, scores in models(report, key):
        cells = [_cell(scores, metric, setting, 4) for setting in SETTINGS]
        rows.append(Row(model, (*cells, _cell(scores, "rank_distance", "multilingual", 1))))
    for theirs in report["published"].get(key, []):
        values = theirs["values"]
        if metric in values or "rank_distance" in values:
            figures = [Cell(number(values.get(metric, {}).get(setting))) for setting in SETTINGS]
            distance = Cell(number(values.get("rank_distance", {}).get("multilingual"), 1))
            rows.append(Row(theirs["system"], (*figures, distance), cited(theirs)))
    return rows


def sources(report: Report, key: str) -> list[str]:
    """Where the published figures of a task are printed, and what is to be minded, numbered from 1 as they appear."""
    return list(dict.fromkeys(cited(theirs) for theirs in report["published"].get(key, [])))


def cited(theirs: Mapping[str, Any]) -> str:
    """A published entry's source, with its address and its note."""
    return f"{theirs['source']}, {theirs['url']}" + (f". {theirs['note']}" if theirs["note"] else "")


def all_metrics(report: Report, key: str) -> Iterator[tuple[str, str, tuple[Cell, ...]]]:
    """(metric, model, a cell per setting) of every metric of every evaluated model."""
    for metric in FULL_RANKING:
        for model, scores in models(report, key):
            yield LABELS[metric], model, tuple(_cell(scores, metric, setting, 4) for setting in SETTINGS)
    for metric in ("rank_distance", "rank_distance_median"):
        for model, scores in models(report, key):
            yield LABELS[metric], model, (Cell(""), Cell(""), _cell(scores, metric, "multilingual", 1))


def bias_rows(report: Report, key: str) -> list[BiasRow]:
    """The panel, in its order; empty for a task of one language."""
    here, *others = models(report, key)
    return [
        BiasRow(
            name,
            measure.label,
            measure.question,
            BIASED[measure.better],
            here[1]["bias"][name],
            tuple((label, scores["bias"][name]) for label, scores in others if name in scores["bias"]),
        )
        for name, measure in BIAS.items()
        if name in here[1]["bias"]
    ]


def within(name: str, found: Mapping[str, Any]) -> str:
    """The interval of a measure of the panel; nothing where it has none."""
    return "" if found["low"] is None else f"{amount(name, found['low'])} – {amount(name, found['high'])}"


def flat(values: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Nested provenance as ("data_sha256 · xquad_r · xquad-r/ar.json", value) pairs."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, (*above, str(name)))
        else:
            yield " · ".join((*above, str(name))), "–" if value is None else str(value)


def _cell(scores: Mapping[str, Any], metric: str, setting: str, digits: int) -> Cell:
    value = scores[metric][setting] if metric in FULL_RANKING else scores[metric]
    limits = scores["intervals"].get(metric, {}).get(setting)
    return Cell(number(value, digits), " – ".join(number(limit, digits) for limit in limits) if limits else "")
