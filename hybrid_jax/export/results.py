"""What an evaluation's report.json says of the exported model: tables for its card.

Knows: the report's schema (`eval/report/build.py` writes it). Does not know: how a number was made, how a table looks.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hybrid_jax.embed.origin import Origin
from hybrid_jax.export.settings import ExportError

METRICS = {"map": "mAP", "recall_1": "R@1", "recall_10": "R@10", "mrr": "MRR", "ndcg_10": "nDCG@10"}
SETTINGS = ("monolingual", "cross_lingual", "multilingual")
IDENTITY = ("step", "config", "weights_sha256")
"""Facts that tell whether a report is about the same model."""

Means = dict[Literal["monolingual", "cross_lingual", "multilingual"], float | None]


class _Scores(BaseModel):
    """The five metrics and the rank distance, of all languages or of one."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    map: Means
    recall_1: Annotated[Means, Field(alias="recall@1")]
    recall_10: Annotated[Means, Field(alias="recall@10")]
    mrr: Means
    ndcg_10: Annotated[Means, Field(alias="ndcg@10")]
    rank_distance: float | None
    rank_distance_median: float | None


class _Language(_Scores):
    questions: int


class _Task(_Scores):
    about: str
    questions: int
    candidates: int
    candidate_text: str
    settings: dict[str, int]
    per_language: dict[str, _Language]


class Results(BaseModel):
    """A report, as far as a model card shows it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    schema_version: Literal[2]
    provenance: dict[str, Any]
    tasks: dict[str, _Task]

    @property
    def languages(self) -> list[str]:
        return sorted({language for task in self.tasks.values() for language in task.per_language})

    def abouts(self) -> Iterator[str]:
        """A line per task: what was ranked, and over how many languages each mean is taken."""
        for key, task in self.tasks.items():
            over = task.settings
            yield (
                f"{key}: {task.about}; candidates written as {task.candidate_text}; {task.questions:,} questions, "
                f"{task.candidates:,} candidates; means over {over['monolingual']} languages (Mo.), "
                f"{over['cross_lingual']} ordered pairs (Cr.), {over['multilingual']} query languages (Mul.)"
            )

    def evaluation(self) -> list[list[str]]:
        """Rows of task, metric, Mo., Cr., Mul."""
        return [
            [key, label, *(number(getattr(task, name)[setting], 4) for setting in SETTINGS)]
            for key, task in self.tasks.items()
            for name, label in METRICS.items()
        ]

    def language_bias(self) -> list[list[str]]:
        """Rows of task, query language, mean and median rank distance, mAP Mo. and Mul.; the means over languages
        come first."""
        rows: list[list[str]] = []
        for key, task in self.tasks.items():
            for language, scores in {"all": task, **task.per_language}.items():
                rows.append(
                    [
                        key,
                        language,
                        number(scores.rank_distance, 1),
                        number(scores.rank_distance_median, 1),
                        number(scores.map["monolingual"], 4),
                        number(scores.map["multilingual"], 4),
                    ]
                )
        return rows


def read_results(path: Path) -> Results:
    """Raises ExportError for a file that is missing or is no report."""
    try:
        return Results.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise ExportError(
            f"{path}: no report that this version reads ({place or 'the file'}: {problem['msg']}): write it anew with "
            f"python -m hybrid_jax.eval"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ExportError(f"{path}: cannot be read ({error}): name the report.json of an evaluation") from None


def difference(results: Results, origin: Origin) -> str | None:
    """In what the evaluated model is not the one that `origin` describes; None when they are the same."""
    for name in IDENTITY:
        theirs, ours = results.provenance.get(name), origin.stated().get(name)
        if theirs != ours:
            return name if name == "config" else f"{name} {theirs} instead of {ours}"
    return None


def number(value: float | None, digits: int) -> str:
    """With fixed decimals; a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"
