"""Rows of aligned text, which every source yields, and errors in data."""

from collections.abc import Callable
from dataclasses import dataclass

MAX_TEXT_CHARS = 100_000
"""Longer texts are cut, counted and reported; no encoder reads that far."""


class DataError(ValueError):
    """Data that cannot be used. The message is one line: the place, what is wrong, what to do about it."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage with its title and document id, where the data has them."""

    text: str
    title: str | None = None
    id: str | None = None
    """Passages with the same id, positive or negative, in any record and language, are the same or translations."""

    @property
    def with_title(self) -> str:
        """What a model reads: "title text", or the text if there is no title."""
        return self.text if self.title is None else f"{self.title} {self.text}"


@dataclass(frozen=True, slots=True)
class Row:
    """One record in one language. Rows with the same `id` are translations of one another.

    `query` or `passage`, but not both, is None if the language lacks it; such a row can still be one side of a
    cross-lingual pair. Neither is empty. `title` and `passage_id` are the title and document id of `passage`, which is
    trained on; `further_positives` also answer the query, and are never negatives of it. `where` is "file:line", for
    errors.
    """

    id: str
    lang: str
    query: str | None
    passage: str | None
    title: str | None = None
    negatives: tuple[Passage, ...] = ()
    passage_id: str | None = None
    where: str = ""
    further_positives: tuple[Passage, ...] = ()


OnBadRow = Callable[[DataError], None]
"""Called with the error of every bad row. It may raise the error to stop, or return to skip the row."""
