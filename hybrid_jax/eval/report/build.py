"""Puts an evaluation and what is known of the model into one report, and writes its three files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hybrid_jax.disk.files import atomic_files
from hybrid_jax.eval.evaluation import Evaluation
from hybrid_jax.eval.report import published
from hybrid_jax.eval.report.page import html
from hybrid_jax.eval.report.schema import (
    CurvePoint,
    Provenance,
    PublishedFigures,
    Report,
)
from hybrid_jax.eval.report.text import markdown
from hybrid_jax.search.scores import SCORES, TIE_RULE


def build_report(
    title: str,
    evaluation: Evaluation,
    provenance: Mapping[str, Any],
    *,
    label: str = "model",
    untrained: Evaluation | None = None,
    curve: Sequence[CurvePoint] = (),
) -> Report:
    """The report of `evaluation`, with figures that others published of its tasks.

    `provenance` is what the model states of itself (`Origin.stated`), `label` what it is called in tables, `untrained`
    the same model evaluated before training, and `curve` its evaluated steps where the run was watched.
    """
    beside = {} if untrained is None else {"untrained": untrained.as_beside()}
    beside |= evaluation.beside
    printed = {key: _published(key, result.candidate_text) for key, result in evaluation.tasks.items()}
    printed |= {key: _published(key) for key in evaluation.searches}
    stated = {"tie_rule": TIE_RULE, "scores": SCORES, "data_sha256": evaluation.sources, **provenance}
    return Report(
        title=title,
        label=label,
        provenance=Provenance.model_validate(stated),
        tasks=dict(evaluation.tasks),
        others={name: dict(other.tasks) for name, other in beside.items() if other.tasks},
        other_searches={name: dict(other.searches) for name, other in beside.items() if other.searches},
        other_bitext={name: dict(other.bitext) for name, other in beside.items() if other.bitext},
        published={key: entries for key, entries in printed.items() if entries},
        curve=list(curve),
        searches=dict(evaluation.searches),
        bitext=dict(evaluation.bitext),
    )


def _published(key: str, candidate_text: str | None = None) -> list[PublishedFigures]:
    return [
        PublishedFigures(
            system=entry.system,
            source=f"{entry.source.title}, {entry.table}",
            url=entry.source.url,
            note=entry.note,
            values=entry.means,
        )
        for entry in published.for_task(key, candidate_text)
    ]


def write_report(out_dir: Path, report: Report) -> list[Path]:
    """Writes report.json, report.md and report.html into the folder, all three or none, and returns their paths.

    Raises OSError in one line with the path and what to do.
    """
    contents = {
        "report.json": json.dumps(report.json_value(), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        "report.md": markdown(report),
        "report.html": html(report),
    }
    atomic_files(out_dir, {name: content.encode() for name, content in contents.items()}, "with --out")
    return [out_dir / name for name in contents]
