"""The rows of a report's tables, as text: what the page and the Markdown both show of tasks that are ranked in full."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from hybrid_jax.eval.measures.catalogue import BIAS, FULL_RANKING, HEADLINE, METRICS, SETTINGS, Metric, Setting
from hybrid_jax.eval.report.schema import BiasValue, Headline, Provenance, PublishedFigures, RankedResult, Report

GROUP_LABELS = {"script": "script", "family": "family", "seen": "in training"}
RANK_DISTANCE = "rank_distance"


class Cell(NamedTuple):
    """A figure and its 95 % interval as text; `interval` is empty where there is none."""

    figure: str
    interval: str = ""


class Row(NamedTuple):
    """One model's line in a comparison."""

    model: str
    cells: tuple[Cell, ...]
    source: str = ""
    """Where the figures were published; empty for our own."""


class BiasRow(NamedTuple):
    """One measure of the bias panel."""

    metric: Metric
    here: BiasValue
    """Of the evaluated model."""
    others: dict[str, BiasValue]
    """Of the models beside it, by their labels."""


def number(value: float | None, digits: int = 4) -> str:
    """A figure with fixed decimals, or a dash for None."""
    # Adding 0.0 turns -0.0, which small negative values round to, into 0.0.
    return "–" if value is None else f"{round(value, digits) + 0.0:,.{digits}f}"


def amount(metric: str, value: float | None) -> str:
    """A figure with the decimals of its metric, or a dash for None."""
    return number(value, METRICS[metric].digits)


def interval(metric: str, value: BiasValue) -> str:
    """The interval of a bias measure, or nothing where it has none."""
    return "" if value.low is None else f"{amount(metric, value.low)} – {amount(metric, value.high)}"


def models(report: Report, key: str) -> Iterator[tuple[str, Headline]]:
    """(label, headline) of the evaluated model, then of the models beside it."""
    yield report.label, report.tasks[key]
    for label, tasks in report.others.items():
        if key in tasks:
            yield label, tasks[key]


def facts(result: RankedResult) -> str:
    """What was ranked, and over how many languages or pairs each mean is taken."""
    settings = result.settings
    return (
        f"{result.about}; candidates written as {result.candidate_text}; {result.questions:,} questions, "
        f"{result.candidates:,} candidates; means over {settings['monolingual']} languages (Mo.), "
        f"{settings['cross_lingual']} ordered pairs (Cr.), {settings['multilingual']} query languages (Mul.)"
    )


def compared_metric(report: Report, key: str) -> Metric:
    """What the models are compared by: mAP, unless only another metric was published of the task."""
    printed = {metric for entry in report.published.get(key, []) for metric in entry.values}
    return next((metric for name, metric in FULL_RANKING.items() if name in printed), FULL_RANKING["map"])


def compared_rows(report: Report, key: str) -> list[Row]:
    """`compared_metric` in the three settings and the rank distance: the evaluated models, then published ones."""
    metric = compared_metric(report, key).name
    columns: list[tuple[str, Setting]] = [*((metric, setting) for setting in SETTINGS), (RANK_DISTANCE, "multilingual")]
    rows = [
        Row(model, tuple(_cell(headline, *column) for column in columns)) for model, headline in models(report, key)
    ]
    for entry in report.published.get(key, []):
        if metric in entry.values or RANK_DISTANCE in entry.values:
            cells = [Cell(amount(name, entry.values.get(name, {}).get(setting))) for name, setting in columns]
            rows.append(Row(entry.system, tuple(cells), cited(entry)))
    return rows


def sources(report: Report, key: str) -> list[str]:
    """Where the task's published figures are printed, in the order of their first appearance; tables number them."""
    return list(dict.fromkeys(cited(entry) for entry in report.published.get(key, [])))


def cited(entry: PublishedFigures) -> str:
    """A published entry's source with its address and note."""
    return f"{entry.source}, {entry.url}" + (f". {entry.note}" if entry.note else "")


def all_metrics(report: Report, key: str) -> Iterator[tuple[str, str, tuple[Cell, ...]]]:
    """(metric's label, model, a cell per setting) for every metric and every evaluated model."""
    for name, metric in HEADLINE.items():
        for model, headline in models(report, key):
            if name in FULL_RANKING:
                cells = tuple(_cell(headline, name, setting) for setting in SETTINGS)
            else:
                cells = (Cell(""), Cell(""), _cell(headline, name, "multilingual"))
            yield metric.label, model, cells


def bias_rows(report: Report, key: str) -> list[BiasRow]:
    """The bias panel in its order; empty for a task with candidates of one language."""
    others = dict(list(models(report, key))[1:])
    return [
        BiasRow(metric, here, {label: other.bias[name] for label, other in others.items() if name in other.bias})
        for name, metric in BIAS.items()
        if (here := report.tasks[key].bias.get(name)) is not None
    ]


def provenance_rows(provenance: Provenance) -> list[tuple[str, str]]:
    """(name, value) of all that is stated, what the encoder states first."""
    fields = {name: getattr(provenance, name) for name in Provenance.model_fields}
    return list(_flat({**(provenance.model_extra or {}), **fields}))


def provenance_groups(provenance: Provenance) -> dict[str, list[tuple[str, str]]]:
    """`provenance_rows` under headings, those of the same first name together."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, value in provenance_rows(provenance):
        heading = name.partition(" · ")[0]
        groups.setdefault(heading if " · " in name else "", []).append((name, value))
    return groups


def _flat(values: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Nested values as ("data_sha256 · xquad_r · xquad-r/ar.json", value) pairs; items of a list have their name."""
    for name, value in values.items():
        path = (*above, str(name))
        if isinstance(value, Mapping):
            yield from _flat(value, path)
        elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            yield from _flat({str(item.get("name", place)): item for place, item in enumerate(value, start=1)}, path)
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            yield " · ".join(path), "–" if value is None else shown or "–"


def _cell(headline: Headline, metric: str, setting: Setting) -> Cell:
    limits = headline.intervals.get(metric, {}).get(setting)
    shown = " – ".join(amount(metric, limit) for limit in limits) if limits else ""
    return Cell(amount(metric, headline.value(metric, setting)), shown)
