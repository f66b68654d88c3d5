"""What each query scored: the values behind a report's means, in one file that numpy reads without pickle.

Knows: how the runner's macro means are made of single queries, and the file that holds them. Does not know: models,
statistics (`stats.py`), what is compared with what (`compare.py`).

The file, `per_query.npz` beside report.json, is a zip of arrays: `header` (UTF-8 JSON as bytes: the fields of `_Header`
below) and, for every task key, setting and metric, one float64 array `KEY/SETTING/METRIC` with a row per query.
NaN marks what does not exist: no candidate of that language is relevant, or a rank distance of one alone. To read it
elsewhere: `np.load("per_query.npz")["xquad_r/multilingual/map"]`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from pydantic import BaseModel, ConfigDict

from hybrid_jax.disk.arrays import load_arrays, save_arrays
from hybrid_jax.eval.measures import metrics as rank_metrics
from hybrid_jax.eval.tasks import RetrievalTask
from hybrid_jax.search.scores import Ranks

FILE_NAME = "per_query.npz"
RANK_DISTANCE = "rank_distance"

Metric = Callable[[rank_metrics.RankRows], rank_metrics.PerQuery]
Setting = Literal["monolingual", "cross_lingual", "multilingual"]
SETTINGS: tuple[Setting, ...] = get_args(Setting)


@dataclass(frozen=True, eq=False)
class Table:
    """Every query's values on one task, rows in the task's order; {metric: values} for each setting.

    `data_sha256` maps the task's files to their hashes. `monolingual` and `multilingual` hold one value per query,
    `cross_lingual` one per query and candidate language (columns as in `candidate_languages`, the own language NaN).
    `multilingual` also holds the rank distance.
    """

    data_sha256: Mapping[str, str]
    ids: tuple[str, ...]
    languages: tuple[str, ...]
    candidate_languages: tuple[str, ...]
    monolingual: Mapping[str, np.ndarray]
    cross_lingual: Mapping[str, np.ndarray]
    multilingual: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        count = len(self.ids)
        if count == 0 or len(self.languages) != count:
            raise ValueError(f"{count} query ids and {len(self.languages)} query languages: give one of each per query")
        if len(set(zip(self.languages, self.ids, strict=True))) != count:
            raise ValueError("a query id occurs twice in one language: ids are unique in a language")
        if len(set(self.candidate_languages)) != len(self.candidate_languages):
            raise ValueError(f"candidate_languages {self.candidate_languages} names a language twice")
        own = np.array(self.languages)[:, None] == np.array(self.candidate_languages)
        for setting, values in _arrays(self):
            for name, array in values.items():
                shape = own.shape if setting == "cross_lingual" else (count,)
                if array.shape != shape:
                    raise ValueError(f"{setting}/{name} has shape {array.shape}, expected {shape}")
                if np.isinf(array).any():
                    raise ValueError(f"{setting}/{name} holds an infinite value: use NaN where a metric is undefined")
                if setting == "cross_lingual" and not np.isnan(array[own]).all():
                    raise ValueError(f"cross_lingual/{name} has values in the queries' own language: leave those NaN")

    def by_question(self, setting: Setting, metric: str) -> Float[np.ndarray, "questions groups"]:
        """The values with one row per question id and one column per language (or ordered pair) that has any.

        The mean of the columns' means is the runner's macro mean; a row is what `stats.py` resamples as one.
        """
        return self.clustered(getattr(self, setting)[metric])

    def clustered(self, values: Float[np.ndarray, "queries ..."]) -> Float[np.ndarray, "questions groups"]:
        """The same of any values of the table's queries."""
        _, question = np.unique(np.array(self.ids), return_inverse=True)
        names, language = np.unique(np.array(self.languages), return_inverse=True)
        wide = values.reshape(len(values), -1)
        cells = np.full((question.max() + 1, len(names), wide.shape[1]), np.nan)
        cells[question, language] = wide
        cells = cells.reshape(len(cells), -1)
        return cells[:, ~np.isnan(cells).all(axis=0)]


def collect(task: RetrievalTask, ranks: Ranks, metrics: Mapping[str, Metric]) -> Table:
    """Every query's value of `metrics` and of the rank distance, from what `rank_relevant` returned for the task."""
    query, answer = task.relevance.T
    asked = np.array([row.language for row in task.queries])
    held = np.array([row.language for row in task.candidates])
    own = held[answer] == asked[query]
    candidate_languages = tuple(np.unique(held).tolist())
    everything = np.ones(len(query), dtype=bool)

    def values(
        metric: Metric, placed: Int[np.ndarray, " pairs"], chosen: Bool[np.ndarray, " pairs"]
    ) -> Float[np.ndarray, " queries"]:
        found = np.full(len(task.queries), np.nan)
        if not chosen.any():  # a task without answers in another language
            return found
        found[np.unique(query[chosen])] = metric(rank_metrics.rank_rows(query[chosen], placed[chosen]))
        return found

    across = [(held[answer] == language) & ~own for language in candidate_languages]
    return Table(
        data_sha256=dict(task.sources),
        ids=tuple(row.id for row in task.queries),
        languages=tuple(asked.tolist()),
        candidate_languages=candidate_languages,
        monolingual={name: values(metric, ranks.in_language, own) for name, metric in metrics.items()},
        cross_lingual={
            name: np.stack([values(metric, ranks.in_language, chosen) for chosen in across], axis=1)
            for name, metric in metrics.items()
        },
        multilingual={name: values(metric, ranks.pooled, everything) for name, metric in metrics.items()}
        | {RANK_DISTANCE: values(rank_metrics.rank_distance, ranks.pooled, several_languages(query, held[answer]))},
    )


def several_languages(
    query: Int[np.ndarray, " pairs"], held: Shaped[np.ndarray, " pairs"]
) -> Bool[np.ndarray, " pairs"]:
    """Which (query, relevant candidate) pairs are of a query that has such candidates in more than one language."""
    pairs = np.unique(np.stack([query, np.unique(held, return_inverse=True)[1]]), axis=1)
    return np.bincount(pairs[0], minlength=query.max(initial=0) + 1)[query] > 1


class _TaskHeader(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    data_sha256: dict[str, str]
    """The task's files and their hashes."""
    ids: tuple[str, ...]
    """Question ids, one per query; translations share one."""
    languages: tuple[str, ...]
    """Query languages, one per query."""
    candidate_languages: tuple[str, ...]
    """What the columns of the cross-lingual arrays are."""
    metrics: dict[Setting, tuple[str, ...]]
    """Which arrays there are."""


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1]
    """Raised when the layout changes."""
    tasks: dict[str, _TaskHeader]
    """By the task keys of report.json."""


def write(path: Path, tables: Mapping[str, Table]) -> None:
    """Writes all of the tables, by the task keys of report.json, or nothing. Raises OSError in one line."""
    header = _Header(
        schema_version=1,
        tasks={
            key: _TaskHeader(
                data_sha256=dict(table.data_sha256),
                ids=table.ids,
                languages=table.languages,
                candidate_languages=table.candidate_languages,
                metrics={setting: tuple(values) for setting, values in _arrays(table)},
            )
            for key, table in tables.items()
        },
    )
    arrays = {
        f"{key}/{setting}/{name}": array.astype(np.float64)
        for key, table in tables.items()
        for setting, values in _arrays(table)
        for name, array in values.items()
    }
    save_arrays(path, header, arrays)


def read(path: Path) -> dict[str, Table]:
    """What `write` wrote, by task key. Raises ValueError in one line for a file that is missing or damaged."""
    fix = "evaluate the run again (python -m hybrid_jax.eval --ckpt RUN)"
    header, arrays = load_arrays(path, _Header, _names, fix)
    try:
        return {
            key: Table(
                data_sha256=task.data_sha256,
                ids=task.ids,
                languages=task.languages,
                candidate_languages=task.candidate_languages,
                **{
                    setting: {name: arrays[f"{key}/{setting}/{name}"] for name in names}
                    for setting, names in task.metrics.items()
                },
            )
            for key, task in header.tasks.items()
        }
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: damaged ({type(error).__name__}: {error}); {fix}") from error


def _names(header: _Header) -> list[str]:
    return [
        f"{key}/{setting}/{name}"
        for key, task in header.tasks.items()
        for setting, names in task.metrics.items()
        for name in names
    ]


def _arrays(table: Table) -> list[tuple[Setting, Mapping[str, np.ndarray]]]:
    return [
        ("monolingual", table.monolingual),
        ("cross_lingual", table.cross_lingual),
        ("multilingual", table.multilingual),
    ]
