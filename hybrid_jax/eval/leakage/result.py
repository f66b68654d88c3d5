"""What a leakage check found: the whole of leakage.json, and its table and examples as text."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from hybrid_jax.data.normalised import CHARACTERS, WORDS
from hybrid_jax.data.overlap import SHARE, Kind
from hybrid_jax.data.records import DataError
from hybrid_jax.disk.tables import aligned

SHOWN = 100
"""Characters of a text that an example shows."""


class Example(BaseModel):
    """An evaluation text and the training text that it was found in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    share: float
    """The share of the evaluation text's shingles that occur in training."""
    evaluation: str
    """The file and line, or the record, of the evaluation text."""
    text: str
    training: str
    """The file and line, or the record, of the training text."""
    training_text: str


class Side(BaseModel):
    """The queries or the candidates of a task in one language. A text counts in the strongest kind that applies."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    language: str
    side: Literal["queries", "candidates", "sentences"]
    texts: int
    short: int
    """Texts without a shingle, which are only looked for as a whole."""
    exact: int
    normalised: int
    partial: int
    examples: list[Example]


class Leakage(BaseModel):
    """The result of a check."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    words: int = WORDS
    """Words of a shingle."""
    characters: int = CHARACTERS
    """Characters of a shingle in scripts without spaces."""
    share: float = SHARE
    """The share of a text's shingles above which it counts as partly leaked."""
    training: list[str]
    """The datasets, "name: path"."""
    training_texts: int
    sides: list[Side]

    @property
    def leaked(self) -> bool:
        """Whether any evaluation text was found in training."""
        return any(side.exact or side.normalised or side.partial for side in self.sides)

    def sentence(self) -> str:
        """The result in one line."""
        texts, training = (f"{number:,}" for number in (sum(side.texts for side in self.sides), self.training_texts))
        counts = {kind: sum(getattr(side, kind) for side in self.sides) for kind in ("exact", "normalised", "partial")}
        listed = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
        if not listed:
            return f"leakage: none of the {texts} evaluation texts is in the {training} training texts"
        tasks = dict.fromkeys(side.task for side in self.sides if side.exact or side.normalised or side.partial)
        return f"leakage: {listed} of the {texts} evaluation texts in training ({', '.join(tasks)})"

    def table(self) -> list[str]:
        """A line for each task, language and side."""
        header = ["task", "language", "side", "texts", "short", "exact", "normalised", "partial"]
        rows = [
            [side.task, side.language, side.side]
            + [f"{number:,}" for number in (side.texts, side.short, side.exact, side.normalised, side.partial)]
            for side in self.sides
        ]
        return aligned([header, *rows], left=(0, 1, 2))

    def examples(self) -> Iterator[str]:
        """The examples, three lines each."""
        for side in self.sides:
            for example in side.examples:
                share = f", {example.share:.0%} of its shingles" if example.kind == "partial" else ""
                yield f"{side.task} {side.language} {side.side}: {example.kind}{share}"
                yield f"  {example.evaluation}: {_short(example.text)}"
                yield f"  {example.training}: {_short(example.training_text)}"


def read_leakage(path: Path) -> Leakage:
    """The result in a file. Raises DataError for one that is damaged."""
    try:
        return Leakage.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        raise DataError(f"{path} is damaged ({' '.join(str(error).split())}): delete it, and check again") from None


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"
