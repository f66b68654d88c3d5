"""What others have published on the tasks here (published.yaml), to show beside our figures and marked as theirs.

Whether a comparison is fair is for the reader to judge: a `note` says where a protocol differs or was not stated.
"""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from hybrid_jax.eval.languages import language
from hybrid_jax.eval.measures.catalogue import HEADLINE, POOLS, Setting

MEAN = "mean"


def _known_metric(name: str) -> str:
    if name not in HEADLINE and name not in POOLS:
        raise ValueError(f"{name!r} is no metric that tables show: write one of {', '.join({**HEADLINE, **POOLS})}")
    return name


def _mean_alone(value: object) -> object:
    return {MEAN: value} if isinstance(value, int | float) else value


ByLanguage = Annotated[dict[str, Annotated[float, Field(ge=0)]], BeforeValidator(_mean_alone)]
"""The source's macro mean as "mean", and its figure of each query language where it prints any."""
Figures = dict[Annotated[str, AfterValidator(_known_metric)], dict[Setting, ByLanguage]]


class Source(BaseModel):
    """A paper, or a page of results."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(min_length=1)
    """Of the paper, with its authors and year."""
    url: str = Field(pattern="^https://")
    """Where it can be read."""


class Published(BaseModel):
    """One system on one task, as its source prints it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str = Field(min_length=1)
    """A name of `tasks.TASKS`."""
    system: str = Field(min_length=1)
    """The model, and how it was trained where the source compares that."""
    source: Source
    """Who published it."""
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
        return self.by_language(MEAN)

    def by_language(self, code: str) -> dict[str, dict[Setting, float]]:
        """{metric: {setting: figure}} of one query language, without what the source does not print."""
        printed: dict[str, dict[Setting, float]] = {
            metric: {setting: values[code] for setting, values in settings.items() if code in values}
            for metric, settings in self.figures.items()
        }
        return {metric: settings for metric, settings in printed.items() if settings}


class _Block(BaseModel):
    """The systems of one source on one task; fields as in `Published`."""

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
    """All entries of published.yaml, in its order."""
    return parse((files("hybrid_jax.eval.report") / "published.yaml").read_text(encoding="utf-8"))


def parse(text: str) -> tuple[Published, ...]:
    """The entries of a file like published.yaml. Raises ValueError in one line for a malformed file."""
    try:
        file = _File.model_validate(yaml.safe_load(text))
        rows = [
            _published(block, system, figures, file.papers)
            for block in file.results
            for system, figures in block.systems.items()
        ]
    except yaml.YAMLError as error:
        raise ValueError(f"published figures: not YAML ({' '.join(str(error).split())})") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"published figures: {where}{': ' if where else ''}{first['msg']}") from None
    names = [(row.task, row.system, row.source.url) for row in rows]
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise ValueError(f"published figures: {repeated[0][1]!r} on {repeated[0][0]} is there twice: keep one")
    return tuple(rows)


def for_task(key: str, candidate_text: str | None = None) -> list[Published]:
    """The entries on a task, in the file's order; empty for a task on which nobody has published.

    `key` is a task key of a report ("xquad_r", "xquad_r:sentence", "miracl"). Given the result's `candidate_text`,
    entries with another candidate text are left out; those that do not state theirs stay, and their note says so.
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
