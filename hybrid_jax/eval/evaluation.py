"""What was measured of one model: the typed result that becomes a report, a curve's point and per_query.npz."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hybrid_jax.eval.measures.per_query import Table
from hybrid_jax.eval.report.schema import BitextResult, Headline, PoolResult, RankedResult


@dataclass(frozen=True)
class Beside:
    """The results of another model, or of changed embeddings, to be shown beside an evaluation; keys as there."""

    tasks: Mapping[str, Headline] = field(default_factory=dict)
    searches: Mapping[str, PoolResult] = field(default_factory=dict)
    bitext: Mapping[str, BitextResult] = field(default_factory=dict)
    per_query: Mapping[str, Table] = field(default_factory=dict)
    """The values of every query of all of them."""


@dataclass(frozen=True)
class Evaluation:
    """The results of one model on some tasks, each by its key in report.json."""

    tasks: Mapping[str, RankedResult]
    """Tasks ranked in full: a task's first candidate text under the task's name, any other as "NAME:CANDIDATE TEXT"."""
    per_query: Mapping[str, Table]
    """The values of every query of all tasks, by the same keys."""
    beside: Mapping[str, Beside] = field(default_factory=dict)
    """{name of a debiasing, or "csls": the same tasks after it}."""
    searches: Mapping[str, PoolResult] = field(default_factory=dict)
    """Searched pools, by the name given on the command line."""
    bitext: Mapping[str, BitextResult] = field(default_factory=dict)
    """Mined bitext, by the name given on the command line."""
    sources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """{task: {file: sha256}}."""

    def as_beside(self) -> Beside:
        """This evaluation as one that is shown beside another."""
        tasks = {key: result.headline for key, result in self.tasks.items()}
        return Beside(tasks, self.searches, self.bitext, self.per_query)
