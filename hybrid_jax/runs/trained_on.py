"""What a run has really seen, counted from its log: batches and pairs by kind and dataset, languages, language pairs.

Knows: metrics.jsonl. Does not know: what the config promised (`schedule.py`), who asks (model cards, evaluations).
"""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hybrid_jax.data.records import DataError

Pair = tuple[str, str]
"""Query language and passage language."""


@dataclass
class Seen:
    """The first `steps` batches of a run."""

    steps: int
    logged: int = 0
    """Batches that the log holds; fewer than `steps` where a part of it is lost."""
    batches: Counter[str] = field(default_factory=Counter)
    """By kind."""
    pairs: Counter[str] = field(default_factory=Counter)
    """By kind."""
    datasets: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    """(dataset, kind) -> batches and pairs."""
    queries: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By kind and language."""
    passages: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By kind and language."""
    language_pairs: Counter[Pair] = field(default_factory=Counter)
    unpaired: int = 0
    """Pairs whose two languages are in `queries` and `passages`, but not together in `language_pairs`."""

    @property
    def languages(self) -> list[str]:
        return sorted({language for counter in (self.queries, self.passages) for _, language in counter})


def read_seen(path: Path, steps: int) -> Seen | None:
    """Counts the records before `steps` in a run's metrics.jsonl; None when there is no such file.

    Raises DataError for a line that is no record of a step. A last line that a kill has cut does not count.
    """
    if not path.is_file():
        return None
    seen = Seen(steps)
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith("\n"):
                try:
                    _count(seen, _nested(json.loads(line)))
                except (ValueError, LookupError, TypeError, AttributeError) as error:
                    reason = f"{type(error).__name__}: {error}"
                    raise DataError(f"{path}, line {number}: not the record of a step ({reason}): restore it") from None
    return seen


def _count(seen: Seen, record: dict[str, object]) -> None:
    step, kind, dataset = (record[name] for name in ("step", "kind", "dataset"))
    if not (isinstance(step, int) and isinstance(kind, str) and isinstance(dataset, str)):
        raise TypeError(f"step {step!r}, kind {kind!r}, dataset {dataset!r}")
    if step >= seen.steps:
        return
    queries, passages = (_counts(record[name]) for name in ("query_languages", "passage_languages"))
    size = sum(queries.values())
    seen.logged += 1
    seen.batches[kind] += 1
    seen.pairs[kind] += size
    batches, pairs = seen.datasets.get((dataset, kind), (0, 0))
    seen.datasets[dataset, kind] = batches + 1, pairs + size
    seen.queries.update({(kind, language): count for language, count in queries.items()})
    seen.passages.update({(kind, language): count for language, count in passages.items()})
    if (together := record.get("language_pairs")) is not None:
        for language, others in _nested(together).items():
            seen.language_pairs.update({(language, other): count for other, count in _counts(others).items()})
    elif kind != "cross_lingual":
        seen.language_pairs.update({(language, language): count for language, count in queries.items()})
    else:
        seen.unpaired += size


def _nested(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no mapping")
    return value


def _counts(value: object) -> dict[str, int]:
    counts = _nested(value)
    if not all(isinstance(count, int) for count in counts.values()):
        raise TypeError(f"{value!r} has a count that is no whole number")
    return {language: count for language, count in counts.items() if isinstance(count, int)}
