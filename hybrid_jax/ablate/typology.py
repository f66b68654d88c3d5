"""How far apart languages are by their syntax, and orders of languages by it.

typology.tsv has a line per language: its code, a tab, and its 103 syntactic features as 0 or 1. They are URIEL's
`syntax_knn` (Littell et al. 2017, aclanthology.org/E17-2002): features of WALS, SSWL and Ethnologue such as "S_SVO",
the missing ones predicted from the nearest languages. The file was made from the package lang2vec 1.1.2, with ar, zh,
fa, ms, lv and et as Standard Arabic, Mandarin, Iranian Persian, Standard Malay, Standard Latvian and Standard Estonian.
It stands under lang2vec's licence, CC BY-SA 4.0.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

import numpy as np
from jaxtyping import Float

from hybrid_jax.eval.languages import identity

PIVOT = "en"
"""The language that orders begin with, if it is among them."""


class TypologyError(ValueError):
    """A language without features. The message says which, and what to do."""


def distance(one: str, other: str) -> float:
    """1 - cosine of two languages' features: 0 to 1. Scripts and regions do not matter.

    Raises TypologyError for a language without features.
    """
    left, right = _of(one), _of(other)
    return float(max(1 - left @ right / np.sqrt((left @ left) * (right @ right)), 0.0))


def in_order(languages: Sequence[str], diverse: bool) -> list[str]:
    """The languages, from English on (or the first), one after another by their distance from the nearest before.

    `diverse`: the farthest next (farthest-first traversal, Gonzalez 1985); otherwise the nearest. The first in
    `languages` wins a tie. Raises TypologyError.
    """
    left = list(languages)
    ordered = [left.pop(left.index(PIVOT) if PIVOT in left else 0)]
    while left:
        gaps = [round(min(distance(language, before) for before in ordered), 9) for language in left]
        ordered.append(left.pop(gaps.index(max(gaps) if diverse else min(gaps))))
    return ordered


def _of(code: str) -> Float[np.ndarray, " features"]:
    features = _features().get(identity(code))
    if features is None:
        raise TypologyError(f"no typological features of {code!r}: give the languages' order in a file, --order FILE")
    return features


@cache
def _features() -> Mapping[str, Float[np.ndarray, " features"]]:
    lines = (files("hybrid_jax.ablate") / "typology.tsv").read_text(encoding="utf-8").splitlines()
    rows = (line.split("\t") for line in lines)
    return {code: np.array(list(map(int, bits)), float) for code, bits in rows}
