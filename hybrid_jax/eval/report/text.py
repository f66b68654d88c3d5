"""A report for a terminal, and in Markdown for an issue or a pull request.

Knows: the rows of its tables (`rows.py`). Does not know: HTML.
"""

from collections.abc import Iterable, Sequence

from hybrid_jax.disk.tables import aligned
from hybrid_jax.eval.measures.per_query import SETTINGS
from hybrid_jax.eval.report.listings import listings
from hybrid_jax.eval.report.rows import (
    KINDS,
    LABELS,
    SHORT,
    Cell,
    Report,
    all_metrics,
    amount,
    bias_rows,
    compared_metric,
    compared_rows,
    facts,
    flat,
    models,
    number,
    sources,
    within,
)


def headline_table(report: Report) -> str:
    """mAP in the three settings and the rank distance of every task, and the means of searched pools and mined bitext,
    aligned for a terminal."""
    parts = [_headlines(report)] if report["tasks"] else []
    for listing in listings(report):
        parts.append("\n".join([f"{listing.key}: {listing.facts}", *aligned([listing.header, listing.mean])]))
    return "\n\n".join(parts)


def _headlines(report: Report) -> str:
    rows = [("task", "model", *SHORT.values(), "rank distance")]
    for key in report["tasks"]:
        for model, scores in models(report, key):
            means = [number(scores["map"][setting]) for setting in SETTINGS]
            rows.append((key, model, *means, number(scores["rank_distance"], 1)))
    lines = aligned(rows, left=(0, 1))
    lines.insert(1, "─" * max(map(len, lines)))
    return "\n".join(["mAP, full ranking; Mo. same language, Cr. language pairs, Mul. all languages at once", *lines])


def markdown(report: Report) -> str:
    """The page's tables, its texts and curves left out."""
    lines = [f"# {_plain(report['title'])}", ""]
    for key, result in report["tasks"].items():
        lines += [f"## {key}", "", _plain(facts(result)), "", *_compared(report, key), *_bias(report, key)]
        lines += ["Every metric:", ""]
        lines += _table(
            ["metric", "model", *SHORT.values()],
            [[metric, model, *map(_both, cells)] for metric, model, cells in all_metrics(report, key)],
        )
        columns = [*(f"mAP {short}" for short in SHORT.values()), "rank distance", "questions"]
        rows = [
            [language, *_means(row), amount("rank_distance", row["rank_distance"]), f"{row['questions']:,}"]
            for language, row in result["per_language"].items()
        ]
        lines += _table(["query language", *columns], rows)
        for kind, groups in result["groups"].items():
            rows = [
                [
                    _plain(group),
                    " ".join(row["languages"]),
                    *_means(row),
                    number(row["cross_within"]),
                    number(row["cross_between"]),
                    amount("rank_distance", row["rank_distance"]),
                ]
                for group, row in groups.items()
            ]
            header = [KINDS[kind], "languages", *columns[:3], "Cr. within", "Cr. to others", "rank distance"]
            lines += _table(header, rows)
        lines += _matrix(result, "map", "mAP by query language (rows) and candidate language (columns):", 4)
        lines += _matrix(
            result, "translation_rank", "Median rank, among all languages, of the best answer in each language:", 0
        )
    for listing in listings(report):
        lines += [
            f"## {_plain(listing.key)}",
            "",
            _plain(listing.facts),
            "",
            *_table(
                listing.header,
                [
                    [_plain(cell) for cell in row]
                    for row in (*listing.rows, listing.mean, *listing.groups, *listing.theirs)
                ],
            ),
            *_cited(listing.notes),
        ]
    lines += ["## Provenance", ""]
    lines += _table(["name", "value"], [[name, _plain(value)] for name, value in flat(report["provenance"])])
    return "\n".join(lines)


def _compared(report: Report, key: str) -> list[str]:
    lines = [f"{LABELS[compared_metric(report, key)]} with 95 % intervals; what others published is marked:", ""]
    rows = compared_rows(report, key)
    cited = sources(report, key)
    names = [
        f"{_plain(row.model)} (published, {cited.index(row.source) + 1})" if row.source else row.model for row in rows
    ]
    table = [[name, *map(_both, row.cells)] for name, row in zip(names, rows, strict=True)]
    return lines + _table(["model", *SHORT.values(), "rank distance"], table) + _cited(cited)


def _cited(sources: Sequence[str]) -> list[str]:
    notes = [f"{number}. {_plain(source)}" for number, source in enumerate(sources, start=1)]
    return ["Published figures, not ours, as they are printed in:", "", *notes, ""] if notes else []


def _bias(report: Report, key: str) -> list[str]:
    rows = bias_rows(report, key)
    if not rows:
        return []
    labels = [label for label, _ in list(models(report, key))[1:]]
    table = []
    for row in rows:
        others = dict(row.others)
        shown = [amount(row.name, others[label]["value"]) if label in others else "–" for label in labels]
        here = _both(Cell(amount(row.name, row.here["value"]), within(row.name, row.here)))
        table.append(
            [
                row.label,
                row.biased if row.biased != "neither" else "–",
                here,
                amount(row.name, row.here["unbiased"]),
                *shown,
            ]
        )
    header = ["measure", "more bias is", report["label"], "without bias", *labels]
    lines = ["Language bias:", "", *_table(header, table)]
    first = report["tasks"][key]["first_languages"]
    if first:
        shares = [["of the questions", *(number(row["share"], 3) for row in first.values())]]
        shares.append(["without bias", *(number(row["unbiased"], 3) for row in first.values())])
        lines += _table(["best answer is in", *first], shares)
    return lines


def _matrix(result: Report, name: str, title: str, digits: int) -> list[str]:
    others = sorted({other for row in result["pairs"].values() for other in row})
    rows = [
        [language, *(number(row.get(other, {}).get(name), digits) for other in others)]
        for language, row in result["pairs"].items()
    ]
    return [title, "", *_table(["", *others], rows)]


def _means(row: Report) -> list[str]:
    return [number(row["map"][setting]) for setting in SETTINGS]


def _both(cell: Cell) -> str:
    return f"{cell.figure} [{cell.within}]" if cell.within else cell.figure


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def _plain(value: object) -> str:
    """A text that Markdown shows as it is: one line, no HTML, no table border."""
    text = " ".join(str(value).split())
    for sign, shown in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|")):
        text = text.replace(sign, shown)
    return text
