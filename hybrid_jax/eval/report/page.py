"""A report as one self-contained HTML page: no script, no request, every text escaped.

Knows: the rows of its tables (`rows.py`), its template and its drawings (`drawings.py`). Does not know: how a number
was made.
"""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from hybrid_jax.eval.languages import language
from hybrid_jax.eval.report import rows
from hybrid_jax.eval.report.drawings import curves, depth_map, quality_map, strip
from hybrid_jax.eval.report.simple_tables import listings
from hybrid_jax.eval.report.rows import Report


def html(report: Report) -> str:
    """The page; open it in any browser, paste its tables and figures anywhere."""
    environment = Environment(
        loader=PackageLoader("hybrid_jax.eval.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = rows.number
    environment.filters["amount"] = lambda value, name: rows.amount(name, value)
    environment.globals["language"] = _named
    environment.globals["direction"] = _direction
    return environment.get_template("page.html").render(
        report=report,
        tasks=[_task(report, key, result) for key, result in report["tasks"].items()],
        listings=listings(report),
        curves=curves(report),
        provenance=list(rows.flat(report["provenance"])),
        settings=rows.SHORT,
        kinds=rows.KINDS,
    )


def _task(report: Report, key: str, result: dict[str, Any]) -> dict[str, Any]:
    most = max((row["rank_distance"] or 0 for row in result["per_language"].values()), default=0)
    return {
        **result,
        "key": key,
        "facts": rows.facts(result),
        "models": list(rows.models(report, key)),
        "metric": rows.LABELS[rows.compared_metric(report, key)],
        "compared": rows.compared_rows(report, key),
        "published": report["published"].get(key, []),
        "sources": rows.sources(report, key),
        "all_metrics": list(rows.all_metrics(report, key)),
        "panel": [
            {"row": row, "strip": strip(row, result["candidates"]), "within": rows.within(row.name, row.here)}
            for row in rows.bias_rows(report, key)
        ],
        "maps": [quality_map(result["pairs"])]
        + ([depth_map(result["pairs"], result["candidates"])] if result["settings"]["cross_lingual"] else []),
        "worst_distance": most,
    }


def _named(code: str) -> str:
    """A language's English name, or its code where nobody knows one."""
    known = language(code)
    return known.name if known else code


def _direction(code: str) -> str:
    """Of a language's script; what the text begins with decides where nobody knows it."""
    known = language(code)
    return known.direction if known else "auto"
