"""The report of an evaluation as one JSON value, and the files it becomes.

Knows: what `runner.run` returns, and how to put several files in a folder or none. Does not know: models, tasks, how a
number was made, how it is shown (`text.py`, `page.py`).

report.json:

    schema_version   2
    title            text
    label            what the evaluated model's rows are called: "trained", or "model" for a published one
    provenance       {name: value}: what the caller states (step, config, git commit, dtype ...), and of the evaluation
                     itself tie_rule, scores and data_sha256 {task: {file: sha256}}
    tasks            {"xquad_r": result, "xquad_r:sentence": result, ...}; the bare name has the task's headline
                     candidate text. A result is described in `runner.evaluate`
    others           {"untrained", or the name of a debiasing: {task key: `averages.headline` of its result}}
    published        {task key: [{"system", "source", "url", "note", "values": {metric: {setting: their macro mean}}}]}
    curve            only for a watched run: a record per step, as in `curve.py`
    searches         only where pools were searched: {task: what `searching.evaluate` returns}
    bitext           only where bitext was mined: {task: what `mining.evaluate` returns}

A value that a task does not define (cross-lingual with one language) is null.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hybrid_jax.disk.files import atomic_files
from hybrid_jax.eval.measures.macro import headline
from hybrid_jax.eval.report import published
from hybrid_jax.eval.report.page import html
from hybrid_jax.eval.report.text import markdown

SCHEMA_VERSION = 2

Report = dict[str, Any]


def build_report(
    title: str,
    evaluation: Mapping[str, Any],
    provenance: Mapping[str, Any],
    *,
    label: str = "model",
    untrained: Mapping[str, Any] | None = None,
    curve: Sequence[Mapping[str, Any]] = (),
) -> Report:
    """Joins what `runner.run` returned with what the caller knows of the model; see the module for the schema.

    `untrained` is what `runner.run` returned for the same architecture before training: shown beside every number.
    """
    others = {}
    if untrained is not None:
        others["untrained"] = {key: headline(result) for key, result in untrained["tasks"].items()}
    theirs = {key: _published(key, result["candidate_text"]) for key, result in evaluation["tasks"].items()}
    theirs |= {key: _published(key) for key in evaluation.get("searches", {})}
    return {
        "schema_version": SCHEMA_VERSION,
        "title": title,
        "label": label,
        "provenance": dict(provenance) | evaluation["provenance"],
        "tasks": evaluation["tasks"],
        "others": others | evaluation["debiased"],
        "published": {key: found for key, found in theirs.items() if found},
        **({"curve": list(curve)} if curve else {}),
        **{name: evaluation[name] for name in ("searches", "bitext") if evaluation.get(name)},
    }


def _published(key: str, candidate_text: str | None = None) -> list[dict[str, Any]]:
    return [
        {
            "system": found.system,
            "source": f"{found.source.title}, {found.table}",
            "url": found.source.url,
            "note": found.note,
            "values": found.means,
        }
        for found in published.for_task(key, candidate_text)
    ]


def write_report(out_dir: Path, report: Report) -> list[Path]:
    """Writes report.json, report.md and report.html: all three, or (disk full, no permission) none.

    Raises OSError in one line with the path and what to do.
    """
    contents = {
        "report.json": json.dumps(report, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        "report.md": markdown(report),
        "report.html": html(report),
    }
    atomic_files(out_dir, {name: content.encode() for name, content in contents.items()}, "with --out")
    return [out_dir / name for name in contents]
