"""The part of an evaluation's report.json that a model card shows."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from hybrid_jax.embed.origin import Origin
from hybrid_jax.eval.languages import language as known_language
from hybrid_jax.eval.measures.catalogue import BITEXT, FULL_RANKING, POOLS, SETTINGS, Metric
from hybrid_jax.eval.report.rows import amount, facts
from hybrid_jax.eval.report.schema import PoolResult, Report
from hybrid_jax.eval.report.scores import BySetting, Scores
from hybrid_jax.export.settings import ExportError

IDENTITY = ("step", "config", "weights_sha256", "pooling", "truncate_dim")
"""What provenance states that tells one model from another."""


class Results(NamedTuple):
    """A report, as the tables of a model card."""

    report: Report

    @property
    def languages(self) -> list[str]:
        """All query languages, and those of mined bitext."""
        ranked = {code for task in self.report.tasks.values() for code in task.per_language}
        searched = {code for pool in self.report.searches.values() for code in pool.per_language}
        mined = {code for mined in self.report.bitext.values() for pair in mined.pairs for code in _sides(pair)}
        return sorted(ranked | searched | mined)

    def facts(self) -> Iterator[str]:
        """A line per task: what was ranked, searched or mined, and over how many languages or pairs means are taken."""
        for key, task in self.report.tasks.items():
            yield f"{key}: {facts(task)}"
        for key, pool in self.report.searches.items():
            yield f"{key}: {_facts_of_a_pool(pool)}"
        for key, mined in self.report.bitext.items():
            pairs = f"{mined.sentences:,} sentence pairs; means over {len(mined.pairs)} pairs of languages"
            yield f"{key}: {mined.about}; {pairs}"

    def evaluation(self) -> list[list[str]]:
        """Rows of task, metric, Mo., Cr., Mul."""
        return [
            [key, metric.label, *(amount(name, task.value(name, setting)) for setting in SETTINGS)]
            for key, task in self.report.tasks.items()
            for name, metric in FULL_RANKING.items()
        ]

    def searches(self) -> tuple[list[str], list[list[str]]]:
        """A header, and rows of searched pool and a mean for each metric."""
        return _means("searched", self.report.searches, POOLS)

    def bitext(self) -> tuple[list[str], list[list[str]]]:
        """A header, and rows of bitext and a mean for each metric."""
        return _means("bitext", self.report.bitext, BITEXT)

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


def _means(
    kind: str, results: Mapping[str, Scores[float]], metrics: Mapping[str, Metric]
) -> tuple[list[str], list[list[str]]]:
    rows = [[key, *(amount(name, result[name]) for name in metrics)] for key, result in results.items()]
    return [kind, *(metric.label for metric in metrics.values())], rows


def _facts_of_a_pool(pool: PoolResult) -> str:
    facts = f"{pool.about}; {pool.questions:,} questions, {pool.candidates:,} candidates"
    if pool.relevant_missing:
        facts += f"; {pool.relevant_missing:,} relevant candidates are not in the corpus and count as not found"
    if pool.unanswerable:
        facts += f"; {pool.unanswerable:,} questions have no relevant candidate in it and count as 0"
    languages = len(pool.per_language)
    return facts if languages == 1 else f"{facts}; means over {languages} query languages"


def _sides(pair: str) -> list[str]:
    """The two languages of "de-en"; a code may have a "-" itself, as in "zh-Hant-en"."""
    parts = pair.split("-")
    splits = [["-".join(parts[:place]), "-".join(parts[place:])] for place in range(1, len(parts))]
    return next((split for split in splits if all(map(known_language, split))), splits[0])


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
