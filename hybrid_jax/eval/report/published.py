"""What others have printed of the tasks here, to show beside our figures and clearly as theirs.

Knows: published.yaml, its fields, and which of its figures belong beside a result. Does not know: our results, how a
table looks, whether a comparison is fair: a `note` says where a protocol differs or was not stated.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from hybrid_jax.eval.languages import language
from hybrid_jax.eval.measures.catalogue import Setting

MEAN = "mean"
Metric = Literal["map", "recall@1", "recall@10", "ndcg@10", "recall@100", "rank_distance"]
"""Those of ours that somebody has printed."""


def _mean_alone(value: object) -> object:
    return {MEAN: value} if isinstance(value, int | float) else value


ByLanguage = Annotated[dict[str, Annotated[float, Field(ge=0)]], BeforeValidator(_mean_alone)]
"""The source's macro mean as "mean", and its figure of each query language where it has any."""
Figures = dict[Metric, dict[Setting, ByLanguage]]


class Source(BaseModel):
    """A paper, or a page of results."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(min_length=1)
    """Of the paper, with its authors and year."""
    url: str = Field(pattern="^https://")
    """Where it can be read."""


class Published(BaseModel):
    """One system on one task, as its source prints it. Every figure is theirs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str = Field(min_length=1)
    """A name of `tasks.TASKS`."""
    system: str = Field(min_length=1)
    """The model, and how it was trained where the source compares that."""
    source: Source
    """Who says so."""
    table: str = Field(min_length=1)
    """Where in the source."""
    candidate_text: str | None = None
    """How candidates were written, in the task's words; None where that is not stated, or the task has one way."""
    note: str | None = None
    """Where the protocol differs from ours, or is not known to be the same."""
    figures: Figures = Field(min_length=1)
    """{metric: {setting: {"mean": figure, language: figure}}}."""

    @model_validator(mode="after")
    def _plausible(self) -> "Published":
        for metric, settings in self.figures.items():
            for setting, values in settings.items():
                where = f"{self.system!r} on {self.task}, {metric}, {setting}"
                if MEAN not in values:
                    raise ValueError(f"{where}: no mean: write what the source prints as {MEAN}")
                unknown = [code for code in values if code != MEAN and language(code) is None]
                if unknown:
                    raise ValueError(f"{where}: {unknown[0]!r} is no language: write its ISO 639 code")
                above = [value for value in values.values() if metric != "rank_distance" and value > 1]
                if above:
                    raise ValueError(f"{where}: {above[0]:g} is more than 1: write shares, not per cent")
        return self

    @property
    def means(self) -> dict[str, dict[Setting, float]]:
        """{metric: {setting: macro mean}}, a row of a headline table."""
        return self.of(MEAN)

    def of(self, code: str) -> dict[str, dict[Setting, float]]:
        """The same for one query language; only what the source prints."""
        found: dict[str, dict[Setting, float]] = {
            metric: {setting: values[code] for setting, values in settings.items() if code in values}
            for metric, settings in self.figures.items()
        }
        return {metric: settings for metric, settings in found.items() if settings}


class _Block(BaseModel):
    """The systems of one source on one task; a field means what it means in `Published`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    paper: str
    """A name of `papers`."""
    table: str
    candidate_text: str | None = None
    note: str | None = None
    systems: dict[str, Figures] = Field(min_length=1)
    """{system: its figures}."""


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    papers: dict[str, Source]
    """By a short name."""
    results: list[_Block]
    """In the order in which they are shown."""


@cache
def load() -> tuple[Published, ...]:
    """All that published.yaml holds, in its order."""
    return parse((files("hybrid_jax.eval.report") / "published.yaml").read_text(encoding="utf-8"))


def parse(text: str) -> tuple[Published, ...]:
    """What a file like published.yaml holds; raises ValueError in one line for one that is not."""
    try:
        file = _File.model_validate(yaml.safe_load(text))
        rows = [
            _published(block, system, figures, file.papers)
            for block in file.results
            for system, figures in block.systems.items()
        ]
    except yaml.YAMLError as error:
        raise ValueError(f"published figures: no YAML ({' '.join(str(error).split())})") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"published figures: {where}{': ' if where else ''}{first['msg']}") from None
    names = [(row.task, row.system, row.source.url) for row in rows]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"published figures: {twice[0][1]!r} on {twice[0][0]} is there twice: keep one")
    return tuple(rows)


def for_task(key: str, candidate_text: str | None = None) -> list[Published]:
    """What is printed of a task, in the file's order; empty for a task that nobody has published.

    `key` is a report's ("xquad_r", "xquad_r:sentence", "miracl"). With the result's `candidate_text`, figures that are
    known to be of another are left out, and those of an unknown one are kept: their note says so.
    """
    task = key.split(":")[0]
    return [
        row
        for row in load()
        if row.task == task and (candidate_text is None or row.candidate_text in (None, candidate_text))
    ]


def _published(block: _Block, system: str, figures: Figures, papers: Mapping[str, Source]) -> Published:
    if block.paper not in papers:
        raise ValueError(f"published figures: {block.task} names the paper {block.paper!r}: add it to papers")
    fields: dict[str, Any] = {name: getattr(block, name) for name in ("task", "table", "candidate_text", "note")}
    return Published(system=system, source=papers[block.paper], figures=figures, **fields)
