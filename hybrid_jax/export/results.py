"""The part of an evaluation's report.json that a model card shows."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from hybrid_jax.embed.origin import Origin
from hybrid_jax.eval.measures.catalogue import FULL_RANKING, SETTINGS
from hybrid_jax.eval.report.rows import amount, facts
from hybrid_jax.eval.report.schema import Report
from hybrid_jax.eval.report.scores import BySetting
from hybrid_jax.export.settings import ExportError

IDENTITY = ("step", "config", "weights_sha256", "pooling", "truncate_dim")
"""What provenance states that tells one model from another."""


class Results(NamedTuple):
    """A report, as the tables of a model card."""

    report: Report

    @property
    def languages(self) -> list[str]:
        """All query languages."""
        return sorted({code for task in self.report.tasks.values() for code in task.per_language})

    def facts(self) -> Iterator[str]:
        """A line per task: what was ranked, and over how many languages or pairs each mean is taken."""
        for key, task in self.report.tasks.items():
            yield f"{key}: {facts(task)}"

    def evaluation(self) -> list[list[str]]:
        """Rows of task, metric, Mo., Cr., Mul."""
        return [
            [key, metric.label, *(amount(name, task.value(name, setting)) for setting in SETTINGS)]
            for key, task in self.report.tasks.items()
            for name, metric in FULL_RANKING.items()
        ]

    def language_bias(self) -> list[list[str]]:
        """Rows of task, query language, mean and median rank distance, mAP Mo. and Mul.; "all", the mean over the
        languages, comes first."""
        rows: list[list[str]] = []
        for key, task in self.report.tasks.items():
            scores_by_language: dict[str, BySetting] = {"all": task, **task.per_language}
            for language, scores in scores_by_language.items():
                distances = [amount(name, scores.value(name)) for name in ("rank_distance", "rank_distance_median")]
                means = [amount("map", scores.value("map", setting)) for setting in ("monolingual", "multilingual")]
                rows.append([key, language, *distances, *means])
        return rows


def read_results(path: Path) -> Results:
    """Reads a report.json. Raises ExportError, in one line, for a file that is missing or no report."""
    try:
        return Results(Report.model_validate_json(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise ExportError(
            f"{path}: no report that this version reads ({place or 'the file'}: {problem['msg']}): write it again with "
            f"python -m hybrid_jax.eval"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"{path}: cannot be read ({error}): name the report.json of an evaluation") from None


def difference(results: Results, origin: Origin) -> str | None:
    """How the evaluated model differs from the one that `origin` describes; None if they are the same."""
    stated = results.report.provenance.model_extra or {}
    for name in IDENTITY:
        evaluated, exported = stated.get(name), origin.stated().get(name)
        if evaluated != exported:
            return name if name == "config" else f"{name} {evaluated} instead of {exported}"
    texts = stated.get("texts")  # which a watched run's reports do not state
    if texts is not None and texts != origin.stated().get("texts"):
        return "other prompts or length limits"
    return None
