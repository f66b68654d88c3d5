"""A report as one self-contained HTML page: no script, no request, every text escaped."""

from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from hybrid_jax.eval.languages import language
from hybrid_jax.eval.measures.catalogue import SETTING_LABELS
from hybrid_jax.eval.report import drawings, layout, rows
from hybrid_jax.eval.report.mode_tables import ABOUT_FIRST, ABOUT_MODES, first_table, mode_table
from hybrid_jax.eval.report.schema import RankedResult, Report
from hybrid_jax.eval.report.simple_tables import simple_tables


def html(report: Report) -> str:
    """The page's source; a browser shows it from any folder."""
    templates = environment()
    templates.filters["shade"] = drawings.shade
    templates.filters["short_share"] = layout.short_share
    templates.filters["short_rank"] = layout.short_rank
    templates.filters["scale_ticks"] = layout.scale_ticks
    templates.globals["language"] = _language_name
    templates.globals["direction"] = _direction
    templates.globals["shades"] = drawings.SHADES
    templates.globals["about_modes"] = ABOUT_MODES
    templates.globals["about_first"] = ABOUT_FIRST
    return templates.get_template("page.html").render(
        report=report,
        tasks=[_task(report, key, result) for key, result in report.tasks.items()],
        simple_tables=simple_tables(report),
        curves=drawings.curves(report),
        provenance=rows.provenance_groups(report.provenance),
        settings=SETTING_LABELS,
        group_labels=rows.GROUP_LABELS,
    )


def environment(*packages: str) -> Environment:
    """The templates of this room, base.html and style.css among them, after those in the `templates` of `packages`."""
    names = (*packages, "hybrid_jax.eval.report")
    templates = Environment(
        loader=ChoiceLoader([PackageLoader(name, "templates") for name in names]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["number"] = rows.number
    templates.filters["amount"] = lambda value, metric: rows.amount(metric, value)
    return templates


def _task(report: Report, key: str, result: RankedResult) -> dict[str, Any]:
    heatmaps = [layout.quality_map(result.pairs)]
    if result.settings["cross_lingual"]:
        heatmaps.append(layout.depth_map(result.pairs, result.candidates))
    return {
        "key": key,
        "result": result,
        "facts": rows.facts(result),
        "models": list(rows.models(report, key)),
        "metric": rows.compared_metric(report, key),
        "compared": rows.compared_rows(report, key),
        "sources": rows.sources(report, key),
        "all_metrics": list(rows.all_metrics(report, key)),
        "panel": [
            {
                "row": row,
                "strip": drawings.strip(row, result.candidates),
                "interval": rows.interval(row.metric.name, row.here),
            }
            for row in rows.bias_rows(report, key)
        ],
        "heatmaps": heatmaps,
        "modes": mode_table(rows.models(report, key)),
        "first": first_table(rows.models(report, key)),
        "largest_distance": max((row.value("rank_distance") or 0 for row in result.per_language.values()), default=0),
    }


def _language_name(code: str) -> str:
    """A language's English name, or its code if the language is unknown."""
    entry = language(code)
    return entry.name if entry else code


def _direction(code: str) -> str:
    """The writing direction of a language's script; "auto" (by the text's first letter) if the language is unknown."""
    entry = language(code)
    return entry.direction if entry else "auto"
