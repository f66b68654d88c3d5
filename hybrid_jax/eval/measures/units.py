"""The units of the cluster bootstrap: which questions are drawn together, and a table's values added up over each unit.

Questions on one paragraph tend to be right or wrong together, as translations do, so they are no independent draws. The
unit is the paragraph that questions belong to, with all its questions in all languages. A question without such a
paragraph is a unit of its own, with its translations.

Where a question exists in some languages only, each language has paragraphs of its own (MLQA). Then paragraphs that
share a question, by its id, are one unit: a connected component of questions and paragraphs. MLQA-R has 1,148 questions
in 933 units, of 6 questions at most; XQuAD-R has 1,190 in 240, and TyDiQA-GoldP 5,077 in 4,488. Relevant candidates
alone link no questions: where many questions share answers (BEIR, MIRACL), most of them would become one unit.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Table = Float[np.ndarray, "questions groups"]
"""A row per question, a column per language (or ordered pair); NaN where a question does not exist."""
Units = Int[np.ndarray, " questions"]
"""The unit of each question, from 0."""


class ByUnit(NamedTuple):
    """A table's values added up over each unit: all that its macro mean, and draws and swaps of units, depend on."""

    sums: Float[np.ndarray, "units groups"]
    counts: Float[np.ndarray, "units groups"]
    """How many values each sum has. Every unit has some, and every column."""

    @property
    def totals(self) -> Float[np.ndarray, " groups"]:
        """How many values each column has."""
        return self.counts.sum(axis=0)

    @property
    def means(self) -> Float[np.ndarray, " groups"]:
        """Each column's mean over its values, of which a unit with more questions has more."""
        return self.sums.sum(axis=0) / self.totals


def by_unit(table: Table, units: Units | None = None) -> ByUnit:
    """Adds up a table; without `units`, each question is its own. Units without a value are left out.

    Raises ValueError if a column has no value, because it has no mean.
    """
    present = ~np.isnan(table)
    empty_columns = np.flatnonzero(~present.any(axis=0))
    if len(empty_columns) or table.size == 0:
        raise ValueError(f"column {[*empty_columns, 0][0]} of a {table.shape} table has no value: leave it out")
    sums, counts = np.nan_to_num(table), present.astype(np.float64)
    if units is not None:
        order = np.argsort(units, kind="stable")
        starts = np.flatnonzero(np.diff(units[order], prepend=-1))
        sums, counts = (np.add.reduceat(cells[order], starts, axis=0) for cells in (sums, counts))
    used = counts.any(axis=1)
    return ByUnit(sums[used], counts[used])


def connected(questions: Int[np.ndarray, " queries"], paragraphs: Sequence[tuple[str, str]]) -> Units:
    """The units of the questions that queries ask.

    `questions` are the queries' question numbers from 0, the same for translations, and `paragraphs` the language and
    id of the paragraph that each belongs to, with an empty id where the question stands alone.
    """
    count = int(questions.max()) + 1
    places: dict[tuple[str, str], int] = {}
    written = [row for row, (_, name) in enumerate(paragraphs) if name]
    place = [count + places.setdefault(paragraphs[row], len(places)) for row in written]
    edges = coo_array((np.ones(len(written), np.int8), (questions[written], place)), shape=(count + len(places),) * 2)
    return connected_components(edges, directed=False)[1][:count]
