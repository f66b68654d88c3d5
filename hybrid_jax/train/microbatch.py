"""How many rows are encoded at a time: a number, all (null), or the most that fits into the devices' memory (auto)."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from hybrid_jax.runs.workdir import begun_with

MARGIN = 0.1
"""The share of a device's memory that `choose` leaves free: the analysis of one step counts neither the next batch,
which is put on the device meanwhile, nor the gaps between arrays, nor the programs of held-out batches. On a CPU it
does not cover Python and the compiler either, which take .6 GiB: with less than 8 GiB it is better to give a number."""


def _checked(value: Any) -> Any:
    whole_number = isinstance(value, int) and not isinstance(value, bool)
    if value is None or value == "auto" or (whole_number and value >= 1):
        return value
    raise ValueError("give a number of rows, 1 or more; or auto; or null for the whole batch")


MicrobatchRows = Annotated[Annotated[int, Field(ge=1)] | Literal["auto"] | None, BeforeValidator(_checked)]


class Need(NamedTuple):
    """Bytes that a compiled step needs on a device."""

    held: int
    """What it is given: parameters, moments and batch."""
    temporary: int
    """What it needs besides while it runs: activations and gradients."""

    @property
    def all(self) -> int:
        return self.held + self.temporary


class Choice(NamedTuple):
    """What `choose` has chosen."""

    rows: int | None
    """Over all devices; None: the whole batch at once."""
    need: Need
    """Of the step with so many rows at a time."""
    whole: Need | None
    """Of the step with the whole batch at once; None where the compiler does not say."""


class DoesNotFitError(ValueError):
    """Even a row at a time on each device needs more than a device has."""

    def __init__(self, need: Need | None):
        super().__init__("one row at a time does not fit")
        self.need = need
        """Of that step; None where the compiler does not say."""


def as_begun(rows: MicrobatchRows, workdir: Path) -> MicrobatchRows:
    """`rows`; if they are "auto" and a run has begun in `workdir`, those that it chose then.

    So a resumed run rounds as it did, even on devices with more memory.
    """
    if rows != "auto":
        return rows
    begun = begun_with(workdir, "microbatch_rows", otherwise="auto")
    try:
        return _checked(begun)
    except ValueError:  # `claim` says what is wrong
        return rows


def choose(compiled: Callable[[int | None], Need | None], most: int, devices: int, memory: int) -> Choice:
    """The whole batch if it leaves MARGIN of `memory` free, else few equal chunks that do: hardly more than must be.

    `compiled(rows)` compiles the step that encodes so many rows at a time, over all `devices` (None: the whole batch,
    which has up to `most`), and gives its need; None where the compiler itself finds that it does not fit, as a TPU's
    does. `memory` is what a device has, in bytes. One row on each device may use all of it: nothing is smaller.

    Few are compiled: the whole batch; as many chunks as fit if all its temporary memory is in proportion to the rows,
    of which fewer need too much; and where these do not fit, as gradients do not shrink with the rows, as many as the
    line through the last two predicts, but a quarter more at least.

    Raises DoesNotFitError if one row on each device does not fit.
    """
    budget = int((1 - MARGIN) * memory)
    whole = compiled(None)
    if whole is not None and whole.all <= budget:
        return Choice(None, whole, whole)
    chunks = 2 if whole is None else math.ceil(whole.temporary / max(budget - whole.held, 1))
    while True:
        rows = devices * math.ceil(most / chunks / devices)
        need = compiled(rows)
        if need is not None and need.all <= (budget if rows > devices else memory):
            return Choice(rows, need, whole)
        if rows == devices:
            raise DoesNotFitError(need)
        fewer_rows = math.ceil(most / (rows - devices))
        chunks = max(fewer_rows, math.ceil(1.25 * chunks), _predicted(whole, need, chunks, budget))


def _predicted(whole: Need | None, need: Need | None, chunks: int, budget: int) -> int:
    """How many chunks fit if temporary memory is a constant and a part in proportion to the rows.

    The two are known from the whole batch and from so many `chunks`; without them, twice as many.
    """
    if whole is None or need is None or chunks == 1:
        return 2 * chunks
    of_rows = (whole.temporary - need.temporary) / (1 - 1 / chunks)
    free = budget - whole.held - (whole.temporary - of_rows)
    return math.ceil(of_rows / free) if free > 0 else 2 * chunks
