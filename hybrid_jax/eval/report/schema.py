"""report.json as types: what an evaluation writes and every reader reads.

Metrics lie beside the fields, under their names in `measures/catalogue.py`: a task's result has "map", "recall@1" and
so on beside "questions". They are read as `result["map"]`. A value that a task does not define (cross-lingual with one
language) is null.
"""

import json
import sys
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from hybrid_jax.eval.measures.catalogue import Setting
from hybrid_jax.eval.measures.parts import Mode
from hybrid_jax.eval.report.scores import BySetting, Frozen, Means, Scores

SCHEMA_VERSION = 2
"""Raised when a reader of the version before would misread the file."""


class BiasValue(Frozen):
    """One measure of the bias panel."""

    value: float | None
    low: float | None
    """Lower end of the 95 % interval; None for measures of the whole space, or with too few units."""
    high: float | None
    unbiased: float | None
    """What a model without language bias would have on this task; None where that is not known."""


class Estimate(Frozen):
    """A macro mean over languages, with its 95 % interval; None where one has fewer than 5 questions or paragraphs."""

    value: float
    low: float | None
    high: float | None


Modes = dict[Mode, dict[str, Estimate]]
"""{mode of search: {metric: its mean}}; see `measures/modes.py`. Empty where all candidates are in one language."""
FirstResult = dict[str, Estimate]
"""{kind of first result: its share of the queries}; see `measures/first_result.py`. Empty as `Modes` is."""


class Headline(BySetting):
    """The macro means of one model on one task, and its bias panel."""

    intervals: dict[str, dict[Setting, tuple[float, float]]]
    """95 % intervals by metric and setting; the questions on one paragraph are resampled together, in all languages."""
    bias: dict[str, BiasValue]
    """The bias panel by measure; empty for a task whose candidates are of one language."""
    modes: Modes = Field(default_factory=dict)
    first_result: FirstResult = Field(default_factory=dict)


class LanguageScores(BySetting):
    """The same of one query language; "cross_lingual" is the mean over the candidate languages."""

    questions: int
    candidates: int
    """Candidates in this language."""


class PairScores(Scores[float]):
    """Queries of one language, candidates of one language."""

    questions: int
    translation_rank: float
    """Median rank, among the candidates of all languages, of a query's best answer in the candidate language."""


class GroupScores(Frozen):
    """Means over the query languages of one script, one family, or of those (not) seen in training."""

    languages: list[str]
    map: Means
    cross_within: float | None
    """Mean mAP over ordered pairs of different languages, both of this group."""
    cross_between: float | None
    """Mean mAP over ordered pairs from this group to a language of another."""
    rank_distance: float | None


class FirstLanguage(Frozen):
    """How often a query's best answer is in one language."""

    share: float
    """Of the queries with answers in several languages."""
    unbiased: float
    """The language's share of those queries' answers."""


class ShownCandidate(Frozen):
    """A candidate in a list of results."""

    rank: int
    """Among the candidates of all languages."""
    id: str
    language: str
    text: str
    relevant: bool


class WorstQuery(Frozen):
    """The query of one language with the lowest average precision."""

    id: str
    language: str
    text: str
    map: float
    top: list[ShownCandidate]
    """What was ranked first."""
    answer: ShownCandidate
    """The best-ranked relevant candidate."""


class RankedResult(Headline):
    """A task that is ranked in full, with one way to write its candidates."""

    questions: int
    candidates: int
    languages: list[str]
    candidate_text: str
    about: str
    settings: dict[Setting, int]
    """Over how many languages or ordered pairs each macro mean is taken."""
    per_language: dict[str, LanguageScores]
    """By query language."""
    pairs: dict[str, dict[str, PairScores]]
    """By query language and candidate language."""
    groups: dict[str, dict[str, GroupScores]]
    """{"script", "family" and, for a run, "seen": {group: means}}; kinds with a single group are left out."""
    first_languages: dict[str, FirstLanguage]
    """By language of the best answer; empty where no query has answers in several languages."""
    worst: list[WorstQuery]

    @property
    def headline(self) -> Headline:
        """What another model is compared by."""
        fields = {name: getattr(self, name) for name in Headline.model_fields}
        return Headline.model_validate({**fields, **self.metrics})


class PoolLanguage(Scores[float]):
    """One query language of a searched pool."""

    questions: int


class PoolGroup(Scores[float]):
    """Means over the query languages of a group."""

    languages: list[str]


class PoolResult(Scores[float]):
    """A searched pool, or several with a language each (MIRACL): means over languages of means over queries."""

    questions: int
    candidates: int
    languages: list[str]
    about: str
    depth: int
    """How many of the best candidates are kept for each query."""
    relevant_missing: int
    """Relevant candidates that the corpus lacks; they count as not retrieved."""
    unanswerable: int = 0
    """Questions without a relevant candidate in the corpus; they count as 0."""
    per_language: dict[str, PoolLanguage]
    groups: dict[str, dict[str, PoolGroup]] = Field(default_factory=dict)
    """As in `RankedResult`."""
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """95 % intervals of the means by metric; queries are resampled."""
    modes: Modes = Field(default_factory=dict)
    first_result: FirstResult = Field(default_factory=dict)
    cutoffs: dict[str, Estimate] = Field(default_factory=dict)
    """Means at the cut-offs of `--cutoffs`, by metric ("ndcg@5")."""


class BitextPair(Scores[float]):
    """One pair of languages."""

    sentences: int
    margin_threshold: float
    """The margin from which pairs are taken where F1 is best."""


class BitextResult(Scores[float]):
    """Mined bitext: means over the pairs of languages."""

    sentences: int
    about: str
    pairs: dict[str, BitextPair]
    """By "LANGUAGE-LANGUAGE"."""
    intervals: dict[str, tuple[float, float]] = Field(default_factory=dict)
    """95 % intervals of the means by metric; a sentence and its translations are resampled together. The margin's F1 is
    no mean over sentences and has none."""


class PublishedFigures(Frozen):
    """What somebody else printed of a system on this task."""

    system: str
    source: str
    """Title of the paper or page, and the table."""
    url: str
    note: str | None
    """Where the protocol differs from ours, or is not known to be the same."""
    values: dict[str, dict[Setting, float]]
    """Macro means by metric and setting."""


Figures = dict[str, dict[str, Means | float | None]]
"""{task: {metric: its mean, or {setting: macro mean}}}."""


class CurveSettings(Frozen):
    """What must be equal for the points of a curve to be comparable."""

    metric: str
    """The figure that names the best step."""
    tasks: tuple[str, ...]
    """Their keys in report.json, sorted."""
    data_sha256: str
    """Of the tasks' files."""
    run_sha256: str
    """Of the run's config.yaml."""


class CurvePoint(Frozen):
    """One evaluated step of a watched run."""

    step: int
    """Batches trained on."""
    pairs: int
    """Pairs trained on."""
    written: str
    """When the checkpoint was finished, ISO 8601 in UTC."""
    seconds: float
    """How long its evaluation took."""
    value: float
    """The figure that names the best step."""
    figures: Figures
    """The headline means of every task."""
    settings: CurveSettings
    """The same on every line, so that each line stands for itself."""


class Provenance(BaseModel):
    """Where the figures come from; what the encoder states of itself lies beside these fields (`embed/origin.py`)."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, JsonValue] = Field(init=False)  # pyright: ignore[reportIncompatibleVariableOverride]

    tie_rule: str
    scores: str
    data_sha256: dict[str, dict[str, str]]
    """{task: {file: sha256}}."""


class Report(BaseModel):
    """report.json."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[2] = SCHEMA_VERSION
    title: str
    label: str
    """What the evaluated model is called in tables: "trained" for a run, "model" for a published one."""
    provenance: Provenance
    tasks: dict[str, RankedResult]
    """By task key: a task's headline candidate text has the task's name, any other "NAME:CANDIDATE TEXT"."""
    others: dict[str, dict[str, Headline]]
    """Models beside it: {"untrained", "csls" or the name of a debiasing: {task key: its headline}}."""
    published: dict[str, list[PublishedFigures]]
    curve: list[CurvePoint] = []
    """Only for a watched run."""
    searches: dict[str, PoolResult] = {}
    bitext: dict[str, BitextResult] = {}
    other_searches: dict[str, dict[str, PoolResult]] = {}
    """As `others`, of `searches`."""
    other_bitext: dict[str, dict[str, BitextResult]] = {}
    """As `others`, of `bitext`."""

    def json_value(self) -> dict[str, Any]:
        """As plain JSON values; empty optional parts are left out."""
        names = ("curve", "searches", "bitext", "other_searches", "other_bitext")
        optional = {name for name in names if not getattr(self, name)}
        return self.model_dump(mode="json", exclude=optional)


def json_schema() -> str:
    """The JSON schema of report.json, the content of docs/report.schema.json."""
    return json.dumps(Report.model_json_schema(mode="serialization"), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(json_schema())
