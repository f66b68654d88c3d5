"""Which of some evaluation texts occur in a stream of training texts: exactly, but for spelling details, or in part.

The evaluation texts are indexed as sorted arrays of 64-bit hashes: some 12 bytes for each of their shingles. Training
texts are streamed in batches and nothing of them is kept but the places of those that have something in common with
the evaluation. The probability of a false hit among 100,000 texts and a billion training texts is below 1e-5.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Literal, NamedTuple

import numpy as np

from hybrid_jax.data.normalised import Normalised, character_shingles, normalise, word_shingles

Kind = Literal["exact", "normalised", "partial"]
SHARE = 0.5
"""A text is partly leaked if more than this share of its shingles occurs in training. At exactly a half, questions that
have a pattern in common ("What else is … called?") and nothing else are found, too."""

_BATCH = 2048
_CHUNK = 1 << 20
_KEPT = 1000
"""Characters of a training text that are kept to be shown."""


class TrainingText(NamedTuple):
    """A text that a model is trained on."""

    where: str
    """The file and line, or the record, that it comes from."""
    text: str


class Match(NamedTuple):
    """An evaluation text of which training has something, in the strongest way that applies."""

    number: int
    """The number of the evaluation text."""
    form: int
    """Which of its forms was found."""
    kind: Kind
    share: float
    """The share of its shingles that occur in training; 1 for an exact or normalised match."""
    training: TrainingText
    """The first such training text; of a partial match, the one that more shingles were first seen in than in any."""


class Overlap:
    """Evaluation texts, each with one or more forms ("title text", "text"), and what of them training texts contain."""

    def __init__(self, texts: Iterable[Sequence[str]]):
        forms = [(number, place, form) for number, text in enumerate(texts) for place, form in enumerate(text)]
        self._text_of, self._form_of = [form[0] for form in forms], [form[1] for form in forms]
        exact, joined = np.zeros(len(forms), np.int64), np.zeros(len(forms), np.int64)
        hashes, owners = [np.zeros(0, np.uint64)], [np.zeros(0, np.int32)]
        for start in range(0, len(forms), _BATCH):
            rows = slice(start, start + _BATCH)
            normal = [normalise(form) for _, _, form in forms[rows]]
            exact[rows], joined[rows] = _text_hashes([form for _, _, form in forms[rows]], normal)
            for shingles, owner in _own_shingles(normal):
                hashes.append(shingles)
                owners.append((owner + start).astype(np.int32))
        del forms
        every = np.concatenate(hashes)
        del hashes
        self._owners = np.concatenate(owners)
        self._exact, self._joined, self._shingles = _Known(exact), _Known(joined), _Known(every)
        self._exact_of, self._joined_of = self._exact.places(exact), self._joined.places(joined)
        self._shingles_of = self._shingles.places(every)
        self._training: dict[int, TrainingText] = {}
        self.training_texts = 0
        """How many training texts were looked at."""

    def look_at(self, texts: Iterable[TrainingText]) -> None:
        """Looks for the evaluation texts in these training texts."""
        stream = iter(texts)
        while batch := list(islice(stream, _BATCH)):
            normal = [normalise(text.text) for text in batch]
            exact, joined = _text_hashes([text.text for text in batch], normal)
            numbers = np.arange(len(batch))
            words, characters = word_shingles(normal), character_shingles(normal)
            hits = [self._exact.see(exact, numbers + self.training_texts)]
            hits.append(self._joined.see(joined, numbers + self.training_texts))
            for shingles, owners in (words, characters):
                hits.append(self._shingles.see(shingles, owners + self.training_texts))
            for number in np.unique(np.concatenate(hits)).tolist():
                where, text = batch[number - self.training_texts]
                self._training[number] = TrainingText(where, text[:_KEPT])
            self.training_texts += len(batch)

    def short(self) -> set[int]:
        """The numbers of the evaluation texts none of whose forms has a shingle: they can only match as a whole."""
        with_shingles = np.unique(self._owners).tolist()
        return set(self._text_of) - {self._text_of[form] for form in with_shingles}

    def matches(self, share: float = SHARE) -> list[Match]:
        """The evaluation texts that were found, in their order; of partial ones, more than `share`."""
        found: dict[int, Match] = {}
        for match in self._all(share):  # the stronger kinds come first
            found.setdefault(match.number, match)
        return [found[number] for number in sorted(found)]

    def _all(self, share: float) -> Iterator[Match]:
        kinds: tuple[tuple[Kind, np.ndarray], ...] = (
            ("exact", self._exact.first[self._exact_of]),
            ("normalised", self._joined.first[self._joined_of]),
        )
        for kind, first in kinds:
            for form in np.flatnonzero(first >= 0).tolist():
                yield self._match(form, kind, 1.0, int(first[form]))
        first = self._shingles.first[self._shingles_of]
        forms = len(self._text_of)
        total = np.bincount(self._owners, minlength=forms)
        shares = np.bincount(self._owners, first >= 0, minlength=forms) / np.maximum(total, 1)
        order = np.argsort(self._owners, kind="stable")
        starts = np.cumsum(total) - total
        chosen = np.flatnonzero(shares > share)
        for form in chosen[np.argsort(-shares[chosen], kind="stable")].tolist():
            seen = first[order[starts[form] : starts[form] + total[form]]]
            values, counts = np.unique(seen[seen >= 0], return_counts=True)
            yield self._match(form, "partial", float(shares[form]), int(values[np.argmax(counts)]))

    def _match(self, form: int, kind: Kind, share: float, training: int) -> Match:
        return Match(self._text_of[form], self._form_of[form], kind, share, self._training[training])


class _Known:
    """The different hashes of the evaluation, and the number of the first training text that has each; -1 for none."""

    def __init__(self, hashes: np.ndarray):
        self._sorted = np.unique(hashes)
        self.first = np.full(len(self._sorted), -1, np.int64)

    def places(self, hashes: np.ndarray) -> np.ndarray:
        """int32[n]: where each hash, which must be known, is in `first`."""
        places = np.zeros(len(hashes), np.int32)
        for start in range(0, len(hashes), _CHUNK):
            places[start : start + _CHUNK] = np.searchsorted(self._sorted, hashes[start : start + _CHUNK])
        return places

    def see(self, hashes: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Notes the hashes of training texts with these numbers; returns the numbers of those that were news."""
        if not len(self._sorted):
            return numbers[:0]
        places = np.minimum(np.searchsorted(self._sorted, hashes), len(self._sorted) - 1)
        news = (self._sorted[places] == hashes) & (self.first[places] < 0)
        places, numbers = places[news], numbers[news]
        self.first[places[::-1]] = numbers[::-1]  # the first of equal ones is written last
        return numbers


def _text_hashes(texts: Sequence[str], normal: Sequence[Normalised]) -> tuple[np.ndarray, np.ndarray]:
    """int64[n] twice: hashes of the texts, without surrounding white space, and of their normalised forms."""
    exact = np.fromiter((hash(text.strip()) for text in texts), np.int64, len(texts))
    return exact, np.fromiter((hash(text.joined) for text in normal), np.int64, len(texts))


def _own_shingles(texts: Sequence[Normalised]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Shingles of words for texts in scripts with spaces, else of characters, and the numbers of their texts."""
    unspaced = np.array([text.unspaced >= 0.5 for text in texts], bool)
    for (hashes, owners), kept in ((word_shingles(texts), ~unspaced), (character_shingles(texts), unspaced)):
        yield hashes[kept[owners]], owners[kept[owners]]
