"""Fits the four debiasing methods: vectors of texts in several languages -> what is to be subtracted.

Knows: the methods' definitions, and what of them was verified where. Does not know: how a fitted one is applied
(`debias.py`), where vectors come from (`debias_text.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from hybrid_jax.debias.methods import Debiaser, DebiasError, Method

SOURCE = "en"
"""The language that shift moves the others to, unless told otherwise."""


class _Maps(NamedTuple):
    """What a method fits: a row for each language, or one for all."""

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
    about: Mapping[str, Any] | None = None,
) -> Debiaser:
    """Fits `method` on unit vectors of texts that are not those of the evaluation, `languages` naming each row's.

    `parallel` names each row's record: rows of one name are translations (for shift); `rank` is for lir and lsar,
    `alpha` and `source` for shift. `about` joins the facts. Raises DebiasError for what cannot be fitted.
    """
    if not len(vectors) == len(languages) == len(vectors if parallel is None else parallel):
        names = "no" if parallel is None else len(parallel)
        raise DebiasError(
            f"{len(vectors)} vectors, {len(languages)} languages and {names} names of records: match them"
        )
    if not np.isfinite(vectors).all():
        raise DebiasError("the vectors to fit on hold a number that is not finite: look at the model")
    held = tuple(sorted(set(languages)))
    if not held or (len(held) < 2 and method in ("shift", "lsar")):
        raise DebiasError(
            f"{method} cannot be fitted on texts in {held[0] if held else 'no language'} alone: give texts in more"
        )
    label = np.array(languages)
    groups = {name: vectors[label == name].astype(np.float64) for name in held}
    if method == "center":
        maps = _center(groups)
    elif method == "lir":
        maps = _lir(groups, 1 if rank is None else rank)
    elif method == "shift":
        ids = {name: [] if parallel is None else np.array(parallel)[label == name].tolist() for name in held}
        maps = _shift(groups, ids, alpha, source)
    else:
        maps = _lsar(groups, rank)
    counts = {name: len(group) for name, group in groups.items()}
    facts = {"method": method, **maps.settings, "languages": counts, **(about or {})}
    return Debiaser(method, () if method == "lsar" else held, maps.offsets, maps.bases, facts)


Groups = Mapping[str, Float[np.ndarray, "texts dim"]]
"""The vectors of each language, in the order of their names."""


def _means(groups: Groups) -> Float[np.ndarray, "languages dim"]:
    return np.stack([group.mean(axis=0) for group in groups.values()])


def _center(groups: Groups) -> _Maps:
    """Subtracts the language's mean vector.

    Libovický, Rosa & Fraser 2020 (arXiv 2004.05160), "unsupervised centering of the representation for each language",
    on contextual embeddings; LSAR's code has it as `demean`, SHIFT's as its baseline "language-wise centering". All
    three verified in abstract or code. Giving the result its length 1 again is ours: cosine does so in theirs.
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
    # Eigenvectors of the Gram matrix are the right singular vectors, and cost less than those of many texts.
    leading = [np.linalg.eigh(group.T @ group)[1][:, ::-1][:, :rank].T for group in groups.values()]
    return _Maps(np.zeros((len(groups), dim)), np.stack(leading), {"rank": rank})


def _shift(groups: Groups, ids: Mapping[str, Sequence[str]], alpha: float, source: str) -> _Maps:
    """Moves passages by -alpha V, V being the mean difference between a language's texts and their `source` versions.

    Jang et al. 2026, "SHIFT" (Findings of EMNLP 2026, arXiv 2606.18801), verified in the authors' README
    (github.com/yjoonjang/SHIFT): V from aligned mMARCO pairs (equation 1), z - alpha V for documents not in the source
    language (algorithm 1), queries untouched, alpha .6 for mE5-large and .1, .2, … 1 tried for others. The default of 1
    is the whole difference, chosen on nothing. Second-hand: they report each model's best alpha, mostly 1, and an
    appendix shifts queries too where those are not in the source language. Their code was not at hand: whether they
    scale z - alpha V to length 1 is not verified; we do.

    A language of whose texts fewer than half have their translation in `ids` gets the difference of the two means
    instead, which is the same number where all have; `pairs` in the settings then says 0.
    """
    if source not in groups:
        raise DebiasError(
            f"shift moves passages to {source!r}, and there are no texts in it (but in {', '.join(groups)}): "
            f"add some to --debias-text"
        )
    if not 0 < alpha <= 1:
        raise DebiasError(f"shift with alpha {alpha:g}: choose a number above 0, up to 1")
    means = dict(zip(groups, _means(groups), strict=True))
    at_source = {record: at for at, record in enumerate(ids[source])}
    offsets, pairs = {name: np.zeros_like(means[source]) for name in groups}, {}
    for name in groups.keys() - {source}:
        paired = [(at, at_source[record]) for at, record in enumerate(ids[name]) if record in at_source]
        pairs[name] = len(paired) if 2 * len(paired) >= len(groups[name]) else 0
        if pairs[name]:
            ours, theirs = np.array(paired).T
            difference = (groups[name][ours] - groups[source][theirs]).mean(axis=0)
        else:
            difference = means[name] - means[source]
        offsets[name] = alpha * difference
    settings = {"alpha": alpha, "source": source, "pairs": dict(sorted(pairs.items()))}
    return _Maps(np.stack(list(offsets.values())), np.zeros((len(groups), 0, len(means[source]))), settings)


def _lsar(groups: Groups, rank: int | None) -> _Maps:
    """Projects out the subspace in which the means of languages differ: the first `rank` left singular vectors of
    their matrix [dim, languages], each less the mean of all; by default every direction there is.

    Xie et al. 2022, "Discovering Low-rank Subspaces for Language-agnostic Multilingual Representations" (EMNLP 2022,
    arXiv 2401.05792), verified in its code (github.com/zhxieml/LSAR @ 55e40ee, src/alignment/_low_rank.py). The code
    goes on to replace the mean of all by the point of the means' affine hull that is nearest to 0, so that the shared
    part is orthogonal to the subspace, and takes the singular vectors again: that leaves the subspace as it was, since
    moving along the hull does not change its directions (a test holds this). For LAReQA its scripts ask for as many
    directions as languages (lsar+11, lsar+7), one more than L centred means can have; that last one is arbitrary, so
    ours are L - 1.
    """
    means = _means(groups)
    left, size, _ = np.linalg.svd((means - means.mean(axis=0)).T, full_matrices=False)
    there = min(int((size > 1e-9).sum()), len(left) - 1)  # unit vectors: what is below is rounding
    chosen = there if rank is None else rank
    if not 1 <= chosen <= there:
        raise DebiasError(
            f"lsar cannot remove {chosen} directions: the means of {len(means)} languages differ in {there}: "
            f"choose a rank from 1 to {there}, or give texts in more languages"
            if there
            else f"lsar finds nothing to remove: the means of {len(means)} languages are the same"
        )
    return _Maps(np.zeros((1, len(left))), left[:, :chosen].T[None], {"rank": chosen})
