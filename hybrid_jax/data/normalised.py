"""A text without what editors and tokenizers change: case, punctuation, Unicode form, white space; and its shingles."""

import re
import sys
import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from hybrid_jax.data.hashing import mix
from hybrid_jax.data.links import INVISIBLE, plain

WORDS, CHARACTERS = 10, 24
"""The length of a shingle, in words, or in characters of text in a script that is written without spaces."""

_UNSPACED = re.compile(
    "[\\u0e00-\\u0eff\\u1000-\\u109f\\u1780-\\u17ff\\u3040-\\u30ff\\u31f0-\\u31ff\\u3400-\\u4dbf\\u4e00-\\u9fff"
    "\\ua9e0-\\ua9ff\\uaa60-\\uaa7f\\uf900-\\ufaff\\U00020000-\\U0003ffff]"
)
"""Thai, Lao, Burmese, Khmer, Chinese and Japanese letters. Korean and Tibetan mark words or syllables."""
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)


class Normalised(NamedTuple):
    """A text in the form in which leakage is looked for."""

    words: list[str]
    joined: str
    """The words without anything between them; the plain text where there are none."""
    unspaced: float
    """The share of letters in scripts that are written without spaces, from 0 to 1."""


def normalise(text: str) -> Normalised:
    """Words in Unicode form NFKC and folded case, without punctuation, symbols and what nobody sees.

    Combining marks stay: they are vowels in Hindi and Thai. The dotted and the dotless i are one letter, since İ and I
    are folded to either. Digits stay in their script, and accents in place.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    visible = INVISIBLE.sub("", _ignored().sub("", folded))
    words = _between_words().sub(" ", visible.replace("ı", "i").replace("i\u0307", "i")).split()
    joined = "".join(words) or plain(text)
    return Normalised(words, joined, len(_UNSPACED.findall(joined)) / len(joined) if joined else 0.0)


def word_shingles(texts: Sequence[Normalised]) -> tuple[np.ndarray, np.ndarray]:
    """uint64[n] and int64[n]: the hash of each run of 10 words of a text, and the text's number.

    Words are hashed as Python does it, so shingles are the same within one process only.
    """
    lengths = [len(text.words) for text in texts]
    hashes = np.fromiter((hash(word) for text in texts for word in text.words), np.int64, sum(lengths))
    return _windows(hashes.view(np.uint64), lengths, WORDS)


def character_shingles(texts: Sequence[Normalised]) -> tuple[np.ndarray, np.ndarray]:
    """The same for each run of 24 characters, of the texts that have letters in scripts without spaces."""
    letters = [text.joined if text.unspaced else "" for text in texts]
    points = np.frombuffer("".join(letters).encode("utf-32-le", "surrogatepass"), np.uint32)
    return _windows(points.astype(np.uint64), [len(text) for text in letters], CHARACTERS)


def _windows(units: np.ndarray, lengths: Sequence[int], size: int) -> tuple[np.ndarray, np.ndarray]:
    owners = np.repeat(np.arange(len(lengths)), lengths)
    number = len(units) - size + 1
    if number <= 0:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    units = mix(units)
    hashes = np.full(number, size, np.uint64)
    for start in range(size):
        hashes = hashes * _MULTIPLIER + units[start : start + number]
    within = owners[:number] == owners[size - 1 :]
    return mix(hashes[within]), owners[:number][within]


@cache
def _ignored() -> re.Pattern[str]:
    """Format, private-use and surrogate characters."""
    return _characters_of("Cf", "Co", "Cs")


@cache
def _between_words() -> re.Pattern[str]:
    """Control characters, separators, punctuation and symbols."""
    return _characters_of("Cc", "Z", "P", "S")


def _characters_of(*categories: str) -> re.Pattern[str]:
    points = (point for point in range(sys.maxunicode + 1) if unicodedata.category(chr(point)).startswith(categories))
    spans: list[list[int]] = []
    for point in points:
        if spans and spans[-1][1] == point - 1:
            spans[-1][1] = point
        else:
            spans.append([point, point])
    return re.compile("[" + "".join(rf"\U{first:08x}-\U{last:08x}" for first, last in spans) + "]+")
