"""Tables of the modes of search and of what comes first, of tasks that are ranked in full and of searched pools."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from hybrid_jax.eval.measures.catalogue import FIRST_RESULT, METRICS
from hybrid_jax.eval.measures.cutoffs import LABELS
from hybrid_jax.eval.measures.parts import MODE_LABELS
from hybrid_jax.eval.report.rows import Cell, amount
from hybrid_jax.eval.report.schema import Estimate, Headline, PoolResult

ABOUT_MODES = (
    "The same answers, looked for in other lists. Pooled: all languages at once. Language oracle: only candidates in "
    "the language of the answer; what it gains over the pool was lost to ranking the languages, what it still misses "
    "to matching. Balanced: equally many candidates of each language, the best of each first. Where a question has "
    "answers in several languages, each language is scored by itself, without the answers in the others."
)
ABOUT_FIRST = (
    "What the first result is: right or wrong, in the language of the question or in another. The four shares of a row "
    "add up to 1."
)
_FIRST = ("right, own language", "right, another language", "wrong, own language", "wrong, another language")
FIRST_LABELS: Mapping[str, str] = dict(zip(FIRST_RESULT, _FIRST, strict=True))

Models = Iterable[tuple[str, Headline | PoolResult]]
"""(label, result) of the evaluated model, then of those beside it."""


class ModelRow(NamedTuple):
    """One line of a table: what it is about, whose figures, and the figures."""

    label: str
    model: str
    cells: tuple[Cell, ...]


class ModeTable(NamedTuple):
    """A table with a row for each mode and model; empty where the task has candidates in one language only."""

    header: tuple[str, ...]
    rows: list[ModelRow]


def mode_table(models: Models) -> ModeTable:
    """The modes of search: a row per mode and model, a column per metric."""
    listed = [(label, result.modes) for label, result in models if result.modes]
    metrics = list(dict.fromkeys(name for _, modes in listed for values in modes.values() for name in values))
    rows = [
        ModelRow(shown, label, _cells(modes[mode], metrics))
        for mode, shown in MODE_LABELS.items()
        for label, modes in listed
        if mode in modes
    ]
    return ModeTable(tuple(METRICS[name].label for name in metrics), rows)


def cutoff_table(models: Iterable[tuple[str, PoolResult]]) -> ModeTable:
    """Values at chosen cut-offs: a row per cut-off and model, a column per metric."""
    listed = [(label, result.cutoffs) for label, result in models if result.cutoffs]
    places = sorted({int(name.partition("@")[2]) for _, values in listed for name in values})
    rows = [
        ModelRow(str(k), label, _cells(values, [f"{name}@{k}" for name in LABELS]))
        for k in places
        for label, values in listed
    ]
    return ModeTable(tuple(LABELS.values()), rows)


def first_table(models: Models) -> ModeTable:
    """The four-way split of the first result: a row per model, a column per kind."""
    listed = [(label, result.first_result) for label, result in models if result.first_result]
    rows = [ModelRow("", label, _cells(split, list(FIRST_LABELS))) for label, split in listed]
    return ModeTable(tuple(FIRST_LABELS.values()), rows)


def _cells(values: Mapping[str, Estimate], names: Sequence[str]) -> tuple[Cell, ...]:
    return tuple(_cell(name, values.get(name)) for name in names)


def _cell(name: str, value: Estimate | None) -> Cell:
    if value is None or value.low is None:
        return Cell(amount(name, value and value.value))
    return Cell(amount(name, value.value), f"{amount(name, value.low)} – {amount(name, value.high)}")
