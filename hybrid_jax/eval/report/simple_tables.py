"""Searched pools and mined bitext in a report: each a plain table, a row per language or pair and their mean.

Knows: the results of `searching.evaluate` and `mining.evaluate`. Does not know: how a table is drawn.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from hybrid_jax.eval.report.rows import cited, sources

SEARCH = {"ndcg@10": "nDCG@10", "recall@100": "R@100", "map@100": "mAP@100", "mrr@10": "MRR@10"}
BITEXT = {
    "accuracy": "accuracy",
    "accuracy_forward": "forward",
    "accuracy_backward": "backward",
    "weighted_f1_forward": "F1 (mteb)",
    "margin_f1": "margin F1",
}


class Listing(NamedTuple):
    """One table, with its mean over all rows."""

    key: str
    facts: str
    header: list[str]
    rows: list[list[str]]
    mean: list[str]
    groups: list[list[str]]
    """Means over languages of one script, one family, or (not) seen in training."""
    theirs: list[list[str]]
    """What others published, to be shown as theirs: their system and the number of its note, then their means."""
    notes: list[str]
    """Where that is printed, and what is to be minded."""


def listings(report: Mapping[str, Any]) -> list[Listing]:
    """The tables of a report's "searches" and "bitext", in its order."""
    found = []
    for key, result in report.get("searches", {}).items():
        missing = result["relevant_missing"]
        facts = f"{result['about']}; {result['questions']:,} questions, {result['candidates']:,} candidates" + (
            f"; {missing:,} relevant candidates are not in the corpus and count as not found" if missing else ""
        )
        rows = {language: (row, row["questions"]) for language, row in result["per_language"].items()}
        notes = sources(report, key)
        theirs = [
            [
                f"{row['system']} (published, {notes.index(cited(row)) + 1})",
                *(_printed(row["values"], metric) for metric in SEARCH),
                "",
            ]
            for row in report["published"].get(key, [])
        ]
        groups = [
            [f"{group} ({' '.join(row['languages'])})", *(f"{row[metric]:.4f}" for metric in SEARCH), ""]
            for members in result["groups"].values()
            for group, row in members.items()
        ]
        found.append(_listing(key, facts, "language", "questions", SEARCH, rows, result, (groups, theirs, notes)))
    for key, result in report.get("bitext", {}).items():
        facts = f"{result['about']}; {result['sentences']:,} sentence pairs in {len(result['pairs'])} language pairs"
        rows = {pair: (row, row["sentences"]) for pair, row in result["pairs"].items()}
        found.append(_listing(key, facts, "pair", "sentences", BITEXT, rows, result))
    return found


def _listing(
    key: str,
    facts: str,
    of: str,
    counted: str,
    labels: Mapping[str, str],
    rows: Mapping[str, tuple[Mapping[str, Any], int]],
    means: Mapping[str, Any],
    beside: tuple[list[list[str]], list[list[str]], list[str]] = ([], [], []),
) -> Listing:
    lines = [[name, *(f"{row[metric]:.4f}" for metric in labels), f"{count:,}"] for name, (row, count) in rows.items()]
    total = f"{sum(count for _, count in rows.values()):,}"
    mean = ["mean", *(f"{means[metric]:.4f}" for metric in labels), total]
    return Listing(key, facts, [of, *labels.values(), counted], lines, mean, *beside)


def _printed(values: Mapping[str, Any], metric: str) -> str:
    """A published macro mean over languages with a pool each, which is the monolingual setting; a dash for none."""
    value = values.get(metric, {}).get("monolingual")
    return "–" if value is None else f"{value:.4f}"
