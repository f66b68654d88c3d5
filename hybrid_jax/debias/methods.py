"""Applies, saves and loads four published methods that remove the language from finished vectors.

How they are fitted is in `fit.py`, and on which texts in `texts.py`. All four are one formula,
x -> unit((x - o) - (x - o) B^T B), with an offset o and an orthonormal basis B:

| method | offset o                            | basis B                              | applied to           |
|--------|-------------------------------------|--------------------------------------|----------------------|
| center | the language's mean                 | none                                 | queries and passages |
| lir    | none                                | the language's leading directions    | queries and passages |
| shift  | alpha (its mean - English's)        | none                                 | passages             |
| lsar   | none                                | where the languages' means differ    | queries and passages |

Only lsar is a linear map that does not depend on the text's language, so it can become part of a model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, model_serializer

from hybrid_jax.data.languages import tag_or_code
from hybrid_jax.disk.arrays import load_arrays, save_arrays

Method = Literal["center", "lir", "shift", "lsar"]
METHODS: tuple[Method, ...] = get_args(Method)
_LEAST_NORM = 1e-6
"""What is left of a unit vector is noise from rounding if its norm is below this."""


class DebiasError(ValueError):
    """Vectors, languages or a file that cannot be used. The message says why and what to do."""


class DebiasFacts(BaseModel):
    """What a file, a report and a model card say about a fitted method. None means that it does not apply."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method
    languages: dict[str, int]
    """The number of fitting texts in each language."""
    rank: int | None = None
    """lir and lsar: the number of directions that are projected out."""
    alpha: float | None = None
    """shift: the share of the difference that is subtracted."""
    source: str | None = None
    """shift: the language that the others are moved to."""
    pairs: dict[str, int] | None = None
    """shift: the number of translations that each difference was measured on; 0 if it is a difference of means."""
    text_sha256: str | None = None
    """SHA-256 of the fitting texts."""
    texts_left_out: int | None = None
    """How many texts were left out because the evaluation has them or their translations."""
    model: dict[str, Any] | None = None
    """What tells the model that was fitted from others (`embed.identity.model_identity`)."""

    @model_serializer(mode="wrap")
    def _without_none(self, serialize: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        return {name: value for name, value in serialize(self).items() if value is not None}


class _Header(BaseModel):
    """What the file says besides its arrays."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1]
    """Raised when the layout changes."""
    name: Method
    languages: tuple[str, ...]
    facts: DebiasFacts


@dataclass(frozen=True, eq=False)
class Debiaser:
    """A fitted method: `queries` and `passages` take unit vectors and the language of each, and return unit vectors."""

    name: Method
    languages: tuple[str, ...]
    """The languages that have a row of their own in the arrays, sorted; empty if one row is for all languages."""
    offsets: Float[np.ndarray, "maps dim"]
    """Subtracted first."""
    bases: Float[np.ndarray, "maps rank dim"]
    """Orthonormal directions that are then projected out."""
    facts: DebiasFacts
    """The method's settings, and the texts and the model that it was fitted on."""

    @property
    def linear(self) -> bool:
        """Whether it is one linear map for all languages."""
        return not self.languages

    @property
    def dim(self) -> int:
        """The number of dimensions of the vectors."""
        return self.offsets.shape[1]

    @property
    def matrix(self) -> Float[np.ndarray, "dim dim"]:
        """The symmetric matrix that a linear method multiplies vectors by, before it scales them to length 1.

        Raises DebiasError for the other methods.
        """
        if not self.linear:
            raise DebiasError(f"{self.name} moves each language in its own way and is no matrix: use lsar")
        return np.eye(self.dim) - self.bases[0].T @ self.bases[0]

    def summary(self) -> str:
        """One line: "lsar (rank 10), fitted on 1,000 texts in each of 11 languages"."""
        named = {"rank": self.facts.rank, "alpha": self.facts.alpha, "source": self.facts.source}
        settings = ", ".join(f"{name} {value}" for name, value in named.items() if value is not None)
        counts = self.facts.languages.values()
        fewest, most = min(counts), max(counts)
        texts = f"{fewest:,}" if fewest == most else f"{fewest:,} to {most:,}"
        method = f"{self.name} ({settings})" if settings else self.name
        return f"{method}, fitted on {texts} texts in each of {len(counts)} languages"

    def queries(
        self, vectors: Float[np.ndarray, "rows dim"], languages: Sequence[str] | None = None
    ) -> Float[np.ndarray, "rows dim"]:
        """Debiases the unit vectors of queries; returns float32 vectors of length 1.

        `languages` gives the language of each row. lsar does not need it, and shift does not change queries.
        Raises DebiasError for a language that was not fitted, and for a vector of which nothing is left.
        """
        if self.name == "shift":
            self._check_shape(vectors)
            return vectors.astype(np.float32)
        return self._debias(vectors, languages, "query")

    def passages(
        self, vectors: Float[np.ndarray, "rows dim"], languages: Sequence[str] | None = None
    ) -> Float[np.ndarray, "rows dim"]:
        """Debiases the unit vectors of passages, as `queries` does."""
        return self._debias(vectors, languages, "passage")

    def _debias(
        self, vectors: Float[np.ndarray, "rows dim"], languages: Sequence[str] | None, side: str
    ) -> Float[np.ndarray, "rows dim"]:
        self._check_shape(vectors)
        maps = self._maps(languages, len(vectors))
        debiased = np.empty(vectors.shape, np.float32)
        for number in np.unique(maps):
            rows, basis = np.flatnonzero(maps == number), self.bases[number]
            remaining = vectors[rows].astype(np.float64) - self.offsets[number]
            remaining -= (remaining @ basis.T) @ basis
            norms = np.linalg.norm(remaining, axis=1, keepdims=True)
            if not (norms > _LEAST_NORM).all():
                worst = int(np.argmin(norms))  # argmin takes NaN for the smallest
                raise DebiasError(
                    f"{side} {rows[worst]}: {self.name} leaves nothing of its vector (norm {norms[worst, 0]:.2g}): "
                    f"leave the text or --debias {self.name} out"
                )
            debiased[rows] = remaining / norms
        return debiased

    def _check_shape(self, vectors: Float[np.ndarray, "rows dim"]) -> None:
        if vectors.shape[1] != self.dim:
            raise DebiasError(
                f"{self.name} was fitted on vectors of {self.dim} numbers, these have {vectors.shape[1]}: "
                f"fit it on this model"
            )

    def _maps(self, languages: Sequence[str] | None, rows: int) -> np.ndarray:
        """The row of `offsets` and `bases` that each vector needs: int64[rows]."""
        if self.linear:
            return np.zeros(rows, np.int64)
        if languages is None or len(languages) != rows:
            given = "none" if languages is None else len(languages)
            raise DebiasError(f"{self.name} needs the language of each of {rows} vectors, got {given}: give one each")
        fitted = {language: number for number, language in enumerate(self.languages)}
        tags = {code: tag_or_code(code) for code in set(languages)}  # tasks have codes of their own: "deu_Latn"
        numbers = {code: fitted[tag] for code, tag in tags.items() if tag in fitted}
        unknown = next((code for code in languages if code not in numbers), None)
        if unknown is not None:
            raise DebiasError(
                f"{self.name} was not fitted on language {unknown!r} (but on {', '.join(self.languages)}): add texts "
                f"in it to --debias-text, or use lsar, which needs no language"
            )
        return np.array([numbers[name] for name in languages], np.int64)

    def save(self, path: Path) -> None:
        """Writes an .npz file without pickle, in one step. Raises OSError in one line."""
        header = _Header(schema_version=1, name=self.name, languages=self.languages, facts=self.facts)
        save_arrays(path, header, {"offsets": self.offsets, "bases": self.bases})

    @staticmethod
    def load(path: Path) -> "Debiaser":
        """Reads what `save` wrote. Raises DebiasError if the file is missing, damaged or of another kind."""
        fix = "write it again (python -m hybrid_jax.eval … --debias)"
        try:
            header, arrays = load_arrays(path, _Header, lambda _: ("offsets", "bases"), fix)
        except ValueError as error:
            raise DebiasError(str(error)) from error
        offsets, bases = arrays["offsets"], arrays["bases"]
        if (problem := _problem(header, offsets, bases)) is not None:
            raise DebiasError(f"{path}: damaged ({problem}); {fix}")
        return Debiaser(header.name, header.languages, offsets, bases, header.facts)


def _problem(header: _Header, offsets: np.ndarray, bases: np.ndarray) -> str | None:
    """What is wrong with the arrays that were read; None if nothing."""
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
    """Parses "center,lsar". Raises DebiasError for an unknown name, and for a name that is given twice."""
    requested = [name.strip() for name in names.split(",")]
    for name in requested:
        if name not in METHODS or requested.count(name) > 1:
            problem = "is named twice" if name in METHODS else f"is unknown: choose from {', '.join(METHODS)}"
            raise DebiasError(f"--debias {names}: {name!r} {problem}")
    return tuple(name for name in METHODS if name in requested)
