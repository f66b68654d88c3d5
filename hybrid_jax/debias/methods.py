"""Four published ways to take the language out of finished vectors, as they are applied, written and read.

Knows: vectors, the language of each, and the file of a fitted method. Does not know: how one is fitted
(`debias_fit.py`), texts (`debias_text.py`), models, metrics.

All are one formula, x -> unit((x - o) - (x - o) B^T B), with an offset o and an orthonormal basis B:

| method | offset o                            | basis B                              | applied to           |
|--------|-------------------------------------|--------------------------------------|----------------------|
| center | the language's mean                 | none                                 | queries and passages |
| lir    | none                                | the language's leading directions    | queries and passages |
| shift  | alpha (its mean - English's)        | none                                 | passages             |
| lsar   | none                                | where the languages' means differ    | queries and passages |

Only lsar is a linear map of the vector alone: it needs no language of a text, and a model can carry it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict

from hybrid_jax.disk.arrays import load_arrays, save_arrays

Method = Literal["center", "lir", "shift", "lsar"]
METHODS: tuple[Method, ...] = get_args(Method)
_LEAST_NORM = 1e-6
"""Of a vector of length 1, this much is rounding: what is shorter has lost its direction."""


class DebiasError(ValueError):
    """Vectors, languages or a file that a debiasing cannot use. The message says why and what to do."""


class _Facts(BaseModel):
    """What every fit says of itself, and whatever else it does."""

    model_config = ConfigDict(frozen=True, extra="allow")

    method: Method
    languages: dict[str, int]
    """How many texts of each."""


class _Header(BaseModel):
    """What the file says besides its arrays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1]
    """Raised when the layout changes."""
    name: Method
    languages: tuple[str, ...]
    facts: _Facts


@dataclass(frozen=True, eq=False)
class Debiaser:
    """A fitted method: `queries` and `passages` take unit vectors and the language of each, and return unit vectors."""

    name: Method
    languages: tuple[str, ...]
    """Those that have a row of their own in the arrays, sorted; none where one row serves all."""
    offsets: Float[np.ndarray, "maps dim"]
    """Subtracted first."""
    bases: Float[np.ndarray, "maps rank dim"]
    """Orthonormal directions, projected out then."""
    facts: Mapping[str, Any]
    """Plain JSON: the method and its settings, texts per language, and what `fit` was told of text and model."""

    @property
    def linear(self) -> bool:
        """Whether it is one linear map, whatever the language."""
        return not self.languages

    @property
    def dim(self) -> int:
        return self.offsets.shape[1]

    @property
    def matrix(self) -> Float[np.ndarray, "dim dim"]:
        """The symmetric matrix that a linear method multiplies vectors with, before they get their length 1."""
        if not self.linear:
            raise DebiasError(f"{self.name} moves each language in its own way and is no matrix: use lsar")
        return np.eye(self.dim) - self.bases[0].T @ self.bases[0]

    def summary(self) -> str:
        """One line: "lsar (rank 10), fitted on 1,000 texts in each of 11 languages"."""
        settings = ", ".join(f"{key} {self.facts[key]}" for key in ("rank", "alpha", "source") if key in self.facts)
        counts = self.facts["languages"].values()
        few, many = min(counts), max(counts)
        texts = f"{few:,}" if few == many else f"{few:,} to {many:,}"
        method = f"{self.name} ({settings})" if settings else self.name
        return f"{method}, fitted on {texts} texts in each of {len(counts)} languages"

    def queries(
        self, vectors: Float[np.ndarray, "rows dim"], languages: Sequence[str] | None = None
    ) -> Float[np.ndarray, "rows dim"]:
        """float32 vectors of length 1. `languages` names each row's; lsar needs none, shift leaves queries as they are.

        Raises DebiasError for a language that was not fitted, and for a vector of which nothing is left.
        """
        if self.name == "shift":
            self._check_shape(vectors)
            return vectors.astype(np.float32)
        return self._moved(vectors, languages, "query")

    def passages(
        self, vectors: Float[np.ndarray, "rows dim"], languages: Sequence[str] | None = None
    ) -> Float[np.ndarray, "rows dim"]:
        """The same for passages."""
        return self._moved(vectors, languages, "passage")

    def _moved(
        self, vectors: Float[np.ndarray, "rows dim"], languages: Sequence[str] | None, side: str
    ) -> Float[np.ndarray, "rows dim"]:
        self._check_shape(vectors)
        chosen = self._maps(languages, len(vectors))
        moved = np.empty(vectors.shape, np.float32)
        for number in np.unique(chosen):
            rows, basis = np.flatnonzero(chosen == number), self.bases[number]
            found = vectors[rows].astype(np.float64) - self.offsets[number]
            found -= (found @ basis.T) @ basis
            norms = np.linalg.norm(found, axis=1, keepdims=True)
            if not (norms > _LEAST_NORM).all():
                worst = int(np.argmin(norms))  # a NaN counts as the smallest
                raise DebiasError(
                    f"{side} {rows[worst]}: {self.name} leaves nothing of its vector (norm {norms[worst, 0]:.2g}): "
                    f"leave the text or --debias {self.name} out"
                )
            moved[rows] = found / norms
        return moved

    def _check_shape(self, vectors: Float[np.ndarray, "rows dim"]) -> None:
        if vectors.shape[1] != self.dim:
            raise DebiasError(
                f"{self.name} was fitted on vectors of {self.dim} numbers, these have {vectors.shape[1]}: "
                f"fit it on this model"
            )

    def _maps(self, languages: Sequence[str] | None, rows: int) -> np.ndarray:
        """The row of the arrays for each vector."""
        if self.linear:
            return np.zeros(rows, np.int64)
        if languages is None or len(languages) != rows:
            given = "none" if languages is None else len(languages)
            raise DebiasError(f"{self.name} needs the language of each of {rows} vectors, got {given}: give one each")
        numbers = {name: number for number, name in enumerate(self.languages)}
        unknown = next((name for name in languages if name not in numbers), None)
        if unknown is not None:
            raise DebiasError(
                f"{self.name} was not fitted on language {unknown!r} (but on {', '.join(self.languages)}): add texts "
                f"in it to --debias-text, or use lsar, which needs no language"
            )
        return np.array([numbers[name] for name in languages], np.int64)

    def save(self, path: Path) -> None:
        """Writes the whole file or nothing; raises OSError in one line. It is a zip of arrays, without pickle."""
        header = _Header(schema_version=1, name=self.name, languages=self.languages, facts=_Facts(**self.facts))
        save_arrays(path, header, {"offsets": self.offsets, "bases": self.bases})

    @staticmethod
    def load(path: Path) -> "Debiaser":
        """What `save` wrote. Raises DebiasError in one line for a file that is missing, damaged or something else."""
        fix = "write it anew (python -m hybrid_jax.eval … --debias)"
        try:
            header, arrays = load_arrays(path, _Header, lambda _: ("offsets", "bases"), fix)
        except ValueError as error:
            raise DebiasError(str(error)) from error
        offsets, bases = arrays["offsets"], arrays["bases"]
        if (problem := _problem(header, offsets, bases)) is not None:
            raise DebiasError(f"{path}: damaged ({problem}); {fix}")
        return Debiaser(header.name, header.languages, offsets, bases, header.facts.model_dump())


def _problem(header: _Header, offsets: np.ndarray, bases: np.ndarray) -> str | None:
    """What is wrong with arrays that were read, if anything."""
    maps = len(header.languages) or 1
    if offsets.dtype != np.float64 or bases.dtype != np.float64:
        return f"arrays of {offsets.dtype} and {bases.dtype} instead of float64"
    if offsets.ndim != 2 or bases.ndim != 3 or {len(offsets), len(bases)} != {maps}:
        return f"arrays of shapes {offsets.shape} and {bases.shape} for {maps} maps"
    if offsets.shape[1] != bases.shape[2]:
        return f"offsets of {offsets.shape[1]} numbers and bases of {bases.shape[2]}"
    products = bases @ bases.transpose(0, 2, 1)
    if not (np.isfinite(offsets).all() and np.allclose(products, np.eye(bases.shape[1]), rtol=0, atol=1e-9)):
        return "numbers that no fit gives"
    if (header.name == "lsar") != (not header.languages):
        return f"{header.name} with {len(header.languages)} languages"
    return None


def parse_methods(names: str) -> tuple[Method, ...]:
    """ "center,lsar" -> its methods; raises DebiasError for a name that is none, or stands there twice."""
    found = [name.strip() for name in names.split(",")]
    for name in found:
        if name not in METHODS or found.count(name) > 1:
            problem = "is named twice" if name in METHODS else f"is unknown, known are {', '.join(METHODS)}"
            raise DebiasError(f"--debias {names}: {name!r} {problem}")
    return tuple(name for name in METHODS if name in found)
