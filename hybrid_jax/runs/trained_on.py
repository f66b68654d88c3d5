"""What a run was trained on, counted from its metrics.jsonl: batches and pairs by kind, dataset and language."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hybrid_jax.data.records import DataError
from hybrid_jax.runs.lines import read_line
from hybrid_jax.runs.skips import read_skips

Pair = tuple[str, str]
"""Query language and passage language."""


@dataclass
class TrainedOn:
    """Counts over the first `steps` batches of a run."""

    steps: int
    logged: int = 0
    """Number of batches in the log; with `skipped`, fewer than `steps` if a part of it is lost."""
    skipped: int = 0
    """Number of batches that were left out, because the loss diverged on them."""
    batches: Counter[str] = field(default_factory=Counter)
    """Number of batches by kind; a batch of several kinds counts for each."""
    pairs: Counter[str] = field(default_factory=Counter)
    """Number of pairs by kind."""
    datasets: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """Numbers of batches and pairs by (dataset, kind)."""
    queries: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Number of queries by (kind, language)."""
    passages: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Number of passages by (kind, language)."""
    language_pairs: Counter[Pair] = field(default_factory=Counter)
    """Number of pairs by (query language, passage language)."""

    @property
    def languages(self) -> list[str]:
        """All languages of queries and passages, sorted."""
        return sorted({language for counter in (self.queries, self.passages) for _, language in counter})


def read_trained_on(path: Path, steps: int) -> TrainedOn | None:
    """Counts the records of steps below `steps` in a run's metrics.jsonl; None if the file does not exist.

    A last line that was cut short by a kill is ignored. Raises DataError for any other line that is not
    a step's record.
    """
    if not path.is_file():
        return None
    trained_on = TrainedOn(steps, skipped=read_skips(path.parent).before(steps))
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                try:
                    _count(trained_on, _mapping(read_line(line.decode())))
                except (ValueError, LookupError, TypeError, AttributeError) as error:
                    reason = f"{type(error).__name__}: {error}"
                    raise DataError(f"{path}, line {number}: not a step's record ({reason}): restore it") from None
    return trained_on


def _count(trained_on: TrainedOn, record: dict[str, object]) -> None:
    step, kind, dataset = (record[name] for name in ("step", "kind", "dataset"))
    if not (isinstance(step, int) and isinstance(kind, str) and isinstance(dataset, str)):
        raise TypeError(f"step {step!r}, kind {kind!r}, dataset {dataset!r}")
    if step >= trained_on.steps:
        return
    trained_on.logged += 1
    parts = record.get("parts", [record])
    for part in map(_mapping, parts if isinstance(parts, list) else [parts]):
        _count_part(trained_on, dataset, str(part["kind"]), part)
    for query_language, passage_counts in _mapping(record["language_pairs"]).items():
        for passage_language, count in _counts(passage_counts).items():
            trained_on.language_pairs[query_language, passage_language] += count


def _count_part(trained_on: TrainedOn, dataset: str, kind: str, part: dict[str, object]) -> None:
    queries, passages = (_counts(part[name]) for name in ("query_languages", "passage_languages"))
    size = sum(queries.values())
    trained_on.batches[kind] += 1
    trained_on.pairs[kind] += size
    batches, pairs = trained_on.datasets.get((dataset, kind), (0, 0))
    trained_on.datasets[dataset, kind] = batches + 1, pairs + size
    trained_on.queries.update({(kind, language): count for language, count in queries.items()})
    trained_on.passages.update({(kind, language): count for language, count in passages.items()})


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is not an object")
    return value


def _counts(value: object) -> dict[str, int]:
    counts = _mapping(value)
    if not all(isinstance(count, int) for count in counts.values()):
        raise TypeError(f"{value!r} has a count that is not a whole number")
    return {language: count for language, count in counts.items() if isinstance(count, int)}
