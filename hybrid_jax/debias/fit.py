"""Fits the four debiasing methods to vectors of texts in several languages.

The docstring of each method gives its source, and says what was verified there. `methods.py` applies fitted methods.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from hybrid_jax.debias.methods import Debiaser, DebiasError, DebiasFacts, Method

SOURCE = "en"
"""The language that shift moves the others to, by default."""


class _Maps(NamedTuple):
    """What a method fits: a row for each language, or one row for all languages."""

    offsets: Float[np.ndarray, "maps dim"]
    bases: Float[np.ndarray, "maps rank dim"]
    settings: dict[str, Any]


def fit(
    method: Method,
    vectors: Float[np.ndarray, "rows dim"],
    languages: Sequence[str],
    *,
    parallel: Sequence[str] | None = None,
    rank: int | None = None,
    alpha: float = 1.0,
    source: str = SOURCE,
) -> Debiaser:
    """Fits `method` to unit vectors of texts, which must not be those of the evaluation.

    `languages` gives the language of each row. `parallel` gives the record of each row: rows of the same record are
    translations of each other, which shift uses. `rank` is for lir and lsar, `alpha` and `source` are for shift.

    Raises DebiasError if the method cannot be fitted to these vectors.
    """
    if not len(vectors) == len(languages) == len(vectors if parallel is None else parallel):
        records = "no" if parallel is None else len(parallel)
        raise DebiasError(
            f"{len(vectors)} vectors, {len(languages)} languages and {records} names of records: match them"
        )
    if not np.isfinite(vectors).all():
        raise DebiasError("the vectors to fit on hold a number that is not finite: look at the model")
    names = tuple(sorted(set(languages)))
    if not names or (len(names) < 2 and method in ("shift", "lsar")):
        raise DebiasError(
            f"{method} cannot be fitted on texts in {names[0] if names else 'no language'} alone: give texts in more"
        )
    label = np.array(languages)
    groups = {name: vectors[label == name].astype(np.float64) for name in names}
    if method == "center":
        maps = _center(groups)
    elif method == "lir":
        maps = _lir(groups, 1 if rank is None else rank)
    elif method == "shift":
        ids = {name: [] if parallel is None else np.array(parallel)[label == name].tolist() for name in names}
        maps = _shift(groups, ids, alpha, source)
    else:
        maps = _lsar(groups, rank)
    counts = {name: len(group) for name, group in groups.items()}
    facts = DebiasFacts(method=method, languages=counts, **maps.settings)
    return Debiaser(method, () if method == "lsar" else names, maps.offsets, maps.bases, facts)


Groups = Mapping[str, Float[np.ndarray, "texts dim"]]
"""The vectors of each language, in the order of their names."""


def _means(groups: Groups) -> Float[np.ndarray, "languages dim"]:
    return np.stack([group.mean(axis=0) for group in groups.values()])


def _center(groups: Groups) -> _Maps:
    """Subtracts the language's mean vector.

    Libovický, Rosa & Fraser 2020 (arXiv 2004.05160), "unsupervised centering of the representation for each language",
    on contextual embeddings; LSAR's code has it as `demean`, SHIFT's as its baseline "language-wise centering". All
    three were verified in abstract or code. Scaling the result to length 1 is ours; in theirs, the cosine does it.
    """
    means = _means(groups)
    return _Maps(means, np.zeros((len(means), 0, means.shape[1])), {})


def _lir(groups: Groups, rank: int) -> _Maps:
    """Projects out the first `rank` right singular vectors of the matrix of the language's vectors, not centred.

    Yang et al. 2021, "Language Information Removal" (EMNLP 2021, arXiv 2109.04727). Verified in its notebook
    (github.com/ziyi-yang/LIR, lir.ipynb), which takes 10,000 sentences of Wiki-40B per language and prints for LAReQA's
    mBERT X-X on XQuAD-R mAP .2336 -> .4524 with rank 1 and .4474 with rank 2: hence the default of 1.
    """
    dim = next(iter(groups.values())).shape[1]
    fewest = min(groups, key=lambda name: len(groups[name]))
    if not 1 <= rank <= min(len(groups[fewest]), dim - 1):
        raise DebiasError(
            f"lir cannot remove {rank} directions: vectors have {dim} numbers and {fewest} has {len(groups[fewest])} "
            f"texts: choose a rank from 1 below both"
        )
    # The eigenvectors of the Gram matrix are the right singular vectors, and cheaper to compute for many texts.
    leading = [np.linalg.eigh(group.T @ group)[1][:, ::-1][:, :rank].T for group in groups.values()]
    return _Maps(np.zeros((len(groups), dim)), np.stack(leading), {"rank": rank})


def _shift(groups: Groups, ids: Mapping[str, Sequence[str]], alpha: float, source: str) -> _Maps:
    """Moves passages by -alpha V, V being the mean difference between a language's texts and their `source` versions.

    Jang et al. 2026, "SHIFT" (Findings of EMNLP 2026, arXiv 2606.18801), verified in the authors' README
    (github.com/yjoonjang/SHIFT): V from aligned mMARCO pairs (equation 1), z - alpha V for documents not in the source
    language (algorithm 1), queries untouched, alpha .6 for mE5-large and .1, .2, … 1 tried for others. The default of 1
    is the whole difference, not tuned on any data. Second-hand: they report each model's best alpha, mostly 1, and an
    appendix shifts queries too if those are not in the source language. Their code was not available, so it is not
    verified whether they scale z - alpha V to length 1; we do.

    If fewer than half of a language's texts have a translation among `ids`, the difference of the two means is used
    instead, which is the same if all have one; `pairs` is then 0.
    """
    if source not in groups:
        raise DebiasError(
            f"shift moves passages to {source!r}, and there are no texts in it (but in {', '.join(groups)}): "
            f"add some to --debias-text"
        )
    if not 0 < alpha <= 1:
        raise DebiasError(f"shift with alpha {alpha:g}: choose a number above 0, up to 1")
    means = dict(zip(groups, _means(groups), strict=True))
    source_rows = {record: row for row, record in enumerate(ids[source])}
    offsets, pairs = {name: np.zeros_like(means[source]) for name in groups}, {}
    for name in groups.keys() - {source}:
        paired = [(row, source_rows[record]) for row, record in enumerate(ids[name]) if record in source_rows]
        pairs[name] = len(paired) if 2 * len(paired) >= len(groups[name]) else 0
        if pairs[name]:
            own_rows, translations = np.array(paired).T
            difference = (groups[name][own_rows] - groups[source][translations]).mean(axis=0)
        else:
            difference = means[name] - means[source]
        offsets[name] = alpha * difference
    settings = {"alpha": alpha, "source": source, "pairs": dict(sorted(pairs.items()))}
    return _Maps(np.stack(list(offsets.values())), np.zeros((len(groups), 0, len(means[source]))), settings)


def _lsar(groups: Groups, rank: int | None) -> _Maps:
    """Projects out the subspace in which the means of the languages differ: the first `rank` left singular vectors of
    the matrix [dim, languages] of the languages' means less the mean of all of them; by default all directions.

    Xie et al. 2022, "Discovering Low-rank Subspaces for Language-agnostic Multilingual Representations" (EMNLP 2022,
    arXiv 2401.05792), verified in its code (github.com/zhxieml/LSAR @ 55e40ee, src/alignment/_low_rank.py). The code
    then replaces the mean of all by the point of the means' affine hull that is nearest to 0, so that the shared part
    is orthogonal to the subspace, and computes the singular vectors again. This does not change the subspace, because
    moving along the hull does not change its directions (a test checks it). For LAReQA its scripts take as many
    directions as there are languages (lsar+11, lsar+7), one more than L centred means can have; the last one is
    arbitrary, so we take L - 1.
    """
    means = _means(groups)
    left, size, _ = np.linalg.svd((means - means.mean(axis=0)).T, full_matrices=False)
    available = min(int((size > 1e-9).sum()), len(left) - 1)  # smaller ones are rounding errors of unit vectors
    chosen = available if rank is None else rank
    if not 1 <= chosen <= available:
        raise DebiasError(
            f"lsar cannot remove {chosen} directions: the means of {len(means)} languages differ in {available}: "
            f"choose a rank from 1 to {available}, or give texts in more languages"
            if available
            else f"lsar finds nothing to remove: the means of {len(means)} languages are the same"
        )
    return _Maps(np.zeros((1, len(left))), left[:, :chosen].T[None], {"rank": chosen})
