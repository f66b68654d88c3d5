"""Tables of searched pools and of mined bitext: a row per language or pair, and their mean."""

from collections.abc import Sequence
from typing import NamedTuple

from hybrid_jax.eval.measures.catalogue import BITEXT, POOLS, Metric
from hybrid_jax.eval.report.rows import amount, cited, sources
from hybrid_jax.eval.report.schema import BitextResult, PoolResult, PublishedFigures, Report
from hybrid_jax.eval.report.scores import Scores

BITEXT_COLUMNS = [metric for name, metric in BITEXT.items() if name != "weighted_f1_backward"]


class SimpleTable(NamedTuple):
    """One table; all cells are text."""

    key: str
    facts: str
    header: list[str]
    rows: list[list[str]]
    mean: list[str]
    """The mean over all rows."""
    groups: list[list[str]]
    """Means over the languages of one script, of one family, or (not) seen in training."""
    published: list[list[str]]
    """Figures that others published: the system with the number of its note, then its means."""
    notes: list[str]
    """Where those are printed, and where their protocol differs."""


def simple_tables(report: Report) -> list[SimpleTable]:
    """The tables of a report's `searches`, then of its `bitext`."""
    pools = [_pool(report, key, result) for key, result in report.searches.items()]
    return pools + [_bitext(key, result) for key, result in report.bitext.items()]


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
    questions = sum(row.questions for row in result.per_language.values())
    mean = ["mean", *_figures(result, metrics), f"{questions:,}"]
    header = ["language", *(metric.label for metric in metrics), "questions"]
    return SimpleTable(key, facts, header, rows, mean, groups, published, notes)


def _bitext(key: str, result: BitextResult) -> SimpleTable:
    facts = f"{result.about}; {result.sentences:,} sentence pairs in {len(result.pairs)} language pairs"
    rows = [[pair, *_figures(row, BITEXT_COLUMNS), f"{row.sentences:,}"] for pair, row in result.pairs.items()]
    sentences = sum(row.sentences for row in result.pairs.values())
    mean = ["mean", *_figures(result, BITEXT_COLUMNS), f"{sentences:,}"]
    header = ["pair", *(metric.label for metric in BITEXT_COLUMNS), "sentences"]
    return SimpleTable(key, facts, header, rows, mean, [], [], [])


def _figures(scores: Scores[float], metrics: Sequence[Metric]) -> list[str]:
    return [amount(metric.name, scores[metric.name]) for metric in metrics]


def _published(entry: PublishedFigures, metrics: Sequence[Metric]) -> list[str]:
    """Published macro means over languages with a pool each, which is the monolingual setting; a dash where none is."""
    return [amount(metric.name, entry.values.get(metric.name, {}).get("monolingual")) for metric in metrics]
