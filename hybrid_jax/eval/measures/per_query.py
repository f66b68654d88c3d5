"""The values of every query, which the means of a report are taken over, and the file that holds them.

The file, `per_query.npz` beside report.json, is a zip of arrays that numpy reads without pickle: `header` (UTF-8 JSON
as bytes: the fields of `_Header` below) and, for every task key, part and metric, one float64 array `KEY/PART/METRIC`
with a row per query. The parts of a task that is ranked in full are its settings and, with several languages, the modes
of `modes.py`; a searched pool has the part "search" (and modes), bitext the part "bitext", a row per sentence pair. NaN
marks a value that does not exist: no candidate of that language is relevant, or a rank distance of a single answer. To
read it elsewhere: `np.load("per_query.npz")["xquad_r/multilingual/map"]`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from pydantic import BaseModel, ConfigDict

from hybrid_jax.disk.arrays import load_arrays, save_arrays
from hybrid_jax.eval.measures import metrics
from hybrid_jax.eval.measures.catalogue import FULL_RANKING, RANK_DISTANCE, SETTINGS
from hybrid_jax.eval.measures.metric import Metric
from hybrid_jax.eval.measures.modes import full_ranking_modes
from hybrid_jax.eval.measures.parts import PARTS, Part
from hybrid_jax.eval.measures.units import Units, connected
from hybrid_jax.eval.tasks import RetrievalTask
from hybrid_jax.search.scores import Ranks

FILE_NAME = "per_query.npz"


def file_name_of(beside: str) -> str:
    """The file of what a report shows beside its model: a debiasing, csls or untrained."""
    return f"per_query-{beside}.npz"


def is_file_name(name: str) -> bool:
    """Whether a file of this name is one that `eval` writes."""
    return name == FILE_NAME or fnmatch(name, file_name_of("*"))


@dataclass(frozen=True, eq=False)
class Table:
    """Every query's values on one task, with a row per query in the task's order."""

    data_sha256: Mapping[str, str]
    """{file of the task: its sha256}."""
    ids: tuple[str, ...]
    """Question ids, one per query; translations share one."""
    languages: tuple[str, ...]
    """Query languages, one per query; of bitext, the pair of languages."""
    paragraphs: tuple[str, ...] = ()
    """`Query.paragraph`, one per query; empty where all questions stand alone."""
    candidate_languages: tuple[str, ...] = ()
    """The languages of the columns of `cross_lingual`."""
    monolingual: Mapping[str, np.ndarray] = field(default_factory=dict)
    """{metric: float64[queries]}."""
    cross_lingual: Mapping[str, np.ndarray] = field(default_factory=dict)
    """{metric: float64[queries, candidate languages]}, NaN in the query's own language."""
    multilingual: Mapping[str, np.ndarray] = field(default_factory=dict)
    """{metric: float64[queries]}, with the rank distance and the bias panel's measures per query."""
    further: Mapping[Part, Mapping[str, np.ndarray]] = field(default_factory=dict)
    """{"search", "bitext" or a mode: {metric: float64[queries]}}."""

    def __post_init__(self) -> None:
        count = len(self.ids)
        if count == 0 or len(self.languages) != count:
            raise ValueError(f"{count} query ids and {len(self.languages)} query languages: give one of each per query")
        if len(self.paragraphs) not in (0, count):
            raise ValueError(f"{count} query ids and {len(self.paragraphs)} paragraphs: give one per query, or none")
        if len(set(zip(self.languages, self.ids, strict=True))) != count:
            raise ValueError("a query id occurs twice in one language: ids are unique in a language")
        if len(set(self.candidate_languages)) != len(self.candidate_languages):
            raise ValueError(f"candidate_languages {self.candidate_languages} names a language twice")
        own = np.array(self.languages)[:, None] == np.array(self.candidate_languages)
        for part in PARTS:
            for name, array in self.part(part).items():
                shape = own.shape if part == "cross_lingual" else (count,)
                if array.shape != shape:
                    raise ValueError(f"{part}/{name} has shape {array.shape}, expected {shape}")
                if np.isinf(array).any():
                    raise ValueError(f"{part}/{name} holds an infinite value: use NaN where a metric is undefined")
                if part == "cross_lingual" and not np.isnan(array[own]).all():
                    raise ValueError(f"cross_lingual/{name} has values in the queries' own language: leave those NaN")

    def part(self, part: Part) -> Mapping[str, np.ndarray]:
        """{metric: values} of one setting or mode, of a searched pool or of bitext; empty where the task lacks it."""
        return getattr(self, part) if part in SETTINGS else self.further.get(part, {})

    def pair(self, language: str, candidate_language: str) -> Mapping[str, Float[np.ndarray, " queries"]]:
        """{metric: values} among the candidates of one language, as queries of `language` are ranked against it."""
        if language == candidate_language:
            return self.monolingual
        column = self.candidate_languages.index(candidate_language)
        return {name: values[:, column] for name, values in self.cross_lingual.items()}

    def by_question(self, part: Part, metric: str) -> Float[np.ndarray, "questions groups"]:
        """The values with one row per question id and one column per language (or ordered pair) that has any.

        The mean of the columns' means is the macro mean of a report. `stats.py` resamples the rows of one of `units`
        together.
        """
        return self.clustered(self.part(part)[metric])

    @cached_property
    def units(self) -> Units:
        """The unit of each row of `by_question`: see `units.py`."""
        question, _ = self._cells
        return connected(question, list(zip(self.languages, self.paragraphs, strict=True)) if self.paragraphs else [])

    @cached_property
    def _cells(self) -> tuple[np.ndarray, np.ndarray]:
        """The places of each query's question and language among the sorted ones."""
        return (
            np.unique(np.array(self.ids), return_inverse=True)[1],
            np.unique(np.array(self.languages), return_inverse=True)[1],
        )

    def clustered(self, values: Float[np.ndarray, "queries ..."]) -> Float[np.ndarray, "questions groups"]:
        """Arranges any values of the table's queries as `by_question` does."""
        question, language = self._cells
        wide = values.reshape(len(values), -1)
        cells = np.full((question.max() + 1, language.max() + 1, wide.shape[1]), np.nan)
        cells[question, language] = wide
        cells = cells.reshape(len(cells), -1)
        return cells[:, ~np.isnan(cells).all(axis=0)]


def joined(by_task: Mapping[str, Table]) -> Table:
    """One table of tasks with queries in languages of their own; their ids get the language, since they share none.

    Files get their task's name, since those of several tasks may be called alike. The table has what all of them have,
    of searched pools and of bitext. Raises ValueError as `Table` does.
    """
    tables = list(by_task.values())
    further: dict[Part, Mapping[str, np.ndarray]] = {}
    for part in tables[0].further:
        names = [name for name in tables[0].part(part) if all(name in table.part(part) for table in tables)]
        further[part] = {name: np.concatenate([table.part(part)[name] for table in tables]) for name in names}
    return Table(
        data_sha256={
            f"{task}/{file}": digest for task, table in by_task.items() for file, digest in table.data_sha256.items()
        },
        ids=tuple(f"{language}:{name}" for t in tables for language, name in zip(t.languages, t.ids, strict=True)),
        languages=tuple(language for table in tables for language in table.languages),
        paragraphs=tuple(name for table in tables for name in table.paragraphs or ("",) * len(table.ids)),
        further=further,
    )


def collect(task: RetrievalTask, ranks: Ranks) -> Table:
    """Every query's value of the `FULL_RANKING` metrics and of the rank distance, from `rank_relevant`'s ranks."""
    query, answer = task.relevance.T
    query_languages = np.array([row.language for row in task.queries])
    languages = np.array([row.language for row in task.candidates])
    answer_languages = languages[answer]
    own = answer_languages == query_languages[query]
    candidate_languages = tuple(np.unique(languages).tolist())

    def values(
        metric: Metric, ranks: Int[np.ndarray, " pairs"], chosen: Bool[np.ndarray, " pairs"]
    ) -> Float[np.ndarray, " queries"]:
        result = np.full(len(task.queries), np.nan)
        if chosen.any():  # a task may have no answers in another language
            result[np.unique(query[chosen])] = metric.values(metrics.rank_rows(query[chosen], ranks[chosen]))
        return result

    in_language = [(answer_languages == language) & ~own for language in candidate_languages]
    everything = np.ones(len(query), dtype=bool)
    return Table(
        data_sha256=dict(task.sources),
        ids=tuple(row.id for row in task.queries),
        languages=tuple(query_languages.tolist()),
        paragraphs=tuple(row.paragraph for row in task.queries),
        candidate_languages=candidate_languages,
        monolingual={name: values(metric, ranks.in_language, own) for name, metric in FULL_RANKING.items()},
        cross_lingual={
            name: np.stack([values(metric, ranks.in_language, chosen) for chosen in in_language], axis=1)
            for name, metric in FULL_RANKING.items()
        },
        multilingual={name: values(metric, ranks.pooled, everything) for name, metric in FULL_RANKING.items()}
        | {RANK_DISTANCE.name: values(RANK_DISTANCE, ranks.pooled, _in_several_languages(query, answer_languages))},
        further=dict(full_ranking_modes(task, ranks)),
    )


def _in_several_languages(
    query: Int[np.ndarray, " pairs"], answer_languages: Shaped[np.ndarray, " pairs"]
) -> Bool[np.ndarray, " pairs"]:
    """Which (query, answer) pairs are of a query that has answers in more than one language."""
    language = np.unique(answer_languages, return_inverse=True)[1]
    pairs = np.unique(np.stack([query, language]), axis=1)
    return np.bincount(pairs[0], minlength=query.max(initial=0) + 1)[query] > 1


class _TaskHeader(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    data_sha256: dict[str, str]
    """The task's files and their hashes."""
    ids: tuple[str, ...]
    """Question ids, one per query; translations share one."""
    languages: tuple[str, ...]
    """Query languages, one per query."""
    paragraphs: tuple[str, ...]
    """The paragraphs that the questions belong to, one per query, "" where there is none; or empty."""
    candidate_languages: tuple[str, ...]
    """The languages of the columns of the cross-lingual arrays."""
    metrics: dict[Part, tuple[str, ...]]
    """The names of the arrays."""


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[2]
    """Raised when the layout changes."""
    tasks: dict[str, _TaskHeader]
    """By task key, as in report.json."""


def write(path: Path, tables: Mapping[str, Table]) -> None:
    """Writes the tables, given by task key, in one file: completely or not at all. Raises OSError in one line."""
    header = _Header(
        schema_version=2,
        tasks={
            key: _TaskHeader(
                data_sha256=dict(table.data_sha256),
                ids=table.ids,
                languages=table.languages,
                paragraphs=table.paragraphs,
                candidate_languages=table.candidate_languages,
                metrics={part: tuple(table.part(part)) for part in PARTS if table.part(part)},
            )
            for key, table in tables.items()
        },
    )
    arrays = {
        f"{key}/{part}/{name}": array.astype(np.float64)
        for key, table in tables.items()
        for part in PARTS
        for name, array in table.part(part).items()
    }
    save_arrays(path, header, arrays)


def read(path: Path, fix: str = "evaluate the run again (python -m hybrid_jax.eval --ckpt RUN)") -> dict[str, Table]:
    """The tables that `write` wrote, by task key. Raises ValueError in one line for a missing or damaged file, which
    ends with the `fix`."""
    header, arrays = load_arrays(path, _Header, _names, fix)
    try:
        return {key: _table(key, task, arrays) for key, task in header.tasks.items()}
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: damaged ({type(error).__name__}: {error}); {fix}") from error


def _table(key: str, task: _TaskHeader, arrays: Mapping[str, np.ndarray]) -> Table:
    parts: dict[Part, Mapping[str, np.ndarray]] = {
        part: {name: arrays[f"{key}/{part}/{name}"] for name in names} for part, names in task.metrics.items()
    }
    return Table(
        data_sha256=task.data_sha256,
        ids=task.ids,
        languages=task.languages,
        paragraphs=task.paragraphs,
        candidate_languages=task.candidate_languages,
        **{setting: parts.pop(setting, {}) for setting in SETTINGS},
        further=parts,
    )


def _names(header: _Header) -> list[str]:
    return [
        f"{key}/{part}/{name}"
        for key, task in header.tasks.items()
        for part, names in task.metrics.items()
        for name in names
    ]
