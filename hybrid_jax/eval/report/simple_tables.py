"""Tables of searched pools and of mined bitext: the means of every model, and a row per language or pair."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from hybrid_jax.eval.measures.catalogue import BITEXT, POOLS, Metric
from hybrid_jax.eval.report.mode_tables import ModeTable, cutoff_table, first_table, mode_table
from hybrid_jax.eval.report.rows import Cell, amount, cited, sources
from hybrid_jax.eval.report.schema import BitextResult, PoolResult, PublishedFigures, Report
from hybrid_jax.eval.report.scores import Scores

BITEXT_COLUMNS = [metric for name, metric in BITEXT.items() if name != "weighted_f1_backward"]


Result = TypeVar("Result", PoolResult, BitextResult)


class Summary(NamedTuple):
    """The means of one model over all rows."""

    model: str
    cells: list[Cell]


class SimpleTable(NamedTuple):
    """One task; all cells are text."""

    key: str
    facts: str
    metrics: list[Metric]
    """Of the columns between the first and the last."""
    header: list[str]
    rows: list[list[str]]
    """Of the evaluated model, a row per language or pair of languages."""
    summaries: list[Summary]
    """The mean over all rows: of the evaluated model, then of those beside it."""
    total: str
    """How many questions or sentences the rows have together."""
    groups: list[list[str]]
    """Means over the languages of one script, of one family, or (not) seen in training."""
    published: list[list[str]]
    """Figures that others published: the system with the number of its note, then its means."""
    notes: list[str]
    """Where those are printed, and where their protocol differs."""
    modes: ModeTable
    first: ModeTable
    cutoffs: ModeTable

    @property
    def means(self) -> Iterator[list[str]]:
        """A row of text per model, intervals in brackets."""
        for number, (model, cells) in enumerate(self.summaries):
            shown = [f"{cell.figure} [{cell.interval}]" if cell.interval else cell.figure for cell in cells]
            yield ["mean" if number == 0 else f"mean, {model}", *shown, self.total]


def simple_tables(report: Report) -> list[SimpleTable]:
    """The tables of a report's `searches`, then of its `bitext`."""
    pools = [_pool(report, key, result) for key, result in report.searches.items()]
    return pools + [_bitext(report, key, result) for key, result in report.bitext.items()]


def _pool(report: Report, key: str, result: PoolResult) -> SimpleTable:
    metrics = list(POOLS.values())
    missing = result.relevant_missing
    facts = f"{result.about}; {result.questions:,} questions, {result.candidates:,} candidates" + (
        f"; {missing:,} relevant candidates are not in the corpus and count as not found" if missing else ""
    )
    if result.unanswerable:
        facts += f"; {result.unanswerable:,} questions have no relevant candidate in it and count as 0"
    notes = sources(report, key)
    published = [
        [f"{entry.system} (published, {notes.index(cited(entry)) + 1})", *_published(entry, metrics), ""]
        for entry in report.published.get(key, [])
    ]
    groups = [
        [f"{name} ({' '.join(group.languages)})", *_figures(group, metrics), ""]
        for members in result.groups.values()
        for name, group in members.items()
    ]
    rows = [[language, *_figures(row, metrics), f"{row.questions:,}"] for language, row in result.per_language.items()]
    models = [(report.label, result), *_beside(report.other_searches, key)]
    return SimpleTable(
        key=key,
        facts=facts,
        metrics=metrics,
        header=["language", *(metric.label for metric in metrics), "questions"],
        rows=rows,
        summaries=[_summary(label, model, model.intervals, metrics) for label, model in models],
        total=f"{sum(row.questions for row in result.per_language.values()):,}",
        groups=groups,
        published=published,
        notes=notes,
        modes=mode_table(models),
        first=first_table(models),
        cutoffs=cutoff_table(models),
    )


def _bitext(report: Report, key: str, result: BitextResult) -> SimpleTable:
    facts = f"{result.about}; {result.sentences:,} sentence pairs in {len(result.pairs)} language pairs"
    rows = [[pair, *_figures(row, BITEXT_COLUMNS), f"{row.sentences:,}"] for pair, row in result.pairs.items()]
    models = [(report.label, result), *_beside(report.other_bitext, key)]
    return SimpleTable(
        key=key,
        facts=facts,
        metrics=BITEXT_COLUMNS,
        header=["pair", *(metric.label for metric in BITEXT_COLUMNS), "sentences"],
        rows=rows,
        summaries=[_summary(label, model, model.intervals, BITEXT_COLUMNS) for label, model in models],
        total=f"{sum(row.sentences for row in result.pairs.values()):,}",
        groups=[],
        published=[],
        notes=[],
        modes=mode_table(()),
        first=first_table(()),
        cutoffs=cutoff_table(()),
    )


def _beside(others: Mapping[str, Mapping[str, Result]], key: str) -> list[tuple[str, Result]]:
    return [(label, tasks[key]) for label, tasks in others.items() if key in tasks]


def _summary(
    model: str, result: Scores[float], intervals: Mapping[str, tuple[float, float]], metrics: Sequence[Metric]
) -> Summary:
    cells = []
    for name in (metric.name for metric in metrics):
        shown = " – ".join(amount(name, limit) for limit in intervals.get(name, ()))
        cells.append(Cell(amount(name, result[name]), shown))
    return Summary(model, cells)


def _figures(scores: Scores[float], metrics: Sequence[Metric]) -> list[str]:
    return [amount(metric.name, scores[metric.name]) for metric in metrics]


def _published(entry: PublishedFigures, metrics: Sequence[Metric]) -> list[str]:
    """Published macro means over languages with a pool each, which is the monolingual setting; a dash where none is."""
    return [amount(metric.name, entry.values.get(metric.name, {}).get("monolingual")) for metric in metrics]
