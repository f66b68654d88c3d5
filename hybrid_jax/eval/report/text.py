"""A report as tables for a terminal, and in Markdown for an issue or a pull request."""

from collections.abc import Iterable, Mapping, Sequence

from hybrid_jax.disk.tables import aligned, markdown_table
from hybrid_jax.eval.measures.catalogue import SETTING_LABELS, SETTINGS, Setting
from hybrid_jax.eval.report.mode_tables import ABOUT_FIRST, ABOUT_MODES, ModeTable, first_table, mode_table
from hybrid_jax.eval.report.rows import (
    GROUP_LABELS,
    Cell,
    all_metrics,
    amount,
    bias_rows,
    compared_metric,
    compared_rows,
    facts,
    interval,
    models,
    number,
    provenance_rows,
    sources,
)
from hybrid_jax.eval.report.schema import RankedResult, Report
from hybrid_jax.eval.report.simple_tables import simple_tables

HEADER = [*SETTING_LABELS.values(), "rank distance"]


def headline_table(report: Report) -> str:
    """mAP in the three settings and the rank distance of every task, and the means of searched pools and mined bitext,
    aligned for a terminal."""
    parts = [_headlines(report)] if report.tasks else []
    for table in simple_tables(report):
        parts.append("\n".join([f"{table.key}: {table.facts}", *aligned([table.header, *table.means])]))
    return "\n\n".join(parts)


def _headlines(report: Report) -> str:
    rows = [["task", "model", *HEADER]]
    for key in report.tasks:
        for model, headline in models(report, key):
            distance = amount("rank_distance", headline.value("rank_distance"))
            rows.append([key, model, *_means(headline.means("map")), distance])
    lines = aligned(rows, left=(0, 1))
    lines.insert(1, "─" * max(map(len, lines)))
    return "\n".join(["mAP, full ranking; Mo. same language, Cr. language pairs, Mul. all languages at once", *lines])


def markdown(report: Report) -> str:
    """The page's tables, without its texts and curves."""
    lines = [f"# {_plain(report.title)}", ""]
    for key, result in report.tasks.items():
        lines += [f"## {key}", "", _plain(facts(result)), "", *_compared(report, key)]
        listed = list(models(report, key))
        lines += [*_modes(mode_table(listed), first_table(listed)), *_bias(report, key)]
        rows = [[metric, model, *map(_with_interval, cells)] for metric, model, cells in all_metrics(report, key)]
        lines += ["Every metric:", "", *_table(["metric", "model", *SETTING_LABELS.values()], rows)]
        lines += _by_language(result)
        quality = {a: {b: number(cell["map"]) for b, cell in row.items()} for a, row in result.pairs.items()}
        depth = {a: {b: number(cell.translation_rank, 0) for b, cell in row.items()} for a, row in result.pairs.items()}
        lines += _matrix(quality, "mAP by query language (rows) and candidate language (columns):")
        lines += _matrix(depth, "Median rank, among all languages, of the best answer in each language:")
    for table in simple_tables(report):
        rows = [[_plain(cell) for cell in row] for row in (*table.rows, *table.means, *table.groups, *table.published)]
        lines += [f"## {_plain(table.key)}", "", _plain(table.facts), ""]
        lines += [*_table(table.header, rows), *_cited(table.notes)]
        if table.cutoffs.rows:
            figures = [[row.label, row.model, *map(_with_interval, row.cells)] for row in table.cutoffs.rows]
            lines += ["At other cut-offs.", "", *_table(["k", "model", *table.cutoffs.header], figures)]
        lines += _modes(table.modes, table.first)
    rows = [[name, _plain(value)] for name, value in provenance_rows(report.provenance)]
    return "\n".join([*lines, "## Provenance", "", *_table(["name", "value"], rows)])


def _by_language(result: RankedResult) -> list[str]:
    """Means of each query language, and of each group of them."""
    columns = [f"mAP {label}" for label in SETTING_LABELS.values()]
    rows = [
        [code, *_means(row.means("map")), amount("rank_distance", row.value("rank_distance")), f"{row.questions:,}"]
        for code, row in result.per_language.items()
    ]
    lines = _table(["query language", *columns, "rank distance", "questions"], rows)
    for kind, groups in result.groups.items():
        rows = [
            [
                _plain(name),
                " ".join(group.languages),
                *_means(group.map),
                number(group.cross_within),
                number(group.cross_between),
                amount("rank_distance", group.rank_distance),
            ]
            for name, group in groups.items()
        ]
        header = [GROUP_LABELS[kind], "languages", *columns, "Cr. within", "Cr. to others", "rank distance"]
        lines += _table(header, rows)
    return lines


def _compared(report: Report, key: str) -> list[str]:
    cited = sources(report, key)
    rows = []
    for row in compared_rows(report, key):
        name = f"{_plain(row.model)} (published, {cited.index(row.source) + 1})" if row.source else row.model
        rows.append([name, *map(_with_interval, row.cells)])
    title = f"{compared_metric(report, key).label} with 95 % intervals; what others published is marked:"
    return [title, "", *_table(["model", *HEADER], rows), *_cited(cited)]


def _cited(sources: Sequence[str]) -> list[str]:
    notes = [f"{number}. {_plain(source)}" for number, source in enumerate(sources, start=1)]
    return ["Published figures, not ours, as they are printed in:", "", *notes, ""] if notes else []


def _bias(report: Report, key: str) -> list[str]:
    labels = [label for label, _ in list(models(report, key))[1:]]
    table = []
    for row in bias_rows(report, key):
        name = row.metric.name
        others = [amount(name, row.others[label].value if label in row.others else None) for label in labels]
        more_bias = {"lower": "higher", "higher": "lower", "neither": "–"}[row.metric.better]
        here = _with_interval(Cell(amount(name, row.here.value), interval(name, row.here)))
        table.append([row.metric.label, more_bias, here, amount(name, row.here.unbiased), *others])
    if not table:
        return []
    header = ["measure", "more bias is", report.label, "without bias", *labels]
    lines = ["Language bias:", "", *_table(header, table)]
    first = report.tasks[key].first_languages
    if first:
        shares = [["of the questions", *(number(row.share, 3) for row in first.values())]]
        shares.append(["without bias", *(number(row.unbiased, 3) for row in first.values())])
        lines += _table(["best answer is in", *first], shares)
    return lines


def _modes(modes: ModeTable, first: ModeTable) -> list[str]:
    lines: list[str] = []
    if modes.rows:
        rows = [[row.label, row.model, *map(_with_interval, row.cells)] for row in modes.rows]
        lines += [f"Modes of search. {ABOUT_MODES}", "", *_table(["mode", "model", *modes.header], rows)]
    if first.rows:
        rows = [[row.model, *map(_with_interval, row.cells)] for row in first.rows]
        lines += [f"The first result. {ABOUT_FIRST}", "", *_table(["model", *first.header], rows)]
    return lines


def _matrix(cells: Mapping[str, Mapping[str, str]], title: str) -> list[str]:
    """{row: {column: cell}} as a table; a dash where there is no cell."""
    columns = sorted({code for row in cells.values() for code in row})
    rows = [[name, *(row.get(code, number(None)) for code in columns)] for name, row in cells.items()]
    return [title, "", *_table(["", *columns], rows)]


def _means(means: Mapping[Setting, float | None]) -> list[str]:
    return [number(means[setting]) for setting in SETTINGS]


def _with_interval(cell: Cell) -> str:
    return f"{cell.figure} [{cell.interval}]" if cell.interval else cell.figure


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [*markdown_table(header, rows), ""]


def _plain(value: object) -> str:
    """The text on one line, without HTML or table borders that Markdown would act on."""
    text = " ".join(str(value).split())
    for sign, shown in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|")):
        text = text.replace(sign, shown)
    return text
